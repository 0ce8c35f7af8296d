"""Signals are written in the transaction of what they tell, and announced when it is committed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.signals.outbox import (
    NOTIFY_CHANNEL,
    Signal,
    append,
    signal,
)
from tests.integration.gateway.inbox.builders import ADA, deliver, row, signals

ONE = Signal(users=(ADA,), channel="notifications", message={"a": 'x" \u2028 😀'})
EVERYBODYS = Signal(users=None, channel="other", message={})


async def write(database: Database, *batch: Signal, fail: bool = False) -> None:
    async def work(connection: AsyncConnection) -> None:
        await append(connection, batch)
        if fail:
            raise LookupError

    await database.write(work)


async def test_batches_are_kept_in_order(database: Database) -> None:
    await write(database, ONE, EVERYBODYS)
    await write(database, EVERYBODYS)
    assert await signals(database) == [ONE, EVERYBODYS, EVERYBODYS]


async def test_what_a_broadcast_is_about_is_kept(database: Database) -> None:
    about = [replace(EVERYBODYS, about=("plugin:a", topic)) for topic in (None, "t")]
    await write(database, *about)
    assert await signals(database) == about
    # As the previous release wrote them, which is still there during an upgrade.
    assert set(EVERYBODYS.to_json()) == {"users", "channel", "message"}


async def test_no_signals_are_no_batch(database: Database) -> None:
    await write(database)

    async def work(connection: AsyncConnection) -> list[int]:
        return list((await connection.execute(select(signal.c.id))).scalars())

    assert await database.read(work) == []


async def test_what_failed_tells_nothing(database: Database) -> None:
    with pytest.raises(LookupError):
        await write(database, ONE, fail=True)
    assert await signals(database) == []


async def test_ids_are_never_given_twice(database: Database) -> None:
    await write(database, ONE)

    async def clear(connection: AsyncConnection) -> list[int]:
        return list((await connection.execute(signal.delete().returning(signal.c.id))).scalars())

    first = await database.write(clear)
    await write(database, ONE)
    assert await database.write(clear) > first


async def test_postgresql_announces_what_is_committed(
    database: Database, settings: DatabaseSettings
) -> None:
    if database.dialect == "sqlite":
        return
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(settings.url.get_secret_value())

    def hear(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
        heard.put_nowait(payload)

    await listener.add_listener(NOTIFY_CHANNEL, hear)
    with pytest.raises(LookupError):
        await write(database, ONE, fail=True)
    await deliver(Inbox(database), *(row(f"user:default/u{n}") for n in range(2000)))
    payload = await asyncio.wait_for(heard.get(), 30)

    async def work(connection: AsyncConnection) -> list[Any]:
        chosen = select(signal.c.body).where(signal.c.id == int(payload))
        return list((await connection.execute(chosen)).scalar_one())

    assert len(await database.read(work)) == 2000
    assert heard.empty(), "one announcement for each batch"
    await listener.close()
