"""Notifications that are left alone, because a newer release wrote their ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ...api.errors import ConflictError, KubernetesError, NotFoundError, UnavailableError
from ...api.references import NOTIFICATIONS, ObjectRef
from ...api.resource import ObjectMeta
from ..ports import Cluster, Recorder
from .newer_format import (
    NEWER_FORMAT,
    explain,
    is_over,
    left_alone_conditions,
    repaired_conditions,
    says_newer_format,
    unreadable_status,
)

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""Seconds before a condition that could not be written is tried again."""

NAMED = 3
"""Most Notifications that the readiness probe names."""


@dataclass(kw_only=True)
class _Entry:
    """One Notification.

    Attributes
    ----------
    problem
        Why it is left alone; ``None`` if only its condition is to be put right.
    in_slice
        Whether the problem is one of a slice, so that the status itself can be read.
    announced
        Whether its Event was written though its condition could not be.
    """

    ref: ObjectRef
    problem: str | None
    in_slice: bool = False
    announced: bool = False


class LeftAlone:
    """Says of each Notification, once and in its condition, that it is left alone.

    What is kept is a reference and a reason each. Only the leader writes, one object at a time: a
    roll-back can make all pending Notifications of a cluster unreadable at once.
    """

    def __init__(
        self, cluster: Cluster, recorder: Recorder, *, leading: Callable[[], bool]
    ) -> None:
        self._cluster = cluster
        self._recorder = recorder
        self._leading = leading
        self._entries: dict[str, _Entry] = {}
        self._untold: dict[str, None] = {}
        self._worker: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._closed = False

    def __len__(self) -> int:
        return sum(entry.problem is not None for entry in self._entries.values())

    @property
    def remark(self) -> str | None:
        """Remark for the readiness probe, or ``None`` if nothing is left alone."""
        amount = len(self)
        if not amount:
            return None
        found = (entry for entry in self._entries.values() if entry.problem is not None)
        named = [
            f"{entry.ref.namespace}/{entry.ref.name} ({entry.problem})"
            for entry in islice(found, NAMED)
        ]
        more = [f"and {amount - len(named)} more"] if amount > len(named) else []
        return (
            f"{amount} unfinished Notifications are left alone, written by a newer release: "
            f"{'; '.join([*named, *more])}"
        )

    def note_version(self, body: Mapping[str, Any], problem: str) -> None:
        """Leave a Notification alone because of the status that the watch brought.

        Nothing is written, or read, if that says so already.
        """
        metadata = ObjectMeta.model_validate(body["metadata"])
        ref = ObjectRef.of(NOTIFICATIONS, metadata)
        self._keep(_Entry(ref=ref, problem=problem))
        status = body.get("status") or {}
        if left_alone_conditions(status, problem, metadata.generation, datetime.now(UTC)):
            self._tell(ref.uid)

    def note(self, ref: ObjectRef, problem: str, *, in_slice: bool = False) -> None:
        """Leave a Notification alone because of what was read of its status or of a slice."""
        if self._keep(_Entry(ref=ref, problem=problem, in_slice=in_slice)):
            self._tell(ref.uid)

    def repair(self, ref: ObjectRef) -> None:
        """Put right the condition of a finished Notification that can be read again."""
        self._entries[ref.uid] = _Entry(ref=ref, problem=None)
        self._tell(ref.uid)

    def forget(self, uid: str) -> None:
        """Forget a Notification that can be read again, or is gone."""
        self._untold.pop(uid, None)
        if (entry := self._entries.pop(uid, None)) is not None and entry.problem is not None:
            logger.info("not left alone any more", extra=entry.ref.log_fields)

    def resume(self) -> None:
        """Tell of all that were met while another process led."""
        for uid in self._entries:
            self._tell(uid)

    async def close(self) -> None:
        """Write nothing more."""
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def _keep(self, entry: _Entry) -> bool:
        """Take an entry; False if the same is there already."""
        before = self._entries.get(entry.ref.uid)
        if before is not None and before.problem == entry.problem:
            return False
        logger.error("left alone: %s", entry.problem, extra=entry.ref.log_fields)
        self._entries[entry.ref.uid] = entry
        return True

    def _tell(self, uid: str) -> None:
        if self._closed or not self._leading():
            return
        self._untold[uid] = None
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="left alone")

    def _tell_later(self, uid: str) -> None:
        def again() -> None:
            self._timers.discard(timer)
            if uid in self._entries:
                self._tell(uid)

        timer = asyncio.get_running_loop().call_later(RETRY_SECONDS, again)
        self._timers.add(timer)

    async def _work(self) -> None:
        while self._untold:
            uid = next(iter(self._untold))
            del self._untold[uid]
            entry = self._entries.get(uid)
            if entry is None or not self._leading():
                continue
            try:
                await self._write(entry)
            except NotFoundError:
                self._entries.pop(uid, None)
            except ConflictError:
                self._untold[uid] = None
            except KubernetesError as error:
                logger.warning(
                    "could not say that it is left alone: %s", error, extra=entry.ref.log_fields
                )
                if not isinstance(error, UnavailableError):
                    await self._announce_refused(entry)
                self._tell_later(uid)
            except Exception:
                logger.exception("could not say that it is left alone", extra=entry.ref.log_fields)
                self._tell_later(uid)

    async def _write(self, entry: _Entry) -> None:
        """Write the conditions that an object should have, unless it has them."""
        body = await self._cluster.get(entry.ref)
        metadata = ObjectMeta.model_validate(body["metadata"])
        status = body.get("status") or {}
        if metadata.uid != entry.ref.uid or metadata.deletion_timestamp is not None:
            self._entries.pop(entry.ref.uid, None)
            return
        wanted = self._wanted(entry, metadata, status)
        if wanted is None:
            return
        await self._cluster.patch_status(
            entry.ref, {"conditions": wanted}, resource_version=metadata.resource_version
        )
        if entry.problem is not None and not (entry.announced or says_newer_format(status)):
            await self._announce(entry)

    def _wanted(
        self, entry: _Entry, metadata: ObjectMeta, status: Mapping[str, Any]
    ) -> list[dict[str, Any]] | None:
        """Return the conditions to write, if any; one that is only to be repaired is dropped."""
        now = datetime.now(UTC)
        problem = unreadable_status(status)
        over = is_over(metadata, status)
        if entry.problem is None:
            del self._entries[entry.ref.uid]
            wrong = over and problem is None
            return repaired_conditions(status, metadata.generation, now) if wrong else None
        if entry.in_slice:
            problem = problem or entry.problem
        if problem is None or over:
            # It has changed since, and the watch will say so.
            return None
        return left_alone_conditions(status, problem, metadata.generation, now)

    async def _announce_refused(self, entry: _Entry) -> None:
        """Tell by an Event alone, once, where the condition is refused for good."""
        if entry.problem is not None and not entry.announced:
            entry.announced = True
            await self._announce(entry)

    async def _announce(self, entry: _Entry) -> None:
        assert entry.problem is not None
        await self._recorder.record(
            entry.ref.to_wire(),
            warning=True,
            reason=NEWER_FORMAT,
            action="Read",
            note=explain(entry.problem),
        )
