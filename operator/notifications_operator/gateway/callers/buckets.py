"""Token buckets by key, as many as there is room for."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_BUCKETS = 10_000
"""Keys that are remembered; the one that was not asked for longest is forgotten."""


@dataclass
class _Level:
    tokens: float
    at: float


class TokenBuckets:
    """Takes tokens from buckets that fill again steadily.

    Parameters
    ----------
    clock
        Seconds of a monotonic clock.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._levels: OrderedDict[str, _Level] = OrderedDict()

    def take(self, key: str, *, per_minute: int, capacity: float) -> float:
        """Take a token, if there is one.

        Parameters
        ----------
        per_minute
            Tokens that come back in a minute.
        capacity
            Most tokens that gather; at least 1.

        Returns
        -------
        float
            Seconds until there will be one; 0 if one was taken.
        """
        now = self._clock()
        level = self._levels.setdefault(key, _Level(tokens=capacity, at=now))
        self._levels.move_to_end(key)
        if len(self._levels) > MOST_BUCKETS:
            self._levels.popitem(last=False)
        rate = per_minute / 60
        level.tokens = min(level.tokens + (now - level.at) * rate, capacity)
        level.at = now
        if level.tokens >= 1:
            level.tokens -= 1
            return 0.0
        return (1 - level.tokens) / rate

    def give_back(self, key: str) -> None:
        """Put a token back that was taken; a bucket that is full stays so."""
        if (level := self._levels.get(key)) is not None:
            # `take` holds it to its capacity.
            level.tokens += 1
