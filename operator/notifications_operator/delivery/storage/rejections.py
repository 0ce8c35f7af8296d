"""Notifications whose specification cannot be read: each is told so in its status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any

from ...api.errors import ConflictError, KubernetesError, NotFoundError
from ...api.notification import NotificationStatus
from ...api.reasons import Reason
from ...api.references import NOTIFICATIONS, ObjectRef
from ...api.resource import ObjectMeta
from ...telemetry.background import BackgroundTasks
from ..ledger.ledger import Ledger
from ..ledger.summary import Obstacle
from ..ports import Cluster, Recorder
from .announcer import Announcer

logger = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a rejection that could not be written is tried again, the first time and so on."""

EVENT_AFTER = 2
"""Failed tries after which an Event says what the status cannot."""

_FIELDS = ("observedGeneration", "state", "reason", "conditions")


class Rejections:
    """Writes rejections, and keeps what was rejected for the next time that this process leads.

    Such a specification can be stored only where the installed definition is laxer than this
    release. The ledger stays as it is.
    """

    def __init__(
        self,
        cluster: Cluster,
        recorder: Recorder,
        *,
        leading: Callable[[], bool],
        background: BackgroundTasks,
    ) -> None:
        self._cluster = cluster
        self._recorder = recorder
        self._leading = leading
        self._background = background
        self._bodies: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The newest versions of what cannot be read."""
        return list(self._bodies.values())

    def add(self, metadata: ObjectMeta, body: dict[str, Any], problem: str) -> None:
        """Reject a version of a Notification, in place of an earlier one."""
        self._bodies[metadata.uid] = body
        task = self._background.spawn(
            f"rejection of {metadata.namespace}/{metadata.name}",
            self._reject(metadata, body, problem),
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, uid: str) -> None:
        """Forget a Notification that can be read, or is gone."""
        self._bodies.pop(uid, None)

    def close(self) -> None:
        """Write nothing more."""
        for task in self._tasks:
            task.cancel()

    async def _reject(self, metadata: ObjectMeta, body: dict[str, Any], problem: str) -> None:
        """Write the rejection until it is stored, or there is nothing to reject any more."""
        ref = ObjectRef.of(NOTIFICATIONS, metadata)
        if (body.get("status") or {}).get("observedGeneration") == metadata.generation:
            return
        for tries, pause in enumerate(chain(PAUSES, repeat(PAUSES[-1])), start=1):
            if self._bodies.get(metadata.uid) is not body or not self._leading():
                return
            try:
                await self._write(ref, metadata, problem)
            except ConflictError:
                # The watch offers the newer version.
                return
            except NotFoundError:
                self.forget(metadata.uid)
                return
            except KubernetesError as error:
                logger.warning("could not reject it: %s", error, extra=ref.log_fields)
                if tries == EVENT_AFTER:
                    note = f"{problem}; its status cannot say so: {error}"
                    announcer = Announcer(self._recorder, ref)
                    await announcer.warn(Reason.INVALID_CONFIG, "Reject", note)
                await asyncio.sleep(pause)
            else:
                logger.warning("rejected: %s", problem, extra=ref.log_fields)
                return

    async def _write(self, ref: ObjectRef, metadata: ObjectMeta, problem: str) -> None:
        ledger = Ledger.load(NotificationStatus())
        ledger.verdict = Obstacle(reason=Reason.INVALID_CONFIG, message=problem)
        now = datetime.now(UTC).replace(microsecond=0)
        wanted = ledger.dump(generation=metadata.generation, suspended=False, note=None, now=now)
        wire = wanted.to_wire()
        await self._cluster.patch_status(
            ref,
            {name: wire[name] for name in _FIELDS},
            resource_version=metadata.resource_version,
        )
