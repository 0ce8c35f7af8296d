"""Bounds how many sends start within an interval (upstream's ``p-throttle``)."""

from __future__ import annotations

import asyncio
from collections import deque

from ...processors.base import Limits


class Throttle:
    """Lets at most ``limits.starts`` pass in any ``limits.interval``, first come first served."""

    def __init__(self, limits: Limits) -> None:
        self._starts = limits.starts
        self._interval = limits.interval.total_seconds()
        self._recent: deque[float] = deque(maxlen=max(limits.starts, 1))
        self._turn = asyncio.Lock()

    async def wait(self) -> float:
        """Wait for one's turn; returns the seconds that it took."""
        if self._starts <= 0 or self._interval <= 0:
            return 0.0
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with self._turn:
            if len(self._recent) == self._starts:
                remaining = self._recent[0] + self._interval - loop.time()
                if remaining > 0:
                    await asyncio.sleep(remaining)
            now = loop.time()
            self._recent.append(now)
            return now - begin
