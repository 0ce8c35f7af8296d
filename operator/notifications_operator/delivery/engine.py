"""The engine: takes Notifications and processors, and keeps a runner for each unfinished one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from ..api.messages import describe_validation_error
from ..api.notification import Notification
from ..api.processor import NotificationProcessor
from ..api.references import NOTIFICATIONS, ObjectRef
from ..api.resource import ObjectMeta
from ..catalog import Directory
from ..processors.base import Environment, GatewayAddress
from ..processors.preferences import PreferenceSource
from ..processors.registry import ProcessorRegistry
from ..settings import Settings
from ..telemetry import metrics
from ..telemetry.background import BackgroundTasks, end_tasks
from .dispatch.supervisor import Supervisor
from .planning.limits import RecipientLimits
from .planning.openings import stored_openings
from .planning.planner import Planner
from .ports import Cluster, Leadership, Recorder
from .runners.runner import Runner, Services
from .storage.left_alone import LeftAlone
from .storage.newer_format import (
    delivered_is_unknown,
    is_over,
    unknown_in_status,
    unreadable_status,
)
from .storage.rejections import Rejections
from .ttl import Reaper

logger = logging.getLogger(__name__)

RESTART_DELAY = 10.0
"""Seconds before a Notification whose runner failed is taken up again."""


class Engine:
    """All deliveries of this process; its only memory is the API server."""

    def __init__(
        self,
        *,
        settings: Settings,
        cluster: Cluster,
        recorder: Recorder,
        registry: ProcessorRegistry,
        holder: str,
        leadership: Leadership,
        preferences: PreferenceSource | None = None,
        background: BackgroundTasks | None = None,
    ) -> None:
        self._background = background = background or BackgroundTasks()
        self._settings = settings
        self._cluster = cluster
        self._limits = RecipientLimits(settings.limits)
        self._leadership = leadership
        self._left_alone = LeftAlone(cluster, recorder, leading=self._leads)
        self._reaper = Reaper(cluster, leading=self._leads, background=background)
        self._runners: dict[str, Runner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._written: dict[str, int] = {}
        self._rejections = Rejections(cluster, recorder, leading=self._leads, background=background)
        self._directory: Directory | None = None
        self._draining = False
        self._definitions_fit = False
        self.supervisor = Supervisor(
            namespace=settings.namespace,
            registry=registry,
            cluster=cluster,
            recorder=recorder,
            environment=Environment(
                app_base_url=settings.app_base_url,
                cluster_name=settings.cluster_name,
                sendmail_paths=tuple(settings.sendmail_paths),
                gateway=GatewayAddress.of(settings.gateway),
            ),
            verify_interval=settings.delivery.verify_interval,
            epoch=lambda: leadership.epoch,
            pending=self._pending,
            background=background,
        )
        self.supervisor.subscribe(self._poke_all)
        planner = Planner(
            settings=settings,
            supervisor=self.supervisor,
            limits=self._limits,
            asks_preferences=preferences is not None,
        )
        self._services = Services(
            cluster=cluster,
            recorder=recorder,
            supervisor=self.supervisor,
            planner=planner,
            holder=holder,
            epoch=lambda: leadership.epoch,
            open_wait=settings.delivery.open_wait,
            directory=lambda: self._directory,
            accepting=lambda: self._definitions_fit and not self._draining,
            draining=lambda: self._draining,
            left_alone=self._left_alone,
            preferences=preferences,
        )

    def offer(self, body: dict[str, Any]) -> None:
        """Take a Notification as the API server has it."""
        metadata = ObjectMeta.model_validate(body["metadata"])
        if metadata.deletion_timestamp is not None:
            self.withdraw(metadata.uid)
            return
        if unknown := unknown_in_status(body.get("status") or {}):
            self._leave_alone(metadata, body, unknown)
            return
        try:
            notification = Notification.model_validate(body)
        except ValidationError as error:
            self._refuse(metadata, body, error)
            return
        self._rejections.forget(metadata.uid)
        if metadata.version < self._written.get(metadata.uid, 0):
            # The watch lags behind: what this version says may be done already.
            return
        if runner := self._runners.get(metadata.uid):
            runner.offer(notification, body.get("status") or {})
            return
        self._left_alone.forget(metadata.uid)
        if notification.finished:
            self._settle(notification)
        elif not self._draining:
            self._start(notification, body.get("status") or {})

    def withdraw(self, uid: str) -> None:
        """A Notification is deleted, or about to be: what is not yet sent is cancelled."""
        self._reaper.forget(uid)
        self._written.pop(uid, None)
        self._rejections.forget(uid)
        self._left_alone.forget(uid)
        if runner := self._runners.get(uid):
            logger.info("cancelled: it is deleted", extra=runner.ref.log_fields)
            runner.cancel()

    def offer_processor(self, body: dict[str, Any]) -> None:
        """Take a NotificationProcessor as the API server has it."""
        metadata = ObjectMeta.model_validate(body["metadata"])
        try:
            resource = NotificationProcessor.model_validate(body)
        except ValidationError as error:
            self.supervisor.offer_invalid(metadata, describe_validation_error(error))
            return
        self.supervisor.offer(resource)

    def withdraw_processor(self, body: dict[str, Any]) -> None:
        """A NotificationProcessor is deleted."""
        self.supervisor.withdraw(ObjectMeta.model_validate(body["metadata"]))

    def use_directory(self, directory: Directory) -> None:
        """Resolve against another directory from now on."""
        self._directory = directory
        self._poke_all()

    def use_definitions(self, *, fit: bool) -> None:
        """Say whether the installed definitions keep all that is written; claims need that."""
        if fit != self._definitions_fit:
            self._definitions_fit = fit
            self._poke_all()

    def lead(self) -> None:
        """Take up or lay down the work, as the leadership says that it came or went.

        Until then everything was watched, and nothing decided or written.
        """
        if self._leads():
            for runner in self._runners.values():
                self._note_recipients(runner.notification, standby=True)
            for body in self._rejections.bodies:
                self.offer(body)
            self._left_alone.resume()
            self._reaper.resume()
            self.supervisor.resume()
        self._poke_all()

    @property
    def synced(self) -> bool:
        """Whether the catalog was read, so that Notifications are being worked on."""
        return self._directory is not None

    @property
    def remarks(self) -> Mapping[str, str]:
        """Remarks that the readiness probe shows although it passes, by their names."""
        remark = self._left_alone.remark if self._leads() else None
        return {"newer-format": remark} if remark else {}

    def measure(self) -> None:
        """Bring the gauges up to date."""
        created = [
            moment
            for runner in self._runners.values()
            if (moment := runner.notification.metadata.creation_timestamp)
            and not runner.notification.spec.suspend
        ]
        metrics.LEADER.set(self._leads())
        metrics.UNFINISHED.set(len(self._runners))
        metrics.NEWER_FORMAT.set(len(self._left_alone) if self._leads() else 0)
        age = (datetime.now(UTC) - min(created)).total_seconds() if created else 0.0
        metrics.OLDEST.set(age)
        metrics.measure_processors(
            {channel.name: channel.measure() for channel in self.supervisor.channels}
        )

    async def drain(self) -> None:
        """Make no new claims, let sends in flight finish, record them, and stop."""
        self._draining = True
        self._reaper.close()
        await self._left_alone.close()
        self._rejections.close()
        self._poke_all()
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._settings.delivery.shutdown_grace)
            for task in late:
                logger.warning("a delivery did not finish in time: %s", task.get_name())
            await end_tasks(late)
        await self.supervisor.close()

    def _start(self, notification: Notification, status: dict[str, Any]) -> None:
        uid = notification.metadata.uid
        self._reaper.forget(uid)
        self._note_recipients(notification)
        runner = Runner(notification, status, self._services)
        self._runners[uid] = runner
        task = asyncio.create_task(runner.run(), name=notification.key)
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._ended(uid, runner, done))

    def _ended(self, uid: str, runner: Runner, task: asyncio.Task[None]) -> None:
        del self._runners[uid], self._tasks[uid]
        if task.cancelled():
            return
        if error := task.exception():
            self._background.report(
                f"Notification {task.get_name()}", error, extra=runner.ref.log_fields
            )
        if runner.deleted:
            self._written.pop(uid, None)
            return
        self._written[uid] = runner.notification.metadata.version
        if error is not None:
            # Its ledger is in the cluster: begin again from there, but not at once.
            retry = asyncio.get_running_loop().call_later
            retry(RESTART_DELAY, self._restart, runner.notification)
        elif runner.unseen is not None and not self._draining:
            self._start(*runner.unseen)
        elif runner.notification.finished:
            self._settle(runner.notification)

    def _restart(self, notification: Notification) -> None:
        if notification.metadata.uid not in self._runners and not self._draining:
            self._start(notification, notification.status.to_wire())

    def _settle(self, notification: Notification) -> None:
        """Note what a finished Notification still matters for: limits and its TTL."""
        self._note_recipients(notification)
        self._reaper.schedule(notification)
        if delivered_is_unknown(notification):
            self._left_alone.repair(ObjectRef.of(NOTIFICATIONS, notification.metadata))

    def _note_recipients(self, notification: Notification, *, standby: bool = False) -> None:
        """Note what counts for the limits; ``standby``: another process has led until now."""
        metadata = notification.metadata
        openings = stored_openings(notification.status)
        replace = standby or not self._leads()
        self._limits.restore(metadata.namespace, metadata.uid, openings, replace=replace)

    def _refuse(self, metadata: ObjectMeta, body: dict[str, Any], error: ValidationError) -> None:
        """Deal with a Notification that cannot be read.

        Such a specification can be stored only where the installed definition is laxer than this
        release; such a status only by a newer release, whose ledger must be left as it is.
        """
        problem = describe_validation_error(error)
        if unreadable := unreadable_status(body.get("status") or {}):
            self._leave_alone(metadata, body, unreadable)
        elif metadata.uid not in self._runners:
            self._rejections.add(metadata, body, problem)

    def _leave_alone(self, metadata: ObjectMeta, body: dict[str, Any], problem: str) -> None:
        """Leave a Notification alone whose ledger this release does not know.

        A finished one is not touched at all: nothing is to be sent, and its TTL is for those who
        can read it.
        """
        uid = metadata.uid
        over = is_over(metadata, body["status"])
        if runner := self._runners.get(uid):
            is_newest = runner.offer_unreadable(metadata, problem, over=over)
        else:
            is_newest = metadata.version >= self._written.get(uid, 0)
        if not is_newest:
            return
        self._reaper.forget(uid)
        self._rejections.forget(uid)
        if over:
            self._left_alone.forget(uid)
        else:
            self._left_alone.note_version(body, problem)

    def _pending(self, processor: str) -> Iterator[tuple[str, Iterator[str]]]:
        """Return the Notifications under way, and whom a processor has still to send each to."""
        for uid, runner in self._runners.items():
            yield uid, runner.unsent(processor)

    def _leads(self) -> bool:
        return self._leadership.epoch is not None

    def _poke_all(self) -> None:
        for runner in self._runners.values():
            runner.poke()
