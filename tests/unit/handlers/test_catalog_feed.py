"""The catalog's feed of a process that does not lead."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web

from notifications_operator.catalog import Directory
from notifications_operator.handlers.catalog import CatalogFeed
from notifications_operator.kube.client import KubernetesClient
from notifications_operator.kube.events import EventRecorder
from notifications_operator.settings import CatalogSettings, WatchSettings
from tests.unit.kube.peer import Peer, peer, reply

USER = """
apiVersion: backstage.io/v1alpha1
kind: User
metadata: {name: ada}
spec: {profile: {email: ada@example.com}}
---
kind: [
"""


def config_map() -> dict[str, Any]:
    metadata = {"namespace": "operator", "name": "users", "uid": "u-1", "resourceVersion": "1"}
    return {"metadata": metadata, "data": {"users.yaml": USER}}


async def until_asked(server: Peer, count: int) -> None:
    async with asyncio.timeout(10):
        while len(server.received) < count:
            await asyncio.sleep(0.01)


async def test_broken_documents_are_named_once_it_leads() -> None:
    """The catalog is kept warm all the same, and what is broken by then is said then."""
    leading = False
    directories: list[Directory] = []
    end = asyncio.Event()

    async def silent_watch(_: web.Request) -> web.StreamResponse:
        await end.wait()
        return web.Response()

    async with peer() as server:
        listed = {"items": [config_map()], "metadata": {"resourceVersion": "1"}}
        server.answer(reply(listed), silent_watch, reply({}))
        client = KubernetesClient(server.transport)
        feed = CatalogFeed(
            client,
            EventRecorder(client, instance="pod"),
            namespaces=["operator"],
            settings=CatalogSettings(settle=0),
            watch=WatchSettings(),
            publish=directories.append,
            leading=lambda: leading,
        )
        task = asyncio.create_task(feed.run())
        async with asyncio.timeout(10):
            while not directories:
                await asyncio.sleep(0.01)
        assert directories[0].user_count == 1
        await until_asked(server, 2)
        assert [item.method for item in server.received] == ["GET", "GET"]

        leading = True
        feed.lead()
        await until_asked(server, 3)
        event = server.received[2].body
        assert (event["reason"], event["regarding"]["name"]) == ("InvalidEntities", "users")
        task.cancel()
        end.set()
        with suppress(asyncio.CancelledError):
            await task
