"""How it is learnt that there is something new in the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from .outbox import NOTIFY_CHANNEL

ANSWER_SECONDS = 10.0
"""Longest that the database may take to show that the connection still lives."""

_DIGITS = 18
"""Most digits of an id, which is a BIGINT."""

_COMMITTED = "notifications_committed"


class Ear(Protocol):
    """Hears what is committed to the outbox since it was made."""

    async def hear(self, seconds: float) -> set[int]:
        """Wait for news; returns new ids, or none if it is time to look what there is.

        Raises
        ------
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError
            If it does not hear any more.
        """


Connect = Callable[[], Awaitable["asyncpg.Connection[Any]"]]
"""Makes a connection to PostgreSQL."""


def listen(engine: AsyncEngine, connect: Connect) -> AbstractAsyncContextManager[Ear]:
    """Listen in the way that the database has; ``connect`` is for PostgreSQL."""
    return _listen_there(connect) if engine.dialect.name == "postgresql" else _listen_here(engine)


class _LocalEar:
    """Hears commits of this process, the only one that has the database (SQLite)."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    async def hear(self, seconds: float) -> set[int]:
        await _wait(self._news, seconds)
        self._news.clear()
        return set()

    def note_commit(self, connection: Connection) -> None:
        """Note that a transaction is about to be committed."""
        connection.info[_COMMITTED] = True

    def note_checkin(self, _: Any, entry: ConnectionPoolEntry) -> None:
        """Hear it when its connection is given back, for then it was."""
        if entry.info.pop(_COMMITTED, False):
            self._news.set()


@asynccontextmanager
async def _listen_here(engine: AsyncEngine) -> AsyncIterator[Ear]:
    ear = _LocalEar()
    listeners = (("commit", ear.note_commit), ("checkin", ear.note_checkin))
    for name, listener in listeners:
        event.listen(engine.sync_engine, name, listener)
    try:
        yield ear
    finally:
        for name, listener in listeners:
            event.remove(engine.sync_engine, name, listener)


class _PostgresEar:
    """Hears ``NOTIFY``, which tells of a transaction when it is committed, and of no other."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection
        self._news = asyncio.Event()
        self._ids: set[int] = set()
        self._lost = False

    async def start(self) -> None:
        """Begin to hear."""
        self._connection.add_termination_listener(self._note_loss)
        await self._connection.add_listener(NOTIFY_CHANNEL, self._note)

    async def hear(self, seconds: float) -> set[int]:
        if not await _wait(self._news, seconds):
            # A peer that vanished sends nothing, just as one that has nothing to tell.
            await self._connection.execute("SELECT 1", timeout=ANSWER_SECONDS)
        self._news.clear()
        if self._lost:
            raise ConnectionResetError("the database closed the connection")
        ids, self._ids = self._ids, set()
        return ids

    def _note(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        text = str(payload)
        # Others may notify as well; what is no id is an occasion to look.
        if text.isascii() and text.isdigit() and len(text) <= _DIGITS:
            self._ids.add(int(text))
        self._news.set()

    def _note_loss(self, _: Any) -> None:
        self._lost = True
        self._news.set()


@asynccontextmanager
async def _listen_there(connect: Connect) -> AsyncIterator[Ear]:
    connection = await connect()
    try:
        ear = _PostgresEar(connection)
        await ear.start()
        yield ear
    finally:
        # Not `close`, which would wait for a peer that may be gone.
        connection.terminate()


async def _wait(news: asyncio.Event, seconds: float) -> bool:
    """Wait for so long at most; False if nothing came."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return False
    return True
