"""A gateway before a database that a newer release has migrated: not ready, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import httpx
import pytest

from notifications_operator.gateway.inbox import database
from notifications_operator.gateway.inbox.schema import revisions
from tests.support.gateway import (
    OPERATOR,
    OPERATOR_TOKEN,
    NotificationCluster,
    RunningGateway,
    running_gateway,
)
from tests.unit.gateway.internal.internal_builders import batch


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECK_SECONDS", 0.05)


async def stamp(directory: Path, version: str) -> None:
    # The gateway is of this process: it must go on while the file is waited for.
    await asyncio.to_thread(_stamp, directory / "inbox.db", version)


def _stamp(file: Path, version: str) -> None:
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        connection.commit()


def stored(directory: Path) -> int:
    with contextlib.closing(sqlite3.connect(directory / "inbox.db", timeout=30)) as connection:
        found: int = connection.execute("SELECT count(*) FROM notification").fetchone()[0]
        return found


async def deliver(gateway: RunningGateway) -> httpx.Response:
    """Hand over one row, as the operator does, again and again the same."""
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    return await gateway.internal.post("/internal/v1/deliveries", json=batch(), headers=headers)


async def says(gateway: RunningGateway, text: str) -> httpx.Response:
    async with asyncio.timeout(30):
        while text not in (answer := await gateway.internal.get("/readyz")).text:
            await asyncio.sleep(0.02)
    return answer


async def test_it_steps_aside_and_comes_back_without_a_restart(tmp_path: Path) -> None:
    _, _, namespace, account = OPERATOR.split(":")
    internal = {"operator_namespace": namespace, "operator_service_account": account}
    options = {"internal": internal, "database": {"retry_interval": 0.05}}
    async with running_gateway(tmp_path, NotificationCluster(), **options) as gateway:
        await says(gateway, "[+]database ok")
        await stamp(tmp_path, "0099")
        refused = await deliver(gateway)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "5"
        assert "newer release" in refused.json()["error"]["message"]
        ready = await says(gateway, "[-]database")
        assert ready.status_code == 503
        assert "it has revision 0099" in ready.text
        assert f"knows up to {revisions().newest}" in ready.text
        assert (await gateway.internal.get("/healthz")).status_code == 200
        assert (await deliver(gateway)).status_code == 503
        assert stored(tmp_path) == 0
        await stamp(tmp_path, revisions().newest)
        assert (await says(gateway, "[+]database ok")).status_code == 200
        for _ in range(2):
            assert (await deliver(gateway)).status_code == 200
        assert stored(tmp_path) == 1


async def test_it_starts_before_such_a_database_and_waits(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, NotificationCluster()) as gateway:
        await says(gateway, "[+]database ok")
    await stamp(tmp_path, "0099")
    options = {"database": {"retry_interval": 0.05}}
    async with running_gateway(tmp_path, NotificationCluster(), **options) as gateway:
        assert (await says(gateway, "[-]database")).status_code == 503
        # Services can post all the same: what is stored in the cluster is handed over later.
        assert (await gateway.post()).status_code == 200
        await stamp(tmp_path, revisions().newest)
        assert (await says(gateway, "[+]database ok")).status_code == 200
