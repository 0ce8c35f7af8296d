"""Watches that are refused, silent or lose events: a list makes up for all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.installation import AddProcessor, Installation
from tests.support.kubernetes import Kubernetes, complete, notification, rows
from tests.support.mail import Catcher
from tests.support.proxy import APIProxy, Expire, Refuse, WatchEvent, WatchFault

pytestmark = pytest.mark.cluster

NEVER = 3600.0
"""Seconds of a setting that shall not matter in a test."""

NOWHERE = {"transport": "smtp", "hostname": "127.0.0.1", "port": 9}
"""An SMTP server that is not there."""


class StartOperator(Protocol):
    """Starts an operator behind the proxy and waits until it is ready."""

    async def __call__(
        self, *, pod: str = "watcher", resync: float = 2, inactivity: float = NEVER
    ) -> Installation: ...


@pytest.fixture
async def proxy(installation: Installation) -> AsyncIterator[APIProxy]:
    async with APIProxy(installation.cluster.kubeconfig) as made:
        yield made


@pytest.fixture
async def start_operator(
    installation: Installation, proxy: APIProxy, tmp_path: Path
) -> AsyncIterator[StartOperator]:
    """Run operators instead of the installation's own process."""
    await asyncio.to_thread(installation.stop)
    started: list[Installation] = []

    async def start(
        *, pod: str = "watcher", resync: float = 2, inactivity: float = NEVER
    ) -> Installation:
        directory = tmp_path / pod
        directory.mkdir()
        operator = Installation(
            cluster=installation.cluster,
            directory=directory,
            namespace=installation.namespace,
            pod=pod,
            settings={
                "NOTIFICATIONS_WATCH__RESYNC_INTERVAL": str(resync),
                "NOTIFICATIONS_WATCH__INACTIVITY_TIMEOUT": str(inactivity),
                "NOTIFICATIONS_CATALOG__UNKNOWN_GRACE": "120",
                "NOTIFICATIONS_LEADER_ELECTION__LEASE_DURATION": "4",
                "NOTIFICATIONS_LEADER_ELECTION__RENEW_INTERVAL": "1",
                "NOTIFICATIONS_LEADER_ELECTION__RETRY_PERIOD": "1",
            },
        )
        started.append(operator)
        await asyncio.to_thread(operator.start, server=proxy.url)
        await asyncio.to_thread(operator.wait_ready)
        return operator

    yield start
    for operator in started:
        operator.close()
    installation.start()
    await asyncio.to_thread(installation.wait_ready)


async def until(condition: Callable[[], bool], operator: Installation, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(operator.tail())
        await asyncio.sleep(0.05)


def unfinished(operator: Installation) -> float:
    return operator.metric("notifications_unfinished")


def users(name: str, *entities: str) -> dict[str, object]:
    """Return a ConfigMap of the catalog."""
    document = "\n---\n".join(
        "apiVersion: backstage.io/v1alpha1\nkind: User\n"
        f"metadata: {{name: {entity}}}\nspec: {{profile: {{email: {entity}@example.com}}}}"
        for entity in entities
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": {"notifications.orchestrator.io/catalog": "true"},
        },
        "data": {"users.yaml": document},
    }


@pytest.mark.parametrize(
    "fault", [Refuse(410, "too old resource version"), Expire()], ids=["status", "event"]
)
async def test_watch_answered_with_410(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    proxy: APIProxy,
    start_operator: StartOperator,
    add_processor: AddProcessor,
    fault: WatchFault,
) -> None:
    """What was created meanwhile is sent, and what was deleted meanwhile is let go."""
    operator = await start_operator()
    held = await add_processor(NOWHERE, ready=False)
    before = unfinished(operator)
    for name in ("deleted", "orphan"):
        await kubernetes.create(
            notification(name, namespace, "user:default/ada", title=title, processors=[held])
        )
    await until(lambda: unfinished(operator) == before + 2, operator)

    refused = Refuse(503, "no watches now")
    proxy.judge_watch = lambda path: refused if "/leases" not in path else None
    proxy.cut_watches()
    await kubernetes.delete("Notification", "deleted", namespace)
    await kubernetes.delete("NotificationProcessor", held, installation.namespace)
    await kubernetes.create(notification("created", namespace, "user:default/ada", title=title))
    refusals: dict[str, int] = {}

    def once(path: str) -> WatchFault:
        refusals[path] = refusals.get(path, 0) + 1
        return fault if "/leases" not in path and refusals[path] <= 2 else None

    proxy.judge_watch = once
    await kubernetes.wait("Notification", "created", namespace, complete, seconds=90)
    assert catcher.recipients(title) == ["ada@example.com"]
    body = await kubernetes.wait("Notification", "orphan", namespace, complete, seconds=60)
    assert rows(body)["user:default/ada"]["reason"] == "ProcessorNotFound"
    await until(lambda: unfinished(operator) == before, operator)
    await until(lambda: operator.probe("readyz") == 200, operator)
    assert proxy.watch_faults > 0
    assert operator.process is not None and operator.process.poll() is None


@pytest.mark.parametrize(
    ("resync", "inactivity"), [(2, NEVER), (NEVER, 3)], ids=["resync", "inactivity"]
)
async def test_silent_watches(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    proxy: APIProxy,
    start_operator: StartOperator,
    resync: float,
    inactivity: float,
) -> None:
    """They stay open and bring nothing; either of two ways out is enough, for the catalog too."""
    operator = await start_operator(resync=resync, inactivity=inactivity)
    proxy.silence_watches()
    config_map = users(f"late-{resync:g}", "late")
    config_map["metadata"]["namespace"] = installation.namespace  # type: ignore[index]
    await kubernetes.create(config_map)
    try:
        refs = ["user:default/ada", "user:default/late"]
        await kubernetes.create(notification("n", namespace, *refs, title=title))
        body = await kubernetes.wait("Notification", "n", namespace, complete, seconds=90)
    finally:
        await kubernetes.delete("ConfigMap", f"late-{resync:g}", installation.namespace)
    assert rows(body)["user:default/ada"]["state"] == "Sent", operator.tail()
    assert sorted(catcher.recipients(title)) == ["ada@example.com", "late@example.com"]


async def test_watch_that_drops_single_events_of_notifications(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    proxy: APIProxy,
    start_operator: StartOperator,
) -> None:
    operator = await start_operator()
    before = unfinished(operator)
    for name in ("edited", "deleted"):
        await kubernetes.create(
            notification(name, namespace, "user:default/ada", title=title, suspend=True)
        )
        await kubernetes.wait(
            "Notification", name, namespace, lambda body: body["status"]["state"] == "Suspended"
        )
    await until(lambda: unfinished(operator) == before + 2, operator)

    def is_lost(event: WatchEvent) -> bool:
        return any(
            event.type == kind and event.is_about("Notification", name)
            for kind, name in (("MODIFIED", "edited"), ("DELETED", "deleted"), ("ADDED", "added"))
        )

    proxy.passes = lambda event: not is_lost(event)
    await kubernetes.patch("Notification", "edited", namespace, {"spec": {"suspend": False}})
    await kubernetes.delete("Notification", "deleted", namespace)
    await kubernetes.create(notification("added", namespace, "user:default/grace", title=title))
    for name in ("edited", "added"):
        await kubernetes.wait("Notification", name, namespace, complete, seconds=60)
    await until(lambda: unfinished(operator) == before, operator)
    assert {event.type for event in proxy.dropped} == {"ADDED", "MODIFIED", "DELETED"}
    assert sorted(catcher.recipients(title)) == ["ada@example.com", "grace@example.com"]
    # Finished ones whose last event was lost do not keep it from being ready.
    await until(lambda: operator.probe("readyz") == 200, operator)


async def test_watch_that_drops_single_events_of_processors(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    proxy: APIProxy,
    start_operator: StartOperator,
    add_processor: AddProcessor,
) -> None:
    operator = await start_operator()
    edited = await add_processor(NOWHERE, ready=False)
    deleted = await add_processor(NOWHERE, ready=False)
    for name in (edited, deleted):
        await kubernetes.create(
            notification(name, namespace, "user:default/ada", title=title, processors=[name])
        )
        await kubernetes.wait(
            "Notification", name, namespace, lambda body: bool(rows(body)), seconds=60
        )
    proxy.passes = lambda event: event.body.get("kind") != "NotificationProcessor"
    stream = {"transport": "stream", "hostname": None, "port": None}
    await kubernetes.patch(
        "NotificationProcessor",
        edited,
        installation.namespace,
        {"spec": {"email": {"transportConfig": stream}}},
    )
    await kubernetes.delete("NotificationProcessor", deleted, installation.namespace)
    added = await add_processor({"transport": "stream"})
    await kubernetes.create(
        notification("added", namespace, "user:default/ada", title=title, processors=[added])
    )
    body = await kubernetes.wait("Notification", deleted, namespace, complete, seconds=60)
    assert rows(body)["user:default/ada"]["reason"] == "ProcessorNotFound"
    for name in (edited, "added"):
        body = await kubernetes.wait("Notification", name, namespace, complete, seconds=90)
        assert rows(body)["user:default/ada"]["state"] == "Sent", operator.tail()
    assert catcher.recipients(title) == []


async def test_standby_stays_in_step(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    proxy: APIProxy,
    start_operator: StartOperator,
) -> None:
    """Its watch loses everything about some Notifications, and it takes over all the same."""
    leader = await start_operator(pod="pod-a")
    await until(lambda: leader.metric("notifications_leader") == 1, leader)
    standby = await start_operator(pod="pod-b")
    before = unfinished(standby)
    proxy.passes = lambda event: event.body["metadata"].get("namespace") != namespace
    for name in ("kept", "deleted"):
        await kubernetes.create(
            notification(name, namespace, "user:default/ada", title=title, suspend=True)
        )
    await until(lambda: unfinished(standby) == before + 2, standby)
    await kubernetes.delete("Notification", "deleted", namespace)
    await until(lambda: unfinished(standby) == before + 1, standby)
    assert standby.metric("notifications_leader") == 0
    leader.kill()
    await until(lambda: standby.metric("notifications_leader") == 1, standby)
    await kubernetes.patch("Notification", "kept", namespace, {"spec": {"suspend": False}})
    await kubernetes.wait("Notification", "kept", namespace, complete, seconds=60)
    assert catcher.recipients(title) == ["ada@example.com"]
