"""Deletes finished Notifications whose ``ttlSecondsAfterFinished`` is over (KEP-592)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ..api.errors import ConflictError, KubernetesError, NotFoundError
from ..api.notification import Notification
from ..api.references import NOTIFICATIONS, ObjectRef
from ..telemetry.background import BackgroundTasks
from .ports import Cluster

logger = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Seconds before a deletion that failed is tried again."""

_HOOK = "argocd.argoproj.io/hook"
_TRACKERS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "app.kubernetes.io/instance": "Argo CD or Helm",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "meta.helm.sh/release-name": "Helm",
}
"""Labels and annotations by which a tool that would create a deleted object again is known."""


def tracker(notification: Notification) -> str | None:
    """Return the tool that would create the Notification again, and so have it sent again."""
    marks = {**notification.metadata.labels, **notification.metadata.annotations}
    if _HOOK in marks:
        return None
    return next((tool for mark, tool in _TRACKERS.items() if mark in marks), None)


def ttl_note(notification: Notification) -> str | None:
    """Return what to tell the user of a TTL that is ignored."""
    if notification.spec.ttl_seconds_after_finished is None:
        return None
    tool = tracker(notification)
    if tool is None:
        return None
    return f"TTLIgnored: {tool} manages this object and would create and send it again"


class Reaper:
    """Waits for each finished Notification's time and deletes it if it is still the same.

    Only the leader deletes; what falls due meanwhile is kept for `resume`.
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
        self._due: dict[str, Notification] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def schedule(self, notification: Notification) -> None:
        """Take a finished Notification, in place of what was known of it."""
        uid = notification.metadata.uid
        self.forget(uid)
        seconds = notification.spec.ttl_seconds_after_finished
        completed = notification.status.completion_time
        if seconds is None or completed is None or tracker(notification) is not None:
            return
        remaining = completed + timedelta(seconds=seconds) - datetime.now(UTC)
        self._arm(notification, max(remaining.total_seconds(), 0.0))

    def forget(self, uid: str) -> None:
        """The object is gone or not finished any more."""
        self._due.pop(uid, None)
        if timer := self._timers.pop(uid, None):
            timer.cancel()

    def resume(self) -> None:
        """Delete what fell due while another process led."""
        due, self._due = self._due, {}
        for notification in due.values():
            self._arm(notification, 0.0)

    def close(self) -> None:
        """Delete nothing more."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _arm(self, notification: Notification, delay: float) -> None:
        def start() -> None:
            task = asyncio.create_task(self._delete(notification))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop = asyncio.get_running_loop()
        self._timers[notification.metadata.uid] = loop.call_later(delay, start)

    async def _delete(self, notification: Notification) -> None:
        metadata = notification.metadata
        ref = ObjectRef.of(NOTIFICATIONS, metadata)
        self._timers.pop(metadata.uid, None)
        if not self._leading():
            self._due[metadata.uid] = notification
            return
        try:
            await self._cluster.delete(
                ref,
                uid=metadata.uid,
                resource_version=metadata.resource_version,
            )
        except (NotFoundError, ConflictError):
            # Gone, or changed since: its newer version is scheduled when it is seen.
            return
        except KubernetesError as error:
            logger.warning(
                "could not delete a finished Notification: %s", error, extra=ref.log_fields
            )
            self._arm(notification, RETRY_SECONDS)
            return
        except Exception as error:
            self._background.report(f"deletion of {notification.key}", error)
            self._arm(notification, RETRY_SECONDS)
            return
        logger.info("deleted: its ttlSecondsAfterFinished is over", extra=ref.log_fields)
