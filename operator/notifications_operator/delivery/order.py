"""Who is served next: by severity, then in turn between namespaces, then Notifications."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
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

    def head(self, behind: Collection[str]) -> Applicant | None:
        """Return who is next of them, ``None`` if all come after the others."""
        return next((item for uid, item in self.members.items() if uid not in behind), None)


_Line = OrderedDict[str, _Turn]
"""Turns of one severity by namespace, which stand in the order in which they began to wait."""


class FairQueue:
    """Applicants in their order.

    Within one severity namespaces take turns, and within a namespace its Notifications, so that a
    large broadcast holds nobody up. A turn that has waited is raised, without bound, so that
    nobody starves; it has waited since it was last served, so that whoever has much to send does
    not overtake those who come later.

    A turn that begins to wait goes to the end of its line, so the first of a line has waited
    longest: only the first ones of the lines are compared, however many namespaces wait.
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[bool, Severity], _Line] = {
            (last, severity): OrderedDict() for last in (False, True) for severity in Severity
        }
        self._applicants: dict[str, Applicant] = {}

    def __len__(self) -> int:
        return len(self._applicants)

    def put(self, applicant: Applicant, now: float) -> None:
        """Add an applicant at the end of its turn, or replace it where it stands."""
        known = self._applicants.get(applicant.uid)
        if known is not None and self._line(known) is not self._line(applicant):
            self.remove(applicant.uid)
        turn = self._line(applicant).setdefault(applicant.namespace, _Turn(since=now))
        turn.members[applicant.uid] = applicant
        self._applicants[applicant.uid] = applicant

    def remove(self, uid: str) -> None:
        """Take an applicant out, if it is there."""
        applicant = self._applicants.pop(uid, None)
        if applicant is None:
            return
        line = self._line(applicant)
        members = line[applicant.namespace].members
        del members[uid]
        if not members:
            del line[applicant.namespace]

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
            Notifications that come after all others; those of them that wait longest are walked
            past, each time.
        """
        lines = [
            (severity, line)
            for (last, severity), line in self._lines.items()
            if not last and not (urgent_only and severity.rank > URGENT_RANK)
        ]
        found = _first(lines, now, behind)
        if found is not None or urgent_only:
            return found
        return _first([(severity, line) for (_, severity), line in self._lines.items()], now, ())

    def served(self, applicant: Applicant, amount: int, now: float) -> None:
        """Note that an applicant got slots: it leaves, or goes to the end of its turn."""
        applicant.wanted -= amount
        line = self._line(applicant)
        line.move_to_end(applicant.namespace)
        turn = line[applicant.namespace]
        turn.since = now
        if applicant.wanted > 0:
            turn.members.move_to_end(applicant.uid)
        else:
            self.remove(applicant.uid)

    def _line(self, applicant: Applicant) -> _Line:
        return self._lines[applicant.last, applicant.severity]


def _first(
    lines: Iterable[tuple[Severity, _Line]], now: float, behind: Collection[str]
) -> Applicant | None:
    """Return the most severe of the lines' first applicants, their waiting counted in."""
    best: tuple[tuple[int, int], Applicant] | None = None
    for severity, line in lines:
        for turn in line.values():
            head = turn.head(behind)
            if head is None:
                continue
            waited = int((now - turn.since) // AGING_SECONDS)
            place = (severity.rank - waited, severity.rank)
            if best is None or place < best[0]:
                best = (place, head)
            break
    return best[1] if best else None
