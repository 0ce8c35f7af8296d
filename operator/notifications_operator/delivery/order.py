"""Who is served next: by severity, then in turn between namespaces, then Notifications."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..api.notification import Severity

AGING_SECONDS = 60.0
"""Seconds of waiting after which an applicant counts as one step more severe."""

URGENT_RANK = Severity.HIGH.rank
"""Applicants up to this rank may use the reserved part of a window."""


@dataclass(kw_only=True)
class Applicant:
    """One Notification that wants slots of one processor.

    ``grant`` is called with the number of slots given; it must not block.
    """

    uid: str
    namespace: str
    severity: Severity
    since: float
    wanted: int
    grant: Callable[[int], None]

    @property
    def urgent(self) -> bool:
        """Whether the reserved part of the window is for it."""
        return self.severity.rank <= URGENT_RANK


class FairQueue:
    """Applicants in their order.

    Within one severity namespaces take turns, and within a namespace its Notifications, so that a
    large broadcast holds nobody up; waiting raises the severity, so that nobody starves.
    """

    def __init__(self) -> None:
        self._turns: dict[Severity, OrderedDict[str, OrderedDict[str, Applicant]]] = {
            severity: OrderedDict() for severity in Severity
        }
        self._severities: dict[str, Severity] = {}

    def __len__(self) -> int:
        return len(self._severities)

    def put(self, applicant: Applicant) -> None:
        """Add an applicant at the end of its turn, or replace it where it stands."""
        if self._severities.get(applicant.uid, applicant.severity) is not applicant.severity:
            self.remove(applicant.uid)
        namespaces = self._turns[applicant.severity]
        namespaces.setdefault(applicant.namespace, OrderedDict())[applicant.uid] = applicant
        self._severities[applicant.uid] = applicant.severity

    def remove(self, uid: str) -> None:
        """Take an applicant out, if it is there."""
        severity = self._severities.pop(uid, None)
        if severity is None:
            return
        namespaces = self._turns[severity]
        for namespace, members in list(namespaces.items()):
            if members.pop(uid, None) is not None and not members:
                del namespaces[namespace]

    def peek(self, now: float, *, urgent_only: bool) -> Applicant | None:
        """Return who is next, without changing anything.

        Parameters
        ----------
        now
            The moment, on the clock of ``Applicant.since``.
        urgent_only
            Whether only critical and high ones may be chosen.
        """
        best: tuple[int, int, int, Applicant] | None = None
        for severity, namespaces in self._turns.items():
            if urgent_only and severity.rank > URGENT_RANK:
                continue
            for turn, members in enumerate(namespaces.values()):
                head = next(iter(members.values()))
                waited = int((now - head.since) // AGING_SECONDS)
                place = (max(0, severity.rank - waited), severity.rank, turn, head)
                if best is None or place[:3] < best[:3]:
                    best = place
        return best[3] if best else None

    def served(self, applicant: Applicant, amount: int) -> None:
        """Note that an applicant got slots: it leaves, or goes to the end of its turn."""
        applicant.wanted -= amount
        namespaces = self._turns[applicant.severity]
        members = namespaces[applicant.namespace]
        namespaces.move_to_end(applicant.namespace)
        if applicant.wanted > 0:
            members.move_to_end(applicant.uid)
        else:
            self.remove(applicant.uid)
