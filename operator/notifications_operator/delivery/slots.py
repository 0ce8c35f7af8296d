"""The slots that one Notification holds in the lanes of its processors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..api.notification import Severity
from .order import Applicant
from .supervisor import Supervisor


class Slots:
    """Keeps account of slots that are granted and not yet used for a claim.

    A slot is granted, used by a claim, finished with an outcome, and given back (or kept for the
    next claim) when the outcome is recorded.
    """

    def __init__(
        self, supervisor: Supervisor, *, uid: str, namespace: str, wake: Callable[[], None]
    ) -> None:
        self._supervisor = supervisor
        self._uid = uid
        self._namespace = namespace
        self._wake = wake
        self._granted: Counter[str] = Counter()
        self._applied: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether an application is open."""
        return bool(self._applied)

    def obtain(self, processor: str, wanted: int, *, severity: Severity, since: float) -> int:
        """Return how many slots are at hand; apply for the rest."""
        if self._granted[processor] < wanted:
            self._apply(processor, wanted - self._granted[processor], severity, since)
        return self._granted[processor]

    def exchange(self, processor: str, *, finished: int, wanted: int) -> int:
        """Return how many slots of finished deliveries may be used again in the same write."""
        channel = self._supervisor.get(processor)
        beyond = wanted - self._granted[processor]
        if channel is None or beyond <= 0 or not finished:
            return 0
        return channel.lane.exchange(self._uid, finished=finished, wanted=beyond)

    def recorded(self, processor: str, *, finished: int, kept: int) -> None:
        """Note that outcomes are stored: keep some slots, give back the others."""
        self._granted[processor] += kept
        self._release(processor, finished - kept)

    def used(self, processor: str, amount: int) -> None:
        """Note that claims are stored."""
        self._granted[processor] = max(self._granted[processor] - amount, 0)

    def give_back(self, processor: str) -> None:
        """Withdraw the application and give back what is not used."""
        if processor in self._applied:
            self._applied.discard(processor)
            if channel := self._supervisor.get(processor):
                channel.lane.withdraw(self._uid)
        if amount := self._granted.pop(processor, 0):
            self._release(processor, amount)

    def give_back_all(self) -> None:
        """Give back everything, everywhere."""
        for processor in self._applied | set(self._granted):
            self.give_back(processor)

    def _apply(self, processor: str, wanted: int, severity: Severity, since: float) -> None:
        channel = self._supervisor.get(processor)
        if channel is None:
            return

        def grant(amount: int) -> None:
            self._granted[processor] += amount
            self._wake()

        self._applied.add(processor)
        channel.lane.apply(
            Applicant(
                uid=self._uid,
                namespace=self._namespace,
                severity=severity,
                since=since,
                wanted=wanted,
                grant=grant,
            )
        )

    def _release(self, processor: str, amount: int) -> None:
        if amount > 0 and (channel := self._supervisor.get(processor)):
            channel.lane.release(self._uid, amount)
