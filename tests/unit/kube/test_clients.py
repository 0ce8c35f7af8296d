"""Connections: what is under way of one kind holds up no other kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.config import kube_config

from notifications_operator.kube.clients import Clients

TIMEOUT = 20.0
MANY = 130
"""More than a pool of the client library holds by default."""


class Stuck:
    """An API server that answers for Leases alone, and counts what waits for it."""

    def __init__(self) -> None:
        self.waiting = 0
        self.over = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "/leases/" in request.path:
            return web.json_response({"metadata": {"resourceVersion": "1"}})
        self.waiting += 1
        await self.over.wait()
        return web.json_response({"gitVersion": "v1"})

    async def until_waiting(self, amount: int) -> None:
        async with asyncio.timeout(TIMEOUT):
            while self.waiting < amount:
                await asyncio.sleep(0.01)


@pytest.fixture
async def stuck() -> AsyncIterator[tuple[Stuck, str]]:
    server = Stuck()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(application) as listening:
        yield server, str(listening.make_url("")).rstrip("/")
        server.over.set()


@pytest.fixture
async def clients(
    stuck: tuple[Stuck, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Clients]:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: "{stuck[1]}"}}}}]
users: [{{name: test, user: {{token: token}}}}]
""",
        encoding="utf-8",
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    # The client library has read the variable when it was imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    made = await Clients.connect()
    yield made
    await made.close()


async def test_the_lease_does_not_wait_for_other_requests(
    stuck: tuple[Stuck, str], clients: Clients
) -> None:
    server, _ = stuck
    async with asyncio.TaskGroup() as others:
        for _ in range(MANY):
            others.create_task(clients.work.version())
        await server.until_waiting(100)
        async with asyncio.timeout(TIMEOUT):
            assert await clients.lease.get_lease("operator", "lease") is not None
        assert not server.over.is_set()
        server.over.set()


async def test_watches_have_as_many_connections_as_they_need(
    stuck: tuple[Stuck, str], clients: Clients
) -> None:
    server, _ = stuck
    async with asyncio.TaskGroup() as watches:
        for _ in range(MANY):
            watches.create_task(clients.watches.version())
        await server.until_waiting(MANY)
        server.over.set()
