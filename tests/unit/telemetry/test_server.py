"""Probes and metrics over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from notifications_operator.settings import ServerSettings
from notifications_operator.telemetry import server as server_module
from notifications_operator.telemetry.server import STALLED_SECONDS, TelemetryServer

Get = Callable[[str], Any]


@asynccontextmanager
async def serving(
    readiness: Mapping[str, str | None] | None = None, measured: list[int] | None = None
) -> AsyncIterator[Get]:
    server = TelemetryServer(
        ServerSettings(host="127.0.0.1", port=0),
        readiness=lambda: readiness or {},
        measure=lambda: (measured if measured is not None else []).append(1),
    )
    port = await server.start()
    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, str, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status, await response.text(), response.content_type

        try:
            yield get
        finally:
            await server.close()


async def test_live() -> None:
    async with serving({"api-server": "not reached yet"}) as get:
        status, text, _ = await get("/livez")
        assert (status, text) == (200, "ok\n"), "the API server's health does not count"


async def test_stalled_loop_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as get:
        await get("/livez")
        loop = SimpleNamespace(time=lambda: 1e9 + STALLED_SECONDS)
        monkeypatch.setattr(
            server_module, "asyncio", SimpleNamespace(get_running_loop=lambda: loop)
        )
        status, text, _ = await get("/livez")
        monkeypatch.undo()
        assert status == 500
        assert "stalled" in text


@pytest.mark.parametrize(
    ("checks", "status", "text"),
    [
        ({}, 200, ""),
        ({"catalog": None, "definitions": None}, 200, "[+]catalog ok\n[+]definitions ok\n"),
        (
            {"catalog": "not read yet", "definitions": None},
            503,
            "[-]catalog not read yet\n[+]definitions ok\n",
        ),
    ],
)
async def test_ready(checks: dict[str, str | None], status: int, text: str) -> None:
    async with serving(checks) as get:
        assert (await get("/readyz"))[:2] == (status, text)


async def test_metrics_are_brought_up_to_date() -> None:
    measured: list[int] = []
    async with serving(measured=measured) as get:
        status, text, kind = await get("/metrics")
        assert (status, kind) == (200, "text/plain")
        assert "notifications_unfinished" in text
        assert int(text.partition("\nnotifications_event_loop_tasks ")[2].split(".")[0]) > 1
        assert measured == [1]


async def test_nothing_else_is_served() -> None:
    async with serving() as get:
        assert (await get("/"))[0] == 404


async def test_closed_server_is_closed() -> None:
    server = TelemetryServer(
        ServerSettings(host="127.0.0.1", port=0), readiness=dict, measure=lambda: None
    )
    port = await server.start()
    await server.close()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://127.0.0.1:{port}/livez")
