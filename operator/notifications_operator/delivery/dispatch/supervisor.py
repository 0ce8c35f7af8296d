"""All NotificationProcessors: which exist, which may be used, and what their status says."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from ...api.conditions import Condition, ConditionType, condition, find_condition, merge_conditions
from ...api.errors import ConflictError, KubernetesError, NotFoundError, RejectedError
from ...api.processor import (
    NotificationProcessor,
    NotificationProcessorStatus,
    ProcessorReason,
)
from ...api.references import PROCESSORS, ObjectRef
from ...api.resource import ObjectMeta
from ...processors.base import Environment
from ...processors.registry import ProcessorRegistry
from ...telemetry.background import BackgroundTasks, end_tasks
from ...telemetry.redaction import redact
from ..ledger.rows import Policy
from ..ports import Cluster, Recorder
from .channel import DEFAULT_POLICY, Channel
from .health.readiness import Readiness

logger = logging.getLogger(__name__)

LONGEST_ABSENCE = 24 * 3600.0
"""Seconds after which it is forgotten that a processor was deleted; nothing waits longer for it."""

SUCCESS_INTERVAL = 60.0
"""``lastSuccessTime`` is written at most once in this many seconds."""

WRITE_RETRY = 5.0
"""Seconds before a status that could not be written is tried again."""


@dataclass(frozen=True, kw_only=True)
class _Absence:
    """A processor that was deleted: since when, which one, and what is older than its deletion."""

    since: float
    uid: str
    version: int


class Supervisor:
    """Keeps a `Channel` running for every processor of the operator's namespace.

    What it runs in the background, and what sends through it, `background` watches over.
    """

    def __init__(
        self,
        *,
        namespace: str,
        registry: ProcessorRegistry,
        cluster: Cluster,
        recorder: Recorder,
        environment: Environment,
        verify_interval: float,
        epoch: Callable[[], int | None],
        background: BackgroundTasks | None = None,
        pending: Callable[[str], Iterable[tuple[str, Iterable[str]]]] = lambda _: (),
    ) -> None:
        self._epoch = epoch
        self._pending = pending
        self.background = background or BackgroundTasks()
        self._namespace = namespace
        self._registry = registry
        self._cluster = cluster
        self._recorder = recorder
        self._environment = environment
        self._verify_interval = verify_interval
        self._channels: dict[str, Channel] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._absent: dict[str, _Absence] = {}
        self._listeners: list[Callable[[], None]] = []
        self._started = time.monotonic()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Be called whenever a processor comes, goes or changes its readiness."""
        self._listeners.append(listener)

    @property
    def channels(self) -> Iterable[Channel]:
        """All channels, in the order in which they decorate and are reported."""
        return sorted(
            self._channels.values(),
            key=lambda item: (item.spec.order if item.spec else 0, item.name),
        )

    def get(self, name: str) -> Channel | None:
        """Return a channel by the processor's name, if the processor exists."""
        return self._channels.get(name)

    def policy(self, name: str) -> Policy:
        """Return what a processor wants done with failures; the defaults if it is gone."""
        channel = self._channels.get(name)
        return channel.policy if channel else DEFAULT_POLICY

    def describe_missing(self, name: str) -> str:
        """Say that a processor does not exist, and which do."""
        there = ", ".join(channel.name for channel in self.channels) or "none"
        return f"no NotificationProcessor {name!r} in {self._namespace}; there: {there}"

    def missing_seconds(self, name: str) -> float:
        """Return for how long a processor has been missing, as far as this process knows."""
        absence = self._absent.get(name)
        return time.monotonic() - (absence.since if absence else self._started)

    def offer(self, resource: NotificationProcessor) -> None:
        """Take a processor that was created or changed."""
        if resource.metadata.namespace != self._namespace:
            self._refuse(resource.metadata, resource.status.conditions)
        elif not self._is_outdated(resource.metadata):
            self._channel(resource.metadata).offer(resource)

    def offer_invalid(self, metadata: ObjectMeta, problem: str) -> None:
        """Take a processor whose specification cannot be read."""
        if metadata.namespace != self._namespace:
            self._refuse(metadata, ())
        elif not self._is_outdated(metadata):
            self._channel(metadata).offer_invalid(metadata, problem)

    def withdraw(self, metadata: ObjectMeta) -> None:
        """Let go of a processor that was deleted, unless another has its name by now."""
        key = metadata.name if metadata.namespace == self._namespace else metadata.uid
        channel = self._channels.get(key)
        if channel is not None and channel.metadata.uid != metadata.uid:
            return
        for task in self._tasks.pop(key, []):
            task.cancel()
        if channel is not None:
            del self._channels[key]
            self._note_absence(channel, metadata.version)
            logger.info("processor deleted", extra={"processor": metadata.name})
            self._changed()

    def resume(self) -> None:
        """Send, and write what there is to say; until now another process did."""
        for channel in self._channels.values():
            channel.take_over()

    async def close(self) -> None:
        """Stop all processors; sends in flight must have ended."""
        tasks = [task for group in self._tasks.values() for task in group]
        await end_tasks(tasks)

    def _is_outdated(self, metadata: ObjectMeta) -> bool:
        """Return whether something newer is known of a name than this version.

        The watch keeps the order of one object's events, but not of those of an object and of
        the one that took its name.
        """
        if channel := self._channels.get(metadata.name):
            return metadata.version < channel.metadata.version
        absence = self._absent.get(metadata.name)
        if absence is None:
            return False
        return metadata.uid == absence.uid or metadata.version < absence.version

    def _note_absence(self, channel: Channel, deleted_at: int) -> None:
        now = time.monotonic()
        over = [name for name, item in self._absent.items() if now - item.since > LONGEST_ABSENCE]
        for name in over:
            del self._absent[name]
        self._absent[channel.name] = _Absence(
            since=now,
            uid=channel.metadata.uid,
            version=max(deleted_at, channel.metadata.version),
        )

    def _channel(self, metadata: ObjectMeta) -> Channel:
        channel = self._channels.get(metadata.name)
        if channel is None:
            channel = Channel(
                metadata,
                registry=self._registry,
                cluster=self._cluster,
                environment=self._environment,
                verify_interval=self._verify_interval,
                pending=partial(self._pending, metadata.name),
            )
            self._channels[metadata.name] = channel
            self._absent.pop(metadata.name, None)
            logger.info("processor found", extra={"processor": metadata.name})
            self._tasks[metadata.name] = [
                self.background.keep(f"processor {metadata.name}", channel.run),
                self.background.keep(
                    f"status of processor {metadata.name}", partial(self._report, channel)
                ),
            ]
            self._changed()
        return channel

    def _refuse(self, metadata: ObjectMeta, old: Iterable[Condition]) -> None:
        """Say once that a processor outside the operator's namespace is not used."""
        ready = find_condition(old, ConditionType.READY)
        known = ready is not None and ready.observed_generation == metadata.generation
        if known:
            for task in self._tasks.pop(metadata.uid, []):
                task.cancel()
        if known or metadata.uid in self._tasks:
            return
        message = (
            f"processors are used in namespace {self._namespace} only, where they serve the whole "
            "cluster; create it there"
        )
        readiness = Readiness(ready=False, reason=ProcessorReason.NOT_ALLOWED, message=message)
        name = f"{metadata.namespace}/{metadata.name}"
        logger.warning("processor refused: %s", message, extra={"processor": name})
        status = _status(readiness, metadata.generation, (), None, None)
        task = self.background.keep(
            f"status of processor {name}", partial(self._store, metadata, status)
        )
        self._tasks[metadata.uid] = [task]
        task.add_done_callback(lambda _: self._tasks.pop(metadata.uid, None))

    async def _report(self, channel: Channel) -> None:
        """Write the processor's status whenever it changes."""
        stored, written_under = channel.stored, self._epoch()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SUCCESS_INTERVAL):
                    await channel.updated.wait()
            channel.updated.clear()
            self._changed()
            epoch = self._epoch()
            if epoch is None:
                continue
            if epoch != written_under:
                # What another process has written meanwhile is what ours replaces.
                stored, written_under = channel.stored, epoch
            wanted = _status(
                channel.readiness,
                channel.metadata.generation,
                stored.conditions,
                channel.secret_version,
                _last_success(channel, stored),
            )
            if wanted.to_wire() == stored.to_wire():
                continue
            if await self._write(channel.metadata, wanted):
                await self._announce(channel, stored, wanted)
                stored = wanted
            else:
                await asyncio.sleep(WRITE_RETRY)
                channel.updated.set()

    async def _announce(
        self,
        channel: Channel,
        before: NotificationProcessorStatus,
        after: NotificationProcessorStatus,
    ) -> None:
        """Write an Event when a processor stops or begins to work."""
        old = find_condition(before.conditions, ConditionType.READY)
        new = find_condition(after.conditions, ConditionType.READY)
        if new is None or (
            old is not None and (old.status, old.reason) == (new.status, new.reason)
        ):
            return
        if new.reason == ProcessorReason.CONNECTING:
            return
        await self._recorder.record(
            ObjectRef.of(PROCESSORS, channel.metadata).to_wire(),
            warning=new.status != "True",
            reason=new.reason,
            action="Verify",
            note=new.message,
        )

    async def _write(self, metadata: ObjectMeta, status: NotificationProcessorStatus) -> bool:
        """Write a status over what stands there; False if it must be tried again."""
        if self._epoch() is None:
            return False
        ref = ObjectRef.of(PROCESSORS, metadata)
        try:
            while True:
                body = await self._cluster.get(ref)
                if body["metadata"]["uid"] != ref.uid:
                    return True
                try:
                    version = body["metadata"]["resourceVersion"]
                    await self._cluster.patch_status(
                        ref, status.to_wire(), resource_version=version
                    )
                except ConflictError:
                    continue
                return True
        except NotFoundError:
            return True
        except RejectedError:
            logger.exception("status of a processor was refused", extra={"processor": ref.name})
            return True
        except KubernetesError as error:
            extra = {"processor": ref.name}
            logger.warning("could not write the status of a processor: %s", error, extra=extra)
            return False

    async def _store(self, metadata: ObjectMeta, status: NotificationProcessorStatus) -> None:
        """Write a status until it is stored, or the processor is gone."""
        while True:
            if await self._write(metadata, status):
                return
            await asyncio.sleep(WRITE_RETRY)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


def _status(
    readiness: Readiness,
    generation: int,
    old: Iterable[Condition],
    secret_version: str | None,
    last_success: datetime | None,
) -> NotificationProcessorStatus:
    now = datetime.now(UTC).replace(microsecond=0)
    ready = condition(
        ConditionType.READY,
        readiness.ready,
        readiness.reason,
        redact(readiness.message),
        generation=generation,
        now=now,
    )
    return NotificationProcessorStatus(
        observed_generation=generation,
        observed_secret_version=secret_version,
        last_success_time=last_success,
        conditions=merge_conditions(list(old), [ready]),
    )


def _last_success(channel: Channel, stored: NotificationProcessorStatus) -> datetime | None:
    before = stored.last_success_time
    if channel.last_success is None:
        return before
    now = datetime.fromtimestamp(int(channel.last_success), UTC)
    if before is not None and (now - before).total_seconds() < SUCCESS_INTERVAL:
        return before
    return now
