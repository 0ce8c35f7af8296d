"""Brings signals from the outbox to the hub; each replica has one."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import asyncpg
from sqlalchemy import Text, cast, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from ..columns import now
from ..errors import ServiceUnavailableError
from .hub import Hub
from .news import Connect, Ear, listen
from .outbox import News, SessionEnd, Signal, read_news, signal
from .settings import SignalsSettings

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Seconds between attempts to reach the database."""

_BATCH = 10
"""Rows that are read at once; one may hold the signals of thousands of users."""

_TIDY_SHARE = 0.1
"""How much longer than their time signals may stay."""


class Mutes(Protocol):
    """Knows who does not want what; the `Inbox`."""

    async def muted_by(
        self, users: Sequence[str], *, origin: str, topic: str | None
    ) -> AbstractSet[str]:
        """Return those of the users who do not want an origin and topic in their inbox.

        Raises
        ------
        ServiceUnavailableError
            If the database is away.
        """
        ...


class Relay:
    """Hands every signal that is committed while it runs to the hub.

    A transaction may be committed after one that got a higher id, so the highest id that was seen
    tells nothing on PostgreSQL: rows are taken by the ids that were announced, and whatever else is
    there and was not seen yet is found by looking, first of all after every new connection. An id
    is seen with its moment, as a replica that takes over without the last transactions gives their
    ids again. SQLite has one writer at a time.

    Parameters
    ----------
    engine
        The database.
    connect
        Makes a connection to it to listen at, if it is PostgreSQL; the relay closes it.
    hub
        Where the signals go.
    mutes
        Who is not to hear of a broadcast; ``None``: everybody hears of all.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        hub: Hub,
        settings: SignalsSettings,
        *,
        connect: Connect,
        mutes: Mutes | None = None,
    ) -> None:
        self._engine = engine
        self._mutes = mutes
        # The inbox's engine begins SQLite's transactions as they are meant.
        self._writing_engine = engine.execution_options(writes=True)
        self._connect = connect
        self._hub = hub
        self._settings = settings
        self._in_order = engine.dialect.name == "sqlite"
        self._made = now()
        self._seen: dict[int, datetime] | None = None
        self._floor = 0
        self._tidy_at = 0.0
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why nothing is relayed now, or ``None``."""
        return self._problem

    async def run(self) -> None:
        """Relay until cancelled; a database that is away is waited for."""
        while True:
            try:
                async with listen(self._engine, self._connect) as ear:
                    await self._relay(ear)
            except (
                SQLAlchemyError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                OSError,
                ServiceUnavailableError,
            ) as error:
                self._note(str(error) or type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _relay(self, ear: Ear) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._bring(await self._unseen())
            await self._tidy()
            self._note(None)
            due = loop.time() + self._settings.poll_interval
            while (ids := await ear.hear(due - loop.time())) and loop.time() < due:
                await self._bring(ids)

    async def _unseen(self) -> set[int]:
        """Return what is there and was not brought yet."""
        rows = select(signal.c.id, signal.c.created).where(signal.c.id > self._floor)
        async with self._engine.connect() as connection:
            found = (await connection.execute(rows)).all()
        present: dict[int, datetime] = {row.id: row.created for row in found}
        if self._seen is None:
            # Nobody here had subscribed when these were written.
            self._seen = {
                number: created for number, created in present.items() if created < self._made
            }
        else:
            self._seen = dict(self._seen.items() & present.items())
        return present.keys() - self._seen.keys()

    async def _bring(self, ids: Iterable[int]) -> None:
        assert self._seen is not None
        wanted = sorted(ids)
        for start in range(0, len(wanted), _BATCH):
            rows = (
                select(signal.c.id, signal.c.created, cast(signal.c.body, Text))
                .where(signal.c.id.in_(wanted[start : start + _BATCH]))
                .order_by(signal.c.id)
            )
            async with self._engine.connect() as connection:
                found = (await connection.execute(rows)).all()
            for number, created, body in found:
                if self._seen.get(number) == created:
                    continue
                await self._hand_over(_decode(number, body))
                self._seen[number] = created
                if self._in_order:
                    self._floor = number

    async def _hand_over(self, news: Sequence[News]) -> None:
        signals = [item for item in news if isinstance(item, Signal)]
        await self._hub.publish([await self._wanted(item) for item in signals])
        for item in news:
            if isinstance(item, SessionEnd):
                self._hub.end_session(item.session)

    async def _wanted(self, item: Signal) -> Signal:
        """Address a broadcast to those of its listeners who did not mute it, if some did."""
        if self._mutes is None or item.users is not None or item.about is None:
            return item
        origin, topic = item.about
        listeners = self._hub.listeners(item.channel)
        muted = await self._mutes.muted_by(listeners, origin=origin, topic=topic)
        if not muted:
            return item
        return replace(item, users=tuple(user for user in listeners if user not in muted))

    async def _tidy(self) -> None:
        """Delete what is too old, now and then."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._tidy_at:
            return
        retention = self._settings.retention
        statement = delete(signal).where(signal.c.created < now() - timedelta(seconds=retention))
        async with self._writing_engine.begin() as connection:
            await connection.execute(statement)
        self._tidy_at = loop.time() + retention * _TIDY_SHARE

    def _note(self, problem: str | None) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        if problem is None:
            logger.info("signals are relayed again")
        else:
            logger.warning("signals are not relayed: %s", problem)


def _decode(number: int, body: str) -> list[News]:
    """Read one row; one that cannot be read must not hold up the others."""
    try:
        return [read_news(item) for item in json.loads(body)]
    except (ValueError, TypeError, KeyError, RecursionError):
        logger.exception("row %s of the outbox cannot be read", number)
        return []
