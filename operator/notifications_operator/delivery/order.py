"""Who is served next: by severity, then in turn between namespaces, then Notifications."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from ..api.notification import Severity

AGING_SECONDS = 60.0
"""Seconds of waiting after which a turn counts as one step more severe."""

URGENT_RANK = Severity.HIGH.rank
"""Applicants up to this rank may use the reserved part of a window."""


@dataclass(kw_only=True)
class Applicant:
    """One Notification that wants slots of one processor.

    ``grant`` is called with the number of slots given; it must not block. ``last`` puts it after
    all others, whatever its severity.
    """

    uid: str
    namespace: str
    severity: Severity
    wanted: int
    grant: Callable[[int], None]
    last: bool = False

    @property
    def urgent(self) -> bool:
        """Whether the reserved part of the window is for it."""
        return self.severity.rank <= URGENT_RANK and not self.last


@dataclass(kw_only=True)
class _Turn:
    """One namespace's Notifications of one severity, and since when none of them was served."""

    since: float
    members: OrderedDict[str, Applicant] = field(default_factory=OrderedDict)

    def head(self, behind: Collection[str]) -> Applicant:
        """Return who is next of them."""
        first = None
        for item in self.members.values():
            if not (item.last or item.uid in behind):
                return item
            first = first or item
        assert first is not None
        return first


class FairQueue:
    """Applicants in their order.

    Within one severity namespaces take turns, and within a namespace its Notifications, so that a
    large broadcast holds nobody up. A turn that has waited is raised, without bound, so that
    nobody starves; it has waited since it was last served, so that whoever has much to send does
    not overtake those who come later.
    """

    def __init__(self) -> None:
        self._turns: dict[Severity, OrderedDict[str, _Turn]] = {
            severity: OrderedDict() for severity in Severity
        }
        self._severities: dict[str, Severity] = {}

    def __len__(self) -> int:
        return len(self._severities)

    def put(self, applicant: Applicant, now: float) -> None:
        """Add an applicant at the end of its turn, or replace it where it stands."""
        if self._severities.get(applicant.uid, applicant.severity) is not applicant.severity:
            self.remove(applicant.uid)
        turns = self._turns[applicant.severity]
        turn = turns.setdefault(applicant.namespace, _Turn(since=now))
        turn.members[applicant.uid] = applicant
        self._severities[applicant.uid] = applicant.severity

    def remove(self, uid: str) -> None:
        """Take an applicant out, if it is there."""
        severity = self._severities.pop(uid, None)
        if severity is None:
            return
        turns = self._turns[severity]
        for namespace, turn in list(turns.items()):
            if turn.members.pop(uid, None) is not None and not turn.members:
                del turns[namespace]

    def peek(
        self, now: float, *, urgent_only: bool, behind: Collection[str] = ()
    ) -> Applicant | None:
        """Return who is next, without changing anything.

        Parameters
        ----------
        now
            The moment, on the clock of `put` and `served`.
        urgent_only
            Whether only critical and high ones may be chosen.
        behind
            Notifications that come after all others.
        """
        best: tuple[bool, int, int, int, Applicant] | None = None
        for severity, turns in self._turns.items():
            if urgent_only and severity.rank > URGENT_RANK:
                continue
            for position, turn in enumerate(turns.values()):
                waited = int((now - turn.since) // AGING_SECONDS)
                head = turn.head(behind)
                late = head.last or head.uid in behind
                if late and urgent_only:
                    continue
                place = (late, severity.rank - waited, severity.rank, position, head)
                if best is None or place[:4] < best[:4]:
                    best = place
        return best[4] if best else None

    def served(self, applicant: Applicant, amount: int, now: float) -> None:
        """Note that an applicant got slots: it leaves, or goes to the end of its turn."""
        applicant.wanted -= amount
        turns = self._turns[applicant.severity]
        turns.move_to_end(applicant.namespace)
        turn = turns[applicant.namespace]
        turn.since = now
        if applicant.wanted > 0:
            turn.members.move_to_end(applicant.uid)
        else:
            self.remove(applicant.uid)
