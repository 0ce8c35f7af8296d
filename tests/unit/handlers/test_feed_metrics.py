"""What the catalog feed tells of itself in metrics and logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from notifications_operator.api.errors import ForbiddenError
from notifications_operator.catalog import store as store_module
from notifications_operator.handlers import catalog as catalog_module
from notifications_operator.handlers.catalog import CatalogFeed
from notifications_operator.kube.client import ConfigMapEvent, KubernetesClient
from notifications_operator.kube.events import EventRecorder
from notifications_operator.settings import CatalogSettings, WatchSettings
from tests.unit.delivery.harness import MemoryRecorder

USER = """
apiVersion: backstage.io/v1alpha1
kind: User
metadata: {name: ada}
spec: {profile: {email: ada@example.com}, memberOf: []}
"""
BROKEN = "kind: User\nmetadata: {name: [}"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"notifications_{name}", labels) or 0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def config_map(name: str, text: str, version: int = 1) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "data": {"entities.yaml": text}}


class Catalog:
    """A client with ConfigMaps in memory."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.bodies = list(bodies)
        self.events: asyncio.Queue[ConfigMapEvent | Exception] = asyncio.Queue()
        self.failure: Exception | None = None

    async def list_catalog(self, namespace: str) -> tuple[list[dict[str, Any]], str]:
        if self.failure is not None:
            raise self.failure
        return self.bodies, "1"

    async def watch_catalog(
        self, namespace: str, version: str, *, inactivity_timeout: float
    ) -> AsyncIterator[ConfigMapEvent]:
        while True:
            event = await self.events.get()
            if isinstance(event, Exception):
                raise event
            yield event


@asynccontextmanager
async def feeding(client: Catalog, recorder: MemoryRecorder | None = None) -> AsyncIterator[None]:
    feed = CatalogFeed(
        cast("KubernetesClient", client),
        cast("EventRecorder", recorder or MemoryRecorder()),
        namespaces=["ns"],
        settings=CatalogSettings(settle=0, removal_settle=0),
        watch=WatchSettings(),
        publish=lambda directory: None,
        leading=lambda: True,
    )
    task = asyncio.create_task(feed.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_catalog_tells_its_size_age_and_problems() -> None:
    client = Catalog(config_map("good", USER), config_map("bad", BROKEN))
    async with feeding(client):
        await until(lambda: value("catalog_problems") > 0 and value("catalog_users") == 1)
        assert value("catalog_entities") == 1
        assert value("catalog_built_timestamp_seconds") > 1_700_000_000
        client.events.put_nowait(ConfigMapEvent(body=config_map("bad", USER, 2), deleted=False))
        # The same user twice is a problem of its own; without that ConfigMap there is none.
        client.events.put_nowait(ConfigMapEvent(body=config_map("bad", USER, 2), deleted=True))
        await until(lambda: value("catalog_problems") == 0)


async def test_problems_of_a_config_map_that_is_gone_are_gone() -> None:
    client = Catalog(config_map("good", USER), config_map("bad", BROKEN))
    async with feeding(client):
        await until(lambda: value("catalog_problems") > 0)
        client.events.put_nowait(ConfigMapEvent(body=config_map("bad", BROKEN), deleted=True))
        await until(lambda: value("catalog_problems") == 0)


async def test_what_is_kept_of_a_broken_key_goes_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The passing of time alone makes the feed look again."""
    monkeypatch.setattr(store_module, "KEEP_SECONDS", 0.2)
    client, recorder = Catalog(config_map("team", USER)), MemoryRecorder()
    async with feeding(client, recorder):
        await until(lambda: value("catalog_users") == 1)
        client.events.put_nowait(ConfigMapEvent(body=config_map("team", BROKEN, 2), deleted=False))
        await until(lambda: len(recorder.events) == 1)
        assert "1 of its entities are served as they were before it broke, until 20" in (
            recorder.events[0].note
        )
        await until(lambda: value("catalog_users") == 0)
        await until(lambda: len(recorder.events) == 2)
    assert recorder.events[1].note.endswith("are not kept any longer")


async def test_namespace_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(catalog_module, "RETRY_SECONDS", 0.01)
    client = Catalog(config_map("good", USER))
    client.failure = ForbiddenError("no right")
    async with feeding(client):
        await until(lambda: value("catalog_unreadable_namespaces") == 1)
        client.failure = None
        await until(lambda: value("catalog_unreadable_namespaces") == 0)
    assert "can be read again" in caplog.text
