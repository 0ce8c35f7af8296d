"""The slots that one Notification holds in the lanes of its processors."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from ...api.notification import Severity
from ..dispatch.fair_queue import Applicant
from ..dispatch.lane import Lane
from ..dispatch.supervisor import Supervisor


class Slots:
    """Keeps account of slots: those at hand, and those that claims use.

    A slot is granted, used by a claim, finished with an outcome, and given back (or kept for the
    next claim) when the outcome is recorded. It is given back earlier, once, if the record must
    wait.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        uid: str,
        namespace: str,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._supervisor = supervisor
        self._uid = uid
        self._namespace = namespace
        self._wake = wake
        self._granted: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._early: Counter[str] = Counter()
        self._applied: set[str] = set()
        self._asked: dict[str, float] = {}
        self._lanes: dict[str, Lane] = {}

    @property
    def waiting(self) -> bool:
        """Whether an application is open."""
        return bool(self._applied)

    def obtain(self, processor: str, wanted: int, *, severity: Severity, last: bool = False) -> int:
        """Return how many slots are at hand; apply for the rest, perhaps after all others."""
        lane = self._lane(processor)
        if lane is not None and self._granted[processor] < wanted:
            missing = wanted - self._granted[processor]
            self._apply(lane, processor, missing, severity, last=last)
        self._asked[processor] = self._clock()
        return self._granted[processor]

    def exchange(self, processor: str, *, finished: int, wanted: int) -> int:
        """Return how many slots of finished deliveries may be used again in the same write."""
        lane = self._lane(processor)
        own = min(finished - self._early[processor], self._used[processor])
        beyond = wanted - self._granted[processor]
        if lane is None or beyond <= 0 or own <= 0:
            return 0
        return lane.exchange(self._uid, finished=own, wanted=beyond)

    def used(self, processor: str, amount: int) -> None:
        """Note that claims are stored, and how long that took since slots were asked for.

        A claim whose answer was lost may come to light after its slot was given back; it takes
        one all the same.
        """
        lane = self._lane(processor)
        if lane is None:
            return
        if (asked := self._asked.pop(processor, None)) is not None:
            lane.note_write(self._clock() - asked)
        missing = amount - self._granted[processor]
        if missing > 0:
            lane.take(self._uid, missing)
            self._granted[processor] += missing
        self._granted[processor] -= amount
        self._used[processor] += amount

    def recorded(self, processor: str, *, finished: int, kept: int) -> None:
        """Note that outcomes are stored: keep some slots, give back the others."""
        lane = self._lane(processor)
        early = min(finished, self._early[processor])
        self._early[processor] -= early
        own = min(finished - early, self._used[processor])
        self._used[processor] -= own
        self._granted[processor] += kept
        if lane is not None and own > kept:
            lane.release(self._uid, own - kept)

    def give_back(self, processor: str) -> None:
        """Withdraw the application and give back what is not used."""
        lane = self._lane(processor)
        self._asked.pop(processor, None)
        if lane is None:
            return
        if processor in self._applied:
            self._applied.discard(processor)
            lane.withdraw(self._uid)
        if amount := self._granted.pop(processor, 0):
            lane.release(self._uid, amount)

    def give_back_all(self) -> None:
        """Give back everything that is not used, everywhere."""
        for processor in self._applied | set(self._granted):
            self.give_back(processor)

    def let_go(self, finished: Mapping[str, int]) -> None:
        """Give back also the slots of outcomes that cannot be recorded for now.

        Parameters
        ----------
        finished
            All outcomes that are not recorded, by processor.
        """
        self.give_back_all()
        for processor, amount in finished.items():
            lane = self._lane(processor)
            own = min(amount - self._early[processor], self._used[processor])
            if lane is not None and own > 0:
                self._used[processor] -= own
                self._early[processor] += own
                lane.release(self._uid, own)

    def close(self) -> None:
        """Give back all slots, used ones too: nobody will record their outcomes."""
        self.give_back_all()
        for processor in list(self._used):
            lane = self._lane(processor)
            if lane is not None and (own := self._used.pop(processor, 0)):
                lane.release(self._uid, own)

    def _lane(self, processor: str) -> Lane | None:
        """Return the processor's lane; slots of one that was replaced are worth nothing."""
        channel = self._supervisor.get(processor)
        lane = channel.lane if channel else None
        if lane is not self._lanes.get(processor):
            self._applied.discard(processor)
            for counter in (self._granted, self._used, self._early, self._lanes, self._asked):
                counter.pop(processor, None)
            if lane is not None:
                self._lanes[processor] = lane
        return lane

    def _apply(
        self, lane: Lane, processor: str, wanted: int, severity: Severity, *, last: bool
    ) -> None:
        def grant(amount: int) -> None:
            self._granted[processor] += amount
            self._wake()

        self._applied.add(processor)
        lane.apply(
            Applicant(
                uid=self._uid,
                namespace=self._namespace,
                severity=severity,
                wanted=wanted,
                grant=grant,
                last=last,
            )
        )
