"""Deletes finished Notifications whose ``ttlSecondsAfterFinished`` is over (KEP-592)."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from ..api.errors import ConflictError, KubernetesError, NotFoundError
from ..api.notification import Notification
from ..api.references import NOTIFICATIONS, ObjectRef
from ..telemetry.background import BackgroundTasks
from .ports import Cluster
from .storage.trackers import tracker

logger = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Seconds before a deletion that failed is tried again."""

MOST_DELETIONS = 4
"""Deletions that are under way at a time, so that a burst leaves the API server to others."""

_SPARE = 64
"""Places of forgotten deletions that the heap may have beyond as many as it needs."""


@dataclass(frozen=True, slots=True)
class _Deletion:
    """One deletion to come: no more than it needs, as there may be tens of thousands.

    ``due`` is a moment of the event loop's clock.
    """

    ref: ObjectRef
    resource_version: str
    due: float


class Reaper:
    """Waits for each finished Notification's time and deletes it if it is still the same.

    Only the leader deletes; what falls due meanwhile is kept for `resume`. Deletions that fall due
    together are spread: a few are under way at a time.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        leading: Callable[[], bool],
        background: BackgroundTasks | None = None,
    ) -> None:
        self._cluster = cluster
        self._leading = leading
        self._background = background or BackgroundTasks()
        self._planned: dict[str, _Deletion] = {}
        self._heap: list[tuple[float, int, _Deletion]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def schedule(self, notification: Notification) -> None:
        """Take a finished Notification, in place of what was known of it."""
        metadata = notification.metadata
        self.forget(metadata.uid)
        seconds = notification.spec.ttl_seconds_after_finished
        completed = notification.status.completion_time
        if seconds is None or completed is None or tracker(notification) is not None:
            return
        remaining = completed + timedelta(seconds=seconds) - datetime.now(UTC)
        due = asyncio.get_running_loop().time() + max(remaining.total_seconds(), 0.0)
        ref = ObjectRef.of(NOTIFICATIONS, metadata)
        self._plan(_Deletion(ref, metadata.resource_version, due))

    def forget(self, uid: str) -> None:
        """The object is gone or not finished any more."""
        self._planned.pop(uid, None)

    def resume(self) -> None:
        """Delete what fell due while another process led."""
        self._work()

    def close(self) -> None:
        """Delete nothing more."""
        self._planned.clear()
        self._heap.clear()
        self._set_timer()
        for task in self._tasks:
            task.cancel()

    def _plan(self, deletion: _Deletion) -> None:
        self._planned[deletion.ref.uid] = deletion
        heapq.heappush(self._heap, (deletion.due, next(self._numbers), deletion))
        if len(self._heap) > 2 * len(self._planned) + _SPARE:
            self._heap = [item for item in self._heap if self._is_planned(item[2])]
            heapq.heapify(self._heap)
        self._work()

    def _is_planned(self, deletion: _Deletion) -> bool:
        return self._planned.get(deletion.ref.uid) is deletion

    def _work(self) -> None:
        """Begin what is due, as far as there is room, and set the timer for the next."""
        now = asyncio.get_running_loop().time()
        while self._may_begin and self._heap[0][0] <= now:
            _, _, deletion = heapq.heappop(self._heap)
            if self._is_planned(deletion):
                task = asyncio.create_task(self._delete(deletion))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
        self._set_timer()

    @property
    def _may_begin(self) -> bool:
        return bool(self._heap) and len(self._tasks) < MOST_DELETIONS and self._leading()

    def _set_timer(self) -> None:
        """Wake up when the next is due; without room the end of a deletion does that."""
        due = self._heap[0][0] if self._may_begin else None
        if self._timer is not None:
            if self._timer.when() == due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._work()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._work()

    async def _delete(self, deletion: _Deletion) -> None:
        ref = deletion.ref
        if not self._is_planned(deletion):
            return
        try:
            await self._cluster.delete(ref, uid=ref.uid, resource_version=deletion.resource_version)
        except (NotFoundError, ConflictError):
            # Gone, or changed since: its newer version is scheduled when it is seen.
            self._done(deletion)
        except KubernetesError as error:
            logger.warning(
                "could not delete a finished Notification: %s", error, extra=ref.log_fields
            )
            self._retry(deletion)
        except Exception as error:
            self._background.report(f"deletion of {ref.namespace}/{ref.name}", error)
            self._retry(deletion)
        else:
            self._done(deletion)
            logger.info("deleted: its ttlSecondsAfterFinished is over", extra=ref.log_fields)

    def _done(self, deletion: _Deletion) -> None:
        if self._is_planned(deletion):
            self.forget(deletion.ref.uid)

    def _retry(self, deletion: _Deletion) -> None:
        """Try again later, unless a newer version was scheduled or the object was forgotten."""
        if self._is_planned(deletion):
            due = asyncio.get_running_loop().time() + RETRY_SECONDS
            self._plan(replace(deletion, due=due))
