"""A whole engine against a cluster in memory, with processors that follow a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from notifications_operator.api.notification import Notification
from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS, SLICES
from notifications_operator.api.slice import (
    NOTIFICATION_UID_LABEL,
    NotificationDeliverySlice,
)
from notifications_operator.catalog import Directory
from notifications_operator.delivery.engine import Engine
from notifications_operator.delivery.ledger.rows import Row
from notifications_operator.delivery.storage.slices.codec import decode
from notifications_operator.processors.preferences import PreferenceSource
from notifications_operator.processors.registry import ProcessorRegistry
from notifications_operator.settings import Settings
from notifications_operator.telemetry import metrics
from tests.support.cluster import MemoryCluster, stored_patches
from tests.unit.delivery.builders import CATALOG, directory, manifest
from tests.unit.delivery.scripted import Script, scripted

NAMESPACE = "operator"
TIMEOUT = 10.0
"""Seconds after which a test gives up waiting; nothing here takes as long."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """An Event that was written."""

    name: str
    kind: str
    warning: bool
    reason: str
    note: str


@dataclass
class MemoryRecorder:
    """Keeps Events."""

    events: list[Event] = field(default_factory=list)

    async def record(
        self, regarding: Mapping[str, Any], *, warning: bool, reason: str, action: str, note: str
    ) -> None:
        """Keep one Event."""
        assert action
        await asyncio.sleep(0)
        self.events.append(
            Event(
                name=regarding["name"],
                kind=regarding["kind"],
                warning=warning,
                reason=reason,
                note=note,
            )
        )


@dataclass
class Tenure:
    """Says whether the process leads, as the Lease would."""

    epoch: int | None = 1


class World:
    """One cluster and one process of the operator; tests act as its users."""

    def __init__(self, cluster: MemoryCluster, scripts: Mapping[str, Script]) -> None:
        self.cluster = cluster
        self.scripts = scripts
        self.recorder = MemoryRecorder()
        self.tenure = Tenure()
        self.preferences: PreferenceSource | None = None
        self.engine: Engine
        self._gates: list[asyncio.Event] = []
        self._tasks_before = asyncio.all_tasks()
        cluster.watch(self._deliver)

    def run_process(self, *, holder: str = "pod_1", **settings: Any) -> Engine:
        """Start a process of the operator: the one that the watch delivers to."""
        types = {f"example.com/{name}": scripted(script) for name, script in self.scripts.items()}
        self.engine = Engine(
            settings=Settings(namespace=NAMESPACE, **settings),
            cluster=self.cluster,
            recorder=self.recorder,
            registry=ProcessorRegistry(types),
            holder=holder,
            leadership=self.tenure,
            preferences=self.preferences,
        )
        for body in self.cluster.list(PROCESSORS):
            self.engine.offer_processor(body)
        for body in self.cluster.list(NOTIFICATIONS):
            self.engine.offer(body)
        return self.engine

    def processor(self, name: str = "email", **spec: Any) -> None:
        """Create a NotificationProcessor that follows the script of the same name."""
        kind = spec.pop("type", f"example.com/{name}")
        retry = {"minDelay": "100ms", "maxDelay": "100ms"}
        self.cluster.create(
            PROCESSORS,
            {
                "kind": "NotificationProcessor",
                "metadata": {"namespace": NAMESPACE, "name": name},
                "spec": {"type": kind, "retry": retry, **spec},
            },
        )

    def notify(self, name: str = "n", **options: Any) -> str:
        """Create a Notification and return its name."""
        self.cluster.create(NOTIFICATIONS, manifest(name, **options))
        return name

    def edit(self, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change a Notification in place, as a user does."""

        def apply(body: dict[str, Any]) -> None:
            change(body)

        self.cluster.edit(NOTIFICATIONS, "team", name, apply)

    def retitle(self, name: str, title: str) -> None:
        """Change what a Notification says."""
        self.edit(name, lambda body: body["spec"]["payload"].update(title=title))

    def redirect(self, name: str, to: list[str]) -> None:
        """Change whom a Notification is for."""
        recipients = {"type": "entity", "entityRefs": to}
        self.edit(name, lambda body: body["spec"].update(recipients=recipients))

    def annotate(self, name: str, key: str, value: str) -> None:
        """Annotate a Notification."""
        self.edit(name, lambda body: body["metadata"]["annotations"].update({key: value}))

    def remove(self, name: str) -> None:
        """Delete a Notification."""
        self.cluster.remove(NOTIFICATIONS, "team", name)

    def get(self, name: str = "n") -> Notification:
        """Return a Notification as it is stored."""
        return Notification.model_validate(self.cluster.read(NOTIFICATIONS, "team", name))

    def rows(self, name: str = "n") -> dict[str, Row]:
        """Return the rows of a Notification with one processor, by recipient."""
        found = self.get(name)
        stored = found.status.ledger
        if stored is None or stored.slices is None:
            return {item.recipient: Row.of(item) for item in found.status.deliveries}
        slices = [NotificationDeliverySlice.model_validate(item) for item in self.slices(name)]
        return {
            row.recipient: row
            for item in slices
            if item.index < stored.slices
            for row in decode(item)
        }

    def slices(self, name: str = "n") -> list[dict[str, Any]]:
        """Return the slices of a Notification, in their order."""
        uid = self.get(name).metadata.uid
        found = [
            body
            for body in self.cluster.list(SLICES)
            if body["metadata"]["labels"][NOTIFICATION_UID_LABEL] == uid
        ]
        return sorted(found, key=lambda body: int(body["index"]))

    def patches(self, name: str = "n") -> list[dict[str, Any]]:
        """Return the status patches of a Notification that were stored."""
        return stored_patches(self.cluster.patches, name)

    def events(self, name: str = "n") -> list[Event]:
        """Return the Events of a Notification."""
        return [
            event
            for event in self.recorder.events
            if (event.kind, event.name) == ("Notification", name)
        ]

    async def until(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        """Wait until something holds.

        Every change and request is a cause to look, and so is a moment without any.
        """
        sources = [self.cluster.changed, *(script.changed for script in self.scripts.values())]
        try:
            async with asyncio.timeout(TIMEOUT):
                while not condition():
                    for source in sources:
                        source.clear()
                    waits = [asyncio.ensure_future(source.wait()) for source in sources]
                    try:
                        await asyncio.wait(waits, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for wait in waits:
                            wait.cancel()
        except TimeoutError:
            statuses = [body.get("status") for body in self.cluster.list(NOTIFICATIONS)]
            raise AssertionError(f"{what} did not come true: {statuses}") from None

    async def finished(self, name: str = "n") -> Notification:
        """Wait until a Notification is finished in the cluster."""
        await self.until(lambda: self.get(name).finished, f"{name} finished")
        return self.get(name)

    async def state(self, state: str, name: str = "n") -> Notification:
        """Wait until a Notification is in a state."""
        await self.until(lambda: self.get(name).status.state == state, f"{name} {state}")
        return self.get(name)

    async def started(self, amount: int = 1, script: str = "email") -> None:
        """Wait until so many deliveries were begun."""
        await self.until(lambda: len(self.scripts[script].started) >= amount, f"{amount} begun")

    @property
    def busy(self) -> bool:
        """Whether any Notification is being worked on."""
        self.engine.measure()
        return bool(metrics.UNFINISHED._value.get() > 0)

    def new_gate(self) -> asyncio.Event:
        """Return an event that is set at the latest when the world ends."""
        gate = asyncio.Event()
        self._gates.append(gate)
        return gate

    async def settle(self) -> None:
        """Let everything run that can run now."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def kill(self) -> None:
        """End the process without warning; whatever it tries meanwhile fails.

        The watch delivers nothing more to it: a dead process begins nothing.
        """
        self.cluster.reachable = False
        del self.engine
        while own := asyncio.all_tasks() - self._tasks_before:
            for task in own:
                task.cancel()
            # Again and again: a dead process forgets no cancellation, as a task may.
            await asyncio.wait(own, timeout=0.01)
        for script in self.scripts.values():
            script.gate = None
            script.sent.clear()
            script.started.clear()
        self.cluster.reachable = True

    def restart(self, *, holder: str, catalog: Directory | None = None) -> None:
        """Start another process that is ready to deliver."""
        self.run_process(holder=holder)
        self.engine.use_definitions(fit=True)
        self.engine.use_directory(directory(CATALOG) if catalog is None else catalog)

    async def close(self) -> None:
        """Let everything go on, and stop."""
        for gate in self._gates:
            gate.set()
        self.cluster.reachable = True
        await self.engine.drain()

    def _deliver(self, kind: str, body: dict[str, Any]) -> None:
        if not hasattr(self, "engine"):
            return
        match body["kind"], kind:
            case "Notification", "DELETED":
                self.engine.withdraw(body["metadata"]["uid"])
            case "Notification", _:
                self.engine.offer(body)
            case _, "DELETED":
                self.engine.withdraw_processor(body)
            case _:
                self.engine.offer_processor(body)


@asynccontextmanager
async def world(
    *,
    scripts: Mapping[str, Script] | None = None,
    catalog: Directory | None = None,
    cluster: MemoryCluster | None = None,
    processors: Sequence[str] = ("email",),
    fit: bool = True,
    preferences: PreferenceSource | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """Run an engine with processors that are ready, and stop it in the end."""
    made = World(cluster or MemoryCluster(), scripts or {"email": Script()})
    made.preferences = preferences
    for name in processors:
        made.processor(name)
    options = {"delivery": {"shutdown_grace": 5}, **settings}
    made.run_process(**options)
    made.engine.use_definitions(fit=fit)
    made.engine.use_directory(directory(CATALOG) if catalog is None else catalog)
    try:
        await made.until(
            lambda: all(
                channel.readiness.ready or made.scripts[channel.name].verified
                for channel in made.engine.supervisor.channels
            ),
            "processors tried",
        )
        yield made
    finally:
        await made.close()
