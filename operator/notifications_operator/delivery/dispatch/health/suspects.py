"""Deliveries whose refusals made their processor pause: perhaps they are to blame; pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import IntEnum

from .evidence import Acceptances, Delivery

SUSPECTS_LIMIT = 1024
"""Most suspects that are remembered of a processor."""


class Suspicion(IntEnum):
    """Certainty that a refusal of the whole processor is one delivery's own."""

    NONE = 1
    """Its first, or nothing was accepted since: the processor pauses and it costs no attempt."""

    STRONG = 2
    """It made the processor pause before and others were accepted since: it costs an attempt."""

    CERTAIN = 3
    """So for the third time: from now on it costs attempts, and nobody pauses for it any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    suspicion: Suspicion
    number: int


class Suspects:
    """Knows how often each delivery made its processor pause although others were accepted."""

    def __init__(self, order: Acceptances) -> None:
        self._order = order
        self._records: OrderedDict[Delivery, _Record] = OrderedDict()
        self._notifications: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, delivery: Delivery) -> bool:
        return delivery in self._records

    def concerns(self, uid: str) -> bool:
        """Whether a Notification has suspects."""
        return uid in self._notifications

    def note(self, delivery: Delivery) -> Suspicion:
        """Take in that a delivery met with a refusal of the whole processor."""
        before = self._records.get(delivery)
        shown = before is not None and self._order.since(before.number)
        suspicion = before.suspicion if before is not None else Suspicion.NONE
        if shown and suspicion < Suspicion.CERTAIN:
            suspicion = Suspicion(suspicion + 1)
        self.clear(delivery)
        self._records[delivery] = _Record(suspicion=suspicion, number=self._order.refusal())
        self._notifications[delivery[0]] += 1
        if len(self._records) > SUSPECTS_LIMIT:
            self.clear(next(iter(self._records)))
        return suspicion if shown or suspicion is Suspicion.CERTAIN else Suspicion.NONE

    def is_strong(self, delivery: Delivery) -> bool:
        """Whether a delivery was refused again after others had been accepted."""
        record = self._records.get(delivery)
        return record is not None and record.suspicion >= Suspicion.STRONG

    def clear(self, delivery: Delivery) -> None:
        """Forget a delivery: it was accepted."""
        if self._records.pop(delivery, None) is None:
            return
        self._notifications[delivery[0]] -= 1
        if self._notifications[delivery[0]] <= 0:
            del self._notifications[delivery[0]]
