"""Keeps requests from outrunning deliveries until the cluster's storage is full.

Creating outruns delivering five to one (DESIGN section 11), and what is not finished has no end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ...api.errors import KubernetesError
from ...api.notification import NotificationState
from ...telemetry import gateway as metrics
from ..errors import TooManyRequestsError
from .cluster import Cluster

logger = logging.getLogger(__name__)

FINISHED_STATES = (
    NotificationState.DELIVERED,
    NotificationState.PARTIALLY_DELIVERED,
    NotificationState.FAILED,
    NotificationState.EXPIRED,
    NotificationState.NO_RECIPIENTS,
)

UNFINISHED = ",".join(f"status.state!={state}" for state in FINISHED_STATES)
"""Field selector of the Notifications that are not finished."""

COUNT_SECONDS = 10.0
"""Age at which a count is made anew: other replicas create too."""

RECOUNT_SECONDS = 1.0
"""The same while the count is at its bound: deliveries make room."""

RETRY_AFTER = 10.0
"""Seconds after which whoever was refused may ask again."""


@dataclass
class _Count:
    """What is known of one namespace.

    Attributes
    ----------
    counted
        How many there were at ``at``; ``None`` if that is not known.
    under_way
        How many are just being created.
    since
        How many were created since ``at``, or so it seems: all three are an upper bound.
    """

    counted: int | None = None
    under_way: int = 0
    since: int = 0
    at: float = float("-inf")
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def bound(self) -> int:
        return (self.counted or 0) + self.under_way + self.since


class Backlog:
    """Admits requests while a namespace has few enough unfinished Notifications.

    It knows an upper bound of what this process creates, so that it lists rarely: about every
    `COUNT_SECONDS`, beside the requests, and when the bound is reached.
    """

    def __init__(self, cluster: Cluster, *, most: int) -> None:
        self._cluster = cluster
        self._most = most
        self._counts: dict[str, _Count] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def room(self, namespace: str) -> AsyncIterator[None]:
        """Take one into account that is created within the context.

        Raises
        ------
        TooManyRequestsError
            If there are too many.
        """
        count = self._counts.setdefault(namespace, _Count())
        if count.bound >= self._most:
            await self._recount(namespace, count, older=RECOUNT_SECONDS)
            if count.bound >= self._most:
                raise TooManyRequestsError(
                    f"{self._most} notifications are not delivered yet; try again later",
                    retry_after=RETRY_AFTER,
                )
        elif self._age(count) > COUNT_SECONDS and not count.counting.locked():
            task = asyncio.create_task(self._recount(namespace, count, older=COUNT_SECONDS))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        count.under_way += 1
        try:
            yield
        finally:
            count.under_way -= 1
            count.since += 1

    async def close(self) -> None:
        """Count no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _age(self, count: _Count) -> float:
        return asyncio.get_running_loop().time() - count.at

    async def _recount(self, namespace: str, count: _Count, *, older: float) -> None:
        """Count again if the last count is older than so many seconds."""
        async with count.counting:
            if self._age(count) <= older:
                return
            before = count.since
            try:
                count.counted = await self._cluster.count_notifications(
                    namespace, field_selector=UNFINISHED, at_most=self._most
                )
            except KubernetesError as error:
                # Not known is not full: whether one more can be stored, its creation tells.
                logger.warning("cannot count the unfinished Notifications: %s", error)
                count.counted = None
            # What was created meanwhile may or may not have been counted: it is taken as not.
            count.since -= before
            count.at = asyncio.get_running_loop().time()
            if count.counted is not None:
                metrics.UNFINISHED.labels(namespace).set(count.counted)
