"""Signals come from an SQLite outbox to the hub of the one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.columns import now
from notifications_operator.gateway.errors import ServiceUnavailableError
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.signals import relay as relay_module
from notifications_operator.gateway.signals.outbox import append, signal
from tests.support.relays import numbered, relaying, write
from tests.support.signals import until


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    settings = DatabaseSettings(url=SecretStr(f"sqlite:///{tmp_path}/inbox.db"))
    found = Database(settings)
    await found.start()
    yield found
    await found.close()


async def insert_row(database: Database, body: Any, *, age: float = 0) -> None:
    async def work(connection: AsyncConnection) -> None:
        created = now() - timedelta(seconds=age)
        await connection.execute(insert(signal).values(created=created, body=body))

    await database.write(work)


async def rows(database: Database) -> int:
    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(select(func.count()).select_from(signal))).scalar_one()

    return await database.read(work)


async def until_rows(database: Database, count: int) -> None:
    """Wait until the outbox holds so many rows."""
    async with asyncio.timeout(60):
        while await rows(database) != count:
            await asyncio.sleep(0.01)


async def test_what_is_committed_comes_at_once_in_order_and_once(database: Database) -> None:
    async with relaying(database) as (hub, _):
        for number in range(30):
            await write(database, number * 2, number * 2 + 1)
        await until(lambda: len(hub.numbers) >= 60)
        assert hub.numbers == list(range(60))


async def test_what_is_rolled_back_is_not_told(database: Database) -> None:
    async with relaying(database) as (hub, _):

        async def fail(connection: AsyncConnection) -> None:
            await append(connection, numbered(1))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await database.write(fail)
        await write(database, 2)
        await until(lambda: bool(hub.numbers))
        assert hub.numbers == [2]


async def test_what_was_written_before_is_not_told_and_deleted_in_time(database: Database) -> None:
    await insert_row(database, [numbered(1)[0].to_json()], age=400)
    await insert_row(database, [numbered(2)[0].to_json()], age=10)
    async with relaying(database) as (hub, _):
        await write(database, 3)
        await until(lambda: bool(hub.numbers))
        await until_rows(database, 2)
        assert hub.numbers == [3]


async def test_old_signals_are_deleted_again_and_again(database: Database) -> None:
    async with relaying(database, retention=0.1, poll_interval=0.05) as (hub, _):
        await write(database, 1)
        await until(lambda: hub.numbers == [1])
        await until_rows(database, 0)
        await write(database, 2)
        await until(lambda: hub.numbers == [1, 2])


@pytest.mark.parametrize(
    "body", [{}, [1], [{"users": None}], "text", None, [{"users": 5, "channel": "", "message": {}}]]
)
async def test_a_row_that_cannot_be_read_holds_nothing_up(
    database: Database, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with relaying(database) as (hub, _):
        await insert_row(database, body)
        await write(database, 1)
        await until(lambda: bool(hub.numbers))
        assert hub.numbers == [1]
    assert ("cannot be read" in caplog.text) == (body != {})


async def test_a_row_too_deep_to_be_read_holds_nothing_up(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql(
            "INSERT INTO signal (created, body) VALUES (?, ?)",
            (now().replace(tzinfo=None).isoformat(" "), "[" * 100_000),
        )

    async with relaying(database) as (hub, _):
        await database.write(work)
        await write(database, 1)
        await until(lambda: bool(hub.numbers))
        assert hub.numbers == [1]


async def test_it_waits_for_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay_module, "RETRY_SECONDS", 0.01)
    settings = DatabaseSettings(url=SecretStr(f"sqlite:///{tmp_path}/inbox.db"))
    database = Database(settings)
    try:
        async with relaying(database) as (hub, relay):
            await until(lambda: relay.problem is not None)
            await database.start()
            await until(lambda: relay.problem is None)
            await write(database, 1)
            await until(lambda: bool(hub.numbers))
            assert hub.numbers == [1]
    finally:
        await database.close()
    assert caplog.text.count("signals are not relayed") == 1


async def test_it_waits_until_it_knows_who_muted_a_broadcast(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "RETRY_SECONDS", 0.01)

    class Away:
        """Knows nothing at first, and then that nobody muted it."""

        times = 3

        async def muted_by(
            self, users: Sequence[str], *, origin: str, topic: str | None
        ) -> frozenset[str]:
            self.times -= 1
            if self.times > 0:
                raise ServiceUnavailableError("The inbox is away", retry_after=5)
            return frozenset()

    (told,) = numbered(1)
    away = Away()
    async with relaying(database, mutes=away) as (hub, relay):

        async def work(connection: AsyncConnection) -> None:
            await append(connection, [told, replace(told, about=("plugin:a", None))])

        await database.write(work)
        await until(lambda: bool(hub.numbers))
        assert (hub.numbers, away.times) == ([1, 1], 0)
        await until(lambda: relay.problem is None)


async def test_it_rests_while_nothing_happens(database: Database) -> None:
    async with relaying(database) as (hub, relay):
        await write(database, 1)
        await until(lambda: bool(hub.numbers))
        looks: list[object] = []
        real = relay._unseen

        async def count() -> set[int]:
            looks.append(None)
            return await real()

        relay._unseen = count  # type: ignore[method-assign]
        for _ in range(50):
            await rows(database)
        await write(database, 2)
        await until(lambda: hub.numbers == [1, 2])
        await rows(database)
        # Reading, its own included, tells nothing new.
        assert len(looks) <= 3
