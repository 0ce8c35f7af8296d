"""Signals come from one PostgreSQL to the hubs of all replicas, whatever happens to connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.columns import now
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.engines import connect_postgresql
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.principals import UserPrincipal
from notifications_operator.gateway.signals import news, relay
from notifications_operator.gateway.signals.outbox import NOTIFY_CHANNEL, append, signal
from tests.support.postgres import Postgres
from tests.support.relays import numbered, relaying, write
from tests.support.signals import message, serving, until

_LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND datname = current_database()"
)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "RETRY_SECONDS", 0.05)


@pytest.fixture
async def settings(postgres: Postgres) -> AsyncIterator[DatabaseSettings]:
    async with postgres.database() as url:
        yield DatabaseSettings(url=SecretStr(url))


@pytest.fixture
async def database(settings: DatabaseSettings) -> AsyncIterator[Database]:
    found = Database(settings)
    await found.start()
    yield found
    await found.close()


@pytest.fixture
async def other(settings: DatabaseSettings, database: Database) -> AsyncIterator[Database]:
    """Another replica's."""
    found = Database(settings)
    await found.start()
    yield found
    await found.close()


def connecting(settings: DatabaseSettings) -> Any:
    return partial(connect_postgresql, settings, background=True)


async def test_every_replica_hears_what_any_commits(
    settings: DatabaseSettings, database: Database, other: Database
) -> None:
    connect = connecting(settings)
    async with (
        relaying(database, connect=connect) as (here, _),
        relaying(other, connect=connect) as (there, _),
    ):
        for number in range(20):
            await write(database if number % 2 else other, number)
        await until(lambda: len(here.numbers) >= 20 and len(there.numbers) >= 20)
        assert here.numbers == there.numbers == list(range(20))


async def test_a_batch_longer_than_a_notify_comes_whole(
    settings: DatabaseSettings, database: Database
) -> None:
    async with relaying(database, connect=connecting(settings)) as (hub, _):
        await write(database, *range(1000), text="x" * 1000)
        await until(lambda: len(hub.numbers) == 1000)
        assert [found.message["text"] for found in hub.signals] == ["x" * 1000] * 1000


async def test_what_is_committed_late_is_not_skipped_for_its_lower_id(
    settings: DatabaseSettings, database: Database
) -> None:
    async with relaying(database, connect=connecting(settings), poll_interval=0.05) as (hub, _):
        async with database.engine.begin() as late:
            await append(late, numbered(1))
            await write(database, 2)
            await until(lambda: hub.numbers == [2])
        await until(lambda: hub.numbers == [2, 1])
        await write(database, 3)
        await until(lambda: len(hub.numbers) == 3)
        assert hub.numbers == [2, 1, 3]


async def test_what_is_rolled_back_is_not_told(
    settings: DatabaseSettings, database: Database
) -> None:
    async with relaying(database, connect=connecting(settings)) as (hub, _):
        async with database.engine.connect() as connection:
            await append(connection, numbered(1))
            await connection.rollback()
        await write(database, 2)
        await until(lambda: bool(hub.numbers))
        assert hub.numbers == [2]


async def test_what_came_while_the_connection_was_lost_comes_later_and_once(
    settings: DatabaseSettings, database: Database, postgres: Postgres
) -> None:
    allowed = asyncio.Event()
    allowed.set()

    async def connect() -> Any:
        await allowed.wait()
        return await connecting(settings)()

    url = settings.url.get_secret_value()
    async with relaying(database, connect=connect) as (hub, found):
        await write(database, 1)
        await until(lambda: hub.numbers == [1])
        for number in range(2, 8, 2):
            allowed.clear()
            await postgres.execute(
                f"SELECT pg_terminate_backend(pid) FROM ({_LISTENERS}) AS listeners", url=url
            )
            await until(lambda: found.problem is not None)
            async with database.engine.begin() as late:
                await append(late, numbered(number))
                await write(database, number + 1)
                allowed.set()
                await until(partial(hub.has, number + 1))
            await until(partial(hub.has, number))
        assert hub.numbers == [1, 3, 2, 5, 4, 7, 6]


async def test_a_connection_that_hangs_is_noticed(
    settings: DatabaseSettings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "ANSWER_SECONDS", 0.2)
    connections: list[asyncpg.Connection[Any]] = []

    async def connect() -> Any:
        connections.append(await connecting(settings)())
        return connections[-1]

    async with relaying(database, connect=connect, poll_interval=0.1) as (hub, _):
        await write(database, 1)
        await until(lambda: hub.numbers == [1])
        # Nothing arrives any more, as when a firewall forgot the connection.
        connections[0]._transport.pause_reading()
        await write(database, 2)
        await until(lambda: len(connections) == 2)
        await write(database, 3)
        await until(lambda: len(hub.numbers) == 3)
        assert hub.numbers == [1, 2, 3]


async def test_ids_that_a_failover_gives_again_are_new(
    settings: DatabaseSettings, database: Database
) -> None:
    async def lose(connection: AsyncConnection) -> None:
        await connection.execute(delete(signal))
        await connection.execute(select(func.setval("signal_id_seq", 1, False)))

    async with relaying(database, connect=connecting(settings)) as (hub, _):
        await write(database, 1)
        await until(lambda: hub.numbers == [1])
        await database.write(lose)
        await write(database, 2)
        await until(lambda: hub.numbers == [1, 2])


async def test_others_may_notify_too(settings: DatabaseSettings, database: Database) -> None:
    async with relaying(database, connect=connecting(settings)) as (hub, _):
        await write(database, 1)
        await until(lambda: hub.numbers == [1])
        for payload in ("", "x", "-1", "999999", "9" * 30, "\u0663"):
            async with database.engine.begin() as connection:
                await connection.execute(select(func.pg_notify(NOTIFY_CHANNEL, payload)))
        await write(database, 2)
        await until(lambda: hub.numbers == [1, 2])


async def test_old_signals_are_deleted_and_forgotten(
    settings: DatabaseSettings, database: Database
) -> None:
    async def insert_old(connection: AsyncConnection) -> None:
        created = now() - timedelta(seconds=301)
        await connection.execute(insert(signal).values(created=created, body=[]))

    async def count(connection: AsyncConnection) -> int:
        return (await connection.execute(select(func.count()).select_from(signal))).scalar_one()

    await database.write(insert_old)
    async with relaying(database, connect=connecting(settings), poll_interval=0.05) as (
        hub,
        found,
    ):
        async with asyncio.timeout(30):
            while await database.read(count):
                await asyncio.sleep(0.01)
        await write(database, 1)
        await until(lambda: hub.numbers == [1])
        assert await database.read(count) == 1
        await until(lambda: found._seen is not None and len(found._seen) == 1)


async def test_it_waits_for_a_database_that_is_away(postgres: Postgres) -> None:
    """The server of this process's other tests goes down and comes again."""
    async with postgres.database() as url:
        settings = DatabaseSettings(url=SecretStr(url))
        database = Database(settings)
        await database.start()
        try:
            async with relaying(database, connect=connecting(settings)) as (hub, found):
                await write(database, 1)
                await until(lambda: hub.numbers == [1])
                ends = (postgres.shutdown, postgres.kill, postgres.crash)
                for number, end in enumerate(ends, 2):
                    await asyncio.to_thread(end)
                    await until(lambda: found.problem is not None)
                    await asyncio.to_thread(postgres.run)
                    await write(database, number)
                    await until(partial(hub.has, number))
                assert hub.numbers == [1, 2, 3, 4]
        finally:
            await database.close()


async def test_browsers_at_two_replicas_hear_what_one_of_them_commits(
    settings: DatabaseSettings, database: Database, other: Database
) -> None:
    principals = {"ada": UserPrincipal(entity_ref="user:default/ada")}
    connect = connecting(settings)
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for replica in (database, other):
            served = await stack.enter_async_context(serving(principals))
            await stack.enter_async_context(relaying(replica, connect=connect, hub=served.hub))
            clients.append(await served.connect("ada"))
        await write(database, 1)
        assert [(await message(client))["number"] for client in clients] == [1, 1]
        await write(other, 2)
        assert [(await message(client))["number"] for client in clients] == [2, 2]
        for client in clients:
            await client.close()
