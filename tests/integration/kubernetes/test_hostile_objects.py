"""Hostile objects: watches, kopf's and ours, go on bringing everything else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import kopf
import pytest

from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS
from notifications_operator.handlers.login import Login
from notifications_operator.handlers.resources import make_registry, make_settings
from notifications_operator.kube import lines
from notifications_operator.kube.client import KubernetesClient
from notifications_operator.settings import WatchSettings
from tests.support.api_server import APIServer

DEPTHS = [1_500, 9_990]


def notification(name: str, metadata: str = "{}", *, version: int = 5) -> str:
    """Return the text of a Notification, with the text of its payload's metadata."""
    own = {"name": name, "namespace": "team", "uid": name, "resourceVersion": str(version)}
    return (
        f'{{"apiVersion":"notifications.orchestrator.io/v1alpha1","kind":"Notification",'
        f'"metadata":{json.dumps(own)},"spec":{{"payload":{{"title":"x","metadata":{metadata}}}}}}}'
    )


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


class Heard:
    """An engine and a watch check that note what they are handed."""

    def __init__(self) -> None:
        self.offered: list[str] = []
        self.changed = asyncio.Event()

    def offer(self, body: dict[str, Any]) -> None:
        self.offered.append(body["metadata"]["name"])
        self.changed.set()

    offer_processor = offer

    def withdraw(self, uid: str) -> None:
        """Nothing is deleted here."""

    def saw(self, body: dict[str, Any]) -> None:
        """Nothing of it matters here."""

    def forget(self, body: dict[str, Any]) -> None:
        """Nothing of it matters here."""

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@asynccontextmanager
async def watching(heard: Heard) -> AsyncIterator[None]:
    """Run kopf's watches, which must not end."""
    checks = dict.fromkeys((NOTIFICATIONS, PROCESSORS), cast(Any, heard))
    login = Login()
    tasks = await kopf.spawn_tasks(
        registry=make_registry(cast(Any, heard), checks, login),
        settings=make_settings(WatchSettings()),
        clusterwide=True,
    )
    try:
        yield
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await login.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("levels", DEPTHS)
async def test_kopf_lists_and_watches_beside_what_is_nested_too_deeply(
    server: APIServer, heard: Heard, levels: int
) -> None:
    server.put(NOTIFICATIONS, notification("before"))
    server.put(NOTIFICATIONS, notification("deep", deep(levels)))
    server.put(NOTIFICATIONS, notification("after"))
    async with watching(heard):
        await heard.until(lambda: len(heard.offered) == 3)
        await until(lambda: server.watched(NOTIFICATIONS))
        server.put(NOTIFICATIONS, notification("deeper", deep(levels)))
        server.put(NOTIFICATIONS, notification("last"))
        await heard.until(lambda: "last" in heard.offered)
    assert sorted(heard.offered) == ["after", "before", "deep", "deeper", "last"]
    lists = [item for item in server.requests if item.endswith(f"/{NOTIFICATIONS}")]
    assert len(lists) == 2, "one list and one watch, which did not fail"


async def test_kopf_takes_lines_as_long_as_objects_can_be(server: APIServer, heard: Heard) -> None:
    async with watching(heard):
        await until(lambda: server.watched(NOTIFICATIONS))
        angle = json.dumps({"x": "MARK"}).replace("MARK", "\\u003c" * 1_500_000)
        server.put(NOTIFICATIONS, notification("large", angle))
        server.put(NOTIFICATIONS, notification("next"))
        await heard.until(lambda: len(heard.offered) == 2)
    assert heard.offered == ["large", "next"]


async def test_kopf_lists_again_after_a_line_longer_than_any_object(
    server: APIServer, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LINE_LIMIT", 100_000)
    async with watching(heard):
        await until(lambda: server.watched(NOTIFICATIONS))
        server.put(NOTIFICATIONS, notification("endless", json.dumps({"x": "y" * 300_000})))
        await heard.until(lambda: "endless" in heard.offered)


async def test_our_own_watch_takes_lines_as_long_as_objects_can_be(server: APIServer) -> None:
    client = KubernetesClient(server.transport())
    try:
        events = client.watch_catalog("team", "5", inactivity_timeout=20)
        first = asyncio.create_task(anext(events))
        await until(lambda: server.watched("configmaps"))
        data = '{"catalog.yaml":"' + "\\u003c" * 1_048_576 + '"}'
        metadata = '{"name":"c","namespace":"team","uid":"c","resourceVersion":"6"}'
        server.put("configmaps", f'{{"metadata":{metadata},"data":{data}}}')
        event = await first
        assert event.body["data"] == {"catalog.yaml": "<" * 1_048_576}
        await events.aclose()
    finally:
        await client.close()
