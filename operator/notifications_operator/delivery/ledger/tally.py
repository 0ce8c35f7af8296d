"""What rows add up to: all that counters, state and conditions are derived from; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ...api.notification import DeliveryState
from .rows import Row

_AT_REST = (DeliveryState.SENT, DeliveryState.SKIPPED)


@dataclass(kw_only=True)
class Tally:
    """Rows by processor, state and reason, and what is remarkable among them.

    ``failed`` is the first row that failed, ``troubled`` the first other one with a reason that is
    neither sent nor skipped; ``next_attempts`` the earliest next attempt of each processor.
    """

    counts: Counter[tuple[str, DeliveryState, str | None]] = field(default_factory=Counter)
    next_attempts: dict[str, datetime] = field(default_factory=dict)
    failed: Row | None = None
    troubled: Row | None = None

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Tally:
        """Count rows."""
        tally = cls()
        for row in rows:
            tally.counts[row.processor, row.state, row.reason] += 1
            if row.next_attempt_time is not None:
                tally._note_attempt(row.processor, row.next_attempt_time)
            if row.state is DeliveryState.FAILED:
                tally.failed = tally.failed or row
            elif row.reason and row.state not in _AT_REST:
                tally.troubled = tally.troubled or row
        return tally

    @classmethod
    def sum(cls, parts: Iterable[Tally]) -> Tally:
        """Add up tallies of parts, in their order."""
        whole = cls()
        for part in parts:
            whole.counts.update(part.counts)
            for processor, moment in part.next_attempts.items():
                whole._note_attempt(processor, moment)
            whole.failed = whole.failed or part.failed
            whole.troubled = whole.troubled or part.troubled
        return whole

    @property
    def total(self) -> int:
        """How many rows there are."""
        return self.counts.total()

    def states(self, processor: str | None = None) -> Counter[DeliveryState]:
        """Count rows by state, of all processors or of one."""
        found: Counter[DeliveryState] = Counter()
        for (name, state, _), amount in self.counts.items():
            if processor in (None, name):
                found[state] += amount
        return found

    def reasons(self, *states: DeliveryState) -> Counter[str]:
        """Count the reasons of rows in some states; rows without one count under ``""``."""
        found: Counter[str] = Counter()
        for (_, state, reason), amount in self.counts.items():
            if state in states:
                found[reason or ""] += amount
        return found

    def _note_attempt(self, processor: str, moment: datetime) -> None:
        earliest = self.next_attempts.get(processor, moment)
        self.next_attempts[processor] = min(earliest, moment)
