"""Plans a Notification step by step, with real channels and the status stored in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from notifications_operator.api.notification import (
    Delivery,
    DeliveryState,
    Notification,
    NotificationStatus,
)
from notifications_operator.api.processor import NotificationProcessor
from notifications_operator.api.references import PROCESSORS
from notifications_operator.catalog import Directory
from notifications_operator.delivery.dispatch.supervisor import Supervisor
from notifications_operator.delivery.ledger.ledger import Ledger
from notifications_operator.delivery.planning.limits import RecipientLimits
from notifications_operator.delivery.planning.optouts import Answer, PreferencesNeeded
from notifications_operator.delivery.planning.planner import Planner
from notifications_operator.processors.base import Environment
from notifications_operator.processors.preferences import Question
from notifications_operator.processors.registry import ProcessorRegistry
from notifications_operator.settings import Settings
from tests.support.cluster import MemoryCluster
from tests.unit.delivery.builders import CATALOG, NOW, directory, manifest
from tests.unit.delivery.harness import NAMESPACE, MemoryRecorder
from tests.unit.delivery.scripted import Script, scripted


@dataclass
class Desk:
    """One Notification at the planner's: edited, planned and stored again and again."""

    cluster: MemoryCluster
    supervisor: Supervisor
    planner: Planner
    limits: RecipientLimits
    directory: Directory
    scripts: Mapping[str, Script]
    now: datetime = NOW
    body: dict[str, Any] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    answer: Answer | None = None
    """What is answered when it must be known what users want."""
    questions: list[Question] = field(default_factory=list)

    async def offer_processor(self, name: str = "email", **spec: Any) -> None:
        """Create a processor and wait until it was made, or could not be."""
        body = self.cluster.create(
            PROCESSORS,
            {
                "kind": "NotificationProcessor",
                "metadata": {"namespace": NAMESPACE, "name": name},
                "spec": {"type": f"example.com/{name}", **spec},
            },
        )
        resource = NotificationProcessor.model_validate(body)
        self.supervisor.offer(resource)
        channel = self.supervisor.get(name)
        assert channel is not None
        await channel.updated.wait()

    def withdraw_processor(self, name: str = "email") -> None:
        """Delete a processor."""
        body = self.cluster.read(PROCESSORS, NAMESPACE, name)
        self.cluster.remove(PROCESSORS, NAMESPACE, name)
        self.supervisor.withdraw(NotificationProcessor.model_validate(body).metadata)

    def write(self, **options: Any) -> None:
        """Write the Notification anew, or edit it."""
        fresh = manifest(**options)
        if not self.body:
            self.body = fresh
            self.body["metadata"] |= {"uid": "uid-n", "generation": 1, "resourceVersion": "1"}
            self.body["status"] = {"observedGeneration": -1, "state": "Pending"}
            return
        if fresh["spec"] != self.body["spec"]:
            self.body["metadata"]["generation"] += 1
        self.body["spec"] = fresh["spec"]
        self.body["metadata"]["annotations"] = fresh["metadata"]["annotations"]

    def plan(self) -> Ledger:
        """Plan and store, as a runner does; return the ledger."""
        try:
            ledger = self._plan(None)
        except PreferencesNeeded as needed:
            self.questions.append(needed.question)
            assert self.answer is not None
            ledger = self._plan(self.answer)
        self.store(ledger)
        return ledger

    def _plan(self, answer: Answer | None) -> Ledger:
        notification = self.notification
        ledger = Ledger.load(notification.status)
        if notification.restarts:
            ledger.start_time = None
        self.planner.plan(notification, ledger, self.directory, self.now, answer=answer)
        return ledger

    def store(self, ledger: Ledger) -> None:
        """Store a ledger in the status."""
        notification = self.notification
        status = ledger.dump(
            generation=notification.metadata.generation,
            suspended=notification.spec.suspend,
            note=None,
            now=self.now,
        )
        self.ledger = ledger
        self.body["status"] = status.to_wire()

    def set_rows(self, **states: str) -> None:
        """Put rows into states, by the name of their user."""
        ledger = Ledger.load(self.status)
        for (processor, recipient), row in list(ledger.rows.items()):
            if (state := states.get(recipient.rpartition("/")[2])) is not None:
                ledger.rows[processor, recipient] = replace(row, state=DeliveryState(state))
        self.store(ledger)

    @property
    def notification(self) -> Notification:
        """The Notification as it is stored."""
        return Notification.model_validate(self.body)

    @property
    def deadline(self) -> datetime | None:
        """When planning again could matter, as it is stored."""
        return self.planner.deadlines.next_deadline(self.notification, Ledger.load(self.status))

    @property
    def status(self) -> NotificationStatus:
        """Its status."""
        return self.notification.status

    @property
    def rows(self) -> list[Delivery]:
        """Its rows, as they are stored."""
        return self.status.deliveries

    @property
    def table(self) -> list[tuple[str, str, str]]:
        """Processor, user and state of every row, in their order."""
        return [
            (row.processor, row.recipient.removeprefix("user:default/"), str(row.state))
            for row in self.rows
        ]

    @property
    def brief(self) -> dict[str, str]:
        """State of every row by user, where there is one processor."""
        return {user: state for _, user, state in self.table}


@asynccontextmanager
async def desk(
    *processors: str,
    catalog: Directory | None = None,
    scripts: Mapping[str, Script] | None = None,
    answer: Answer | None = None,
    **settings: Any,
) -> AsyncIterator[Desk]:
    """Give a planner with some processors, which follow the scripts of the same names.

    Somebody knows what users want if there is an ``answer``.
    """
    made = Settings(namespace=NAMESPACE, **settings)
    scripts = {name: Script() for name in processors} | dict(scripts or {})
    types = {f"example.com/{name}": scripted(script) for name, script in scripts.items()}
    cluster = MemoryCluster()
    supervisor = Supervisor(
        namespace=NAMESPACE,
        registry=ProcessorRegistry(types),
        cluster=cluster,
        recorder=MemoryRecorder(),
        environment=Environment(),
        verify_interval=60,
        epoch=lambda: 1,
    )
    limits = RecipientLimits(made.limits)
    planner = Planner(
        settings=made, supervisor=supervisor, limits=limits, asks_preferences=answer is not None
    )
    place = Desk(
        cluster=cluster,
        supervisor=supervisor,
        planner=planner,
        limits=limits,
        directory=directory(CATALOG) if catalog is None else catalog,
        scripts=scripts,
        answer=answer,
    )
    try:
        for name in processors:
            await place.offer_processor(name)
        yield place
    finally:
        await supervisor.close()


def recipients(rows: Sequence[Delivery]) -> list[str]:
    """Return the recipients of rows."""
    return [row.recipient for row in rows]
