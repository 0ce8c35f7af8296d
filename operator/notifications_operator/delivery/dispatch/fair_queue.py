"""Who is served next: by severity, then in turn between namespaces, then Notifications."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from ...api.notification import Severity

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
    """One namespace's Notifications of one line, and since when none of them was served."""

    since: float
    members: OrderedDict[str, Applicant] = field(default_factory=OrderedDict)


class _Line(NamedTuple):
    """Applicants of one severity that come before all others, or after them."""

    last: bool
    severity: Severity


_Turns = OrderedDict[str, _Turn]
"""Turns by namespace, the one that has waited longest first."""


class FairQueue:
    """Applicants in their order.

    Within one severity namespaces take turns, and within a namespace its Notifications, so that a
    large broadcast holds nobody up. A turn that has waited is raised, without bound, so that
    nobody starves; it has waited since it was last served, so that whoever has much to send does
    not overtake those who come later.

    A turn that comes or was served goes to the end of its line, so that the first of each line has
    waited longest. Only the first of each line is therefore looked at, however many namespaces
    there are.
    """

    def __init__(self) -> None:
        self._lines: dict[_Line, _Turns] = {
            _Line(last, severity): OrderedDict() for last in (False, True) for severity in Severity
        }
        self._applicants: dict[str, Applicant] = {}

    def __len__(self) -> int:
        return len(self._applicants)

    def put(self, applicant: Applicant, now: float) -> None:
        """Add an applicant at the end of its turn, or replace it where it stands."""
        known = self._applicants.get(applicant.uid)
        if known is not None and _line_of(known) != _line_of(applicant):
            self.remove(applicant.uid)
        turns = self._lines[_line_of(applicant)]
        turn = turns.setdefault(applicant.namespace, _Turn(since=now))
        turn.members[applicant.uid] = applicant
        self._applicants[applicant.uid] = applicant

    def remove(self, uid: str) -> None:
        """Take an applicant out, if it is there."""
        applicant = self._applicants.pop(uid, None)
        if applicant is None:
            return
        turns = self._lines[_line_of(applicant)]
        turn = turns[applicant.namespace]
        del turn.members[uid]
        if not turn.members:
            del turns[applicant.namespace]

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
            Notifications that come after all others; they are few.
        """
        fronts = [
            (line, *found)
            for line, turns in self._lines.items()
            if not (line.last or (urgent_only and line.severity.rank > URGENT_RANK))
            and (found := _first(turns, behind)) is not None
        ]
        if not (fronts or urgent_only):
            fronts = [
                (line, *found)
                for line, turns in self._lines.items()
                if (found := _first(turns, ())) is not None
            ]
        places = [(_place(line, turn, now), applicant) for line, turn, applicant in fronts]
        return min(places, key=lambda item: item[0])[1] if places else None

    def served(self, applicant: Applicant, amount: int, now: float) -> None:
        """Note that an applicant got slots: it leaves, or goes to the end of its turn."""
        applicant.wanted -= amount
        turns = self._lines[_line_of(applicant)]
        turns.move_to_end(applicant.namespace)
        turn = turns[applicant.namespace]
        turn.since = now
        if applicant.wanted > 0:
            turn.members.move_to_end(applicant.uid)
        else:
            self.remove(applicant.uid)


def _line_of(applicant: Applicant) -> _Line:
    return _Line(applicant.last, applicant.severity)


def _first(turns: _Turns, behind: Collection[str]) -> tuple[_Turn, Applicant] | None:
    """Return who comes first of a line, those behind left out."""
    for turn in turns.values():
        for applicant in turn.members.values():
            if applicant.uid not in behind:
                return turn, applicant
    return None


def _place(line: _Line, turn: _Turn, now: float) -> tuple[int, int]:
    """Return the rank that the first of a line has by its severity and its waiting."""
    waited = int((now - turn.since) // AGING_SECONDS)
    return line.severity.rank - waited, line.severity.rank
