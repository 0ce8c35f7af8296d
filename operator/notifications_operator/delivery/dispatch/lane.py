"""The dispatcher of one processor: its claim window, and who gets the slots."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType

from ...processors.base import Limits
from .fair_queue import Applicant, FairQueue
from .throttle import Throttle

WINDOW_SECONDS = 2.0
"""The claim window is what the processor sent in this many seconds and two writes.

A slot is held for two writes, its claim's and its record's, besides the send: a horizon that does
not cover them never sees more than the slots there are, and the window cannot grow.
"""

WRITE_WEIGHT = 0.125
"""Weight of the newest write in the measured time of one."""

WINDOW_LIMIT = 128
"""Most claims of one processor at a time: the bound of the doubt after a crash."""


class _Sending(AbstractAsyncContextManager[float]):
    """One send; a class, because a generator costs three times as much, for each mail."""

    __slots__ = ("_finished", "_semaphore", "_throttle")

    def __init__(
        self, semaphore: asyncio.Semaphore, throttle: Throttle, finished: Callable[[], None]
    ) -> None:
        self._semaphore = semaphore
        self._throttle = throttle
        self._finished = finished

    async def __aenter__(self) -> float:
        await self._semaphore.acquire()
        try:
            return await self._throttle.wait()
        except BaseException:
            self._semaphore.release()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._semaphore.release()
        if exc is None:
            self._finished()


@dataclass(kw_only=True)
class _Probing:
    """One slot at a time: who comes last or not at all, and who got the slot."""

    behind: Collection[str]
    only_others: bool
    holder: str | None


class Lane:
    """Grants slots, that is the right to claim and send one delivery each.

    A slot is held from the grant until its outcome is recorded. The number of slots is the claim
    window, over all Notifications.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queue = FairQueue()
        self._held: Counter[str] = Counter()
        self._urgent: set[str] = set()
        self._finished: deque[float] = deque(maxlen=WINDOW_LIMIT)
        self._write_seconds: float | None = None
        self._open = False
        self._probing: _Probing | None = None
        self.configure(limits)

    def configure(self, limits: Limits, *, window: int | None = None) -> None:
        """Take new limits; sends under way finish under the old ones.

        Parameters
        ----------
        window
            How many slots there are, where claims leave no doubt; by default the claim window.
        """
        self._concurrency = limits.concurrency
        self._fixed_window = window
        self._sending = asyncio.Semaphore(limits.concurrency)
        self._throttle = Throttle(limits)

    @property
    def waiting(self) -> int:
        """Notifications that wait for slots."""
        return len(self._queue)

    @property
    def held(self) -> int:
        """Slots that are out."""
        return self._held.total()

    @property
    def window(self) -> int:
        """How many slots there are now."""
        if self._fixed_window is not None:
            return self._fixed_window
        horizon = self._clock() - WINDOW_SECONDS - 2 * (self._write_seconds or 0.0)
        while self._finished and self._finished[0] < horizon:
            self._finished.popleft()
        return min(max(len(self._finished), self._concurrency), WINDOW_LIMIT)

    def open(self) -> None:
        """Begin to grant slots."""
        self._open, self._probing = True, None
        self._pump()

    def probe(self, behind: Collection[str], *, only_others: bool) -> None:
        """Begin to grant one slot at a time.

        Parameters
        ----------
        behind
            Notifications that come after all others.
        only_others
            Whether they do not come at all.
        """
        self._open = True
        holder = self._probing.holder if self._probing else None
        self._probing = _Probing(behind=behind, only_others=only_others, holder=holder)
        self._pump()

    def close(self) -> None:
        """Grant no more slots; those that are out stay valid."""
        self._open, self._probing = False, None

    def apply(self, applicant: Applicant) -> None:
        """Ask for slots; they are granted now or later, in parts."""
        self._queue.put(applicant, self._clock())
        self._pump()

    def withdraw(self, uid: str) -> None:
        """Ask for no more slots."""
        self._queue.remove(uid)

    def exchange(self, uid: str, *, finished: int, wanted: int) -> int:
        """Swap finished deliveries for new ones within one write.

        It counts as a turn, so that whoever else waits is next.

        Returns
        -------
        int
            How many slots the Notification keeps and may claim with the record of the finished
            ones. The others must be given back by `release` once the record is stored, so that
            the window also holds at a crash in between.
        """
        crowded = self._held.total() > self.window or (
            uid not in self._urgent and self._common > self.window - self._reserved
        )
        if not self._open or self._probing is not None or crowded:
            return 0
        amount = min(finished, wanted)
        now = self._clock()
        head = self._queue.peek(now, urgent_only=False)
        if head is not None and head.uid != uid:
            return 0
        if head is not None:
            self._queue.served(head, amount, now)
        return amount

    def take(self, uid: str, amount: int) -> None:
        """Hold slots for claims that are stored already, whether or not there are any left."""
        self._held[uid] += amount

    def release(self, uid: str, amount: int) -> None:
        """Give slots back."""
        self._held[uid] -= amount
        if self._held[uid] <= 0:
            del self._held[uid]
            self._urgent.discard(uid)
        self._pump()

    def sending(self) -> AbstractAsyncContextManager[float]:
        """Hold one of the concurrent sends, started no faster than the throttle allows.

        Yields the seconds that the throttle held it back. It counts for the window unless it
        raises.
        """
        return _Sending(self._sending, self._throttle, self._note_finished)

    def note_write(self, seconds: float) -> None:
        """Take the time that one write of claims took."""
        before = seconds if self._write_seconds is None else self._write_seconds
        self._write_seconds = before + WRITE_WEIGHT * (seconds - before)

    def _note_finished(self) -> None:
        self._finished.append(self._clock())

    @property
    def _reserved(self) -> int:
        """How many slots are kept for critical and high ones."""
        return self.window // 4

    @property
    def _common(self) -> int:
        """How many slots the others hold."""
        return sum(amount for uid, amount in self._held.items() if uid not in self._urgent)

    def _pump(self) -> None:
        if self._probing is not None:
            self._grant_probe(self._probing)
            return
        while self._open and self._queue:
            now = self._clock()
            free = self.window - self._held.total()
            ordinary = min(free, self.window - self._reserved - self._common)
            applicant = self._queue.peek(now, urgent_only=ordinary <= 0)
            if free <= 0 or applicant is None:
                return
            available = free if applicant.urgent else ordinary
            share = max(1, available // len(self._queue))
            amount = min(share, applicant.wanted)
            self._held[applicant.uid] += amount
            if applicant.urgent:
                self._urgent.add(applicant.uid)
            self._queue.served(applicant, amount, now)
            applicant.grant(amount)

    def _grant_probe(self, probing: _Probing) -> None:
        """Grant one slot, unless the last one is still out; what was out before does not count."""
        if probing.holder is not None and probing.holder in self._held:
            return
        now = self._clock()
        behind = probing.behind
        applicant = self._queue.peek(now, urgent_only=False, behind=behind)
        if applicant is None or (probing.only_others and applicant.uid in behind):
            return
        probing.holder = applicant.uid
        self._held[applicant.uid] += 1
        if applicant.urgent:
            self._urgent.add(applicant.uid)
        self._queue.served(applicant, 1, now)
        applicant.grant(1)
