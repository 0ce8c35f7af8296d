"""Keeps a former leader's deliveries out."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import ConflictError

MEMORY_SECONDS = 600.0
"""Seconds after its last delivery for which an epoch keeps out those before it."""


class Epochs:
    """The newest acquisition of the operator's Lease that was seen.

    It is a second line only: what a former leader hands over late is known by its identity or its
    sequence. So it is kept in memory, and not for ever: a Lease that was deleted counts from one
    again, and a lasting memory of the old one would keep its operator out for good.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._newest = 0
        self._seen = 0.0

    def admit(self, epoch: int) -> None:
        """Take note of a delivery's epoch; raises `ConflictError` if a newer one was seen."""
        now = self._clock()
        if epoch < self._newest and now < self._seen + MEMORY_SECONDS:
            raise ConflictError(
                f"The operator's epoch {epoch} is over; {self._newest} was seen since"
            )
        self._newest, self._seen = epoch, now
