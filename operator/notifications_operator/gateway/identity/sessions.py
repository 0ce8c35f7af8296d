"""Sessions of browsers: rows in the gateway's database.

The browser holds a random id and the table its hash, so that whoever reads the table has no
session.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, Index, MetaData, Row, Table, Text, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ..columns import Moment, now
from ..inbox.database import Database
from ..signals.outbox import SessionEnd, append

metadata = MetaData()

session = Table(
    "session",
    metadata,
    Column("id_digest", Text, primary_key=True),
    Column("entity_ref", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
    Index("session_last_seen", "last_seen"),
)
"""One row for each login; ``id_digest`` is SHA-256 in hexadecimal."""

_SEEN_EVERY: Final = timedelta(minutes=1)
"""How exactly ``last_seen`` is kept: a write at every request would cost more than it tells."""

_ID_BYTES: Final = 32
_ID: Final = re.compile("[A-Za-z0-9_-]{43}")

_KEYS_PER_STATEMENT: Final = 1000
"""Fewer than the parameters that a statement may have."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A login that has not ended.

    Attributes
    ----------
    key
        Names it, and gives nobody the session: the digest of its id.
    entity_ref
        Who logged in.
    expires
        When it ends unless it is used before; never later than the absolute bound.
    """

    key: str
    entity_ref: str
    expires: datetime


class Sessions:
    """All sessions.

    Without the database every method raises `ServiceUnavailableError`.

    Parameters
    ----------
    database
        Has the table.
    idle_timeout
        A session that is not used for so long has ended.
    absolute_timeout
        So long after the login it has ended in any case.
    clock
        The present moment.
    """

    def __init__(
        self,
        database: Database,
        *,
        idle_timeout: timedelta,
        absolute_timeout: timedelta,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database = database
        self._idle_timeout = idle_timeout
        self._absolute_timeout = absolute_timeout
        self._clock = clock

    @property
    def absolute_timeout(self) -> timedelta:
        """How long a session may last."""
        return self._absolute_timeout

    async def create(self, entity_ref: str) -> str:
        """Begin a session and return its new id; sessions that have ended are deleted."""
        moment = self._clock()

        async def work(connection: AsyncConnection) -> str:
            # Made anew if the work is repeated: the first one may have been stored after all.
            session_id = secrets.token_urlsafe(_ID_BYTES)
            await connection.execute(
                delete(session).where(session.c.last_seen <= moment - self._idle_timeout)
            )
            await connection.execute(
                insert(session).values(
                    id_digest=_digest(session_id),
                    entity_ref=entity_ref,
                    created=moment,
                    last_seen=moment,
                )
            )
            return session_id

        return await self._database.write(work)

    async def use(self, session_id: str) -> Session | None:
        """Return the session of an id, which counts as using it; ``None`` if it has ended."""
        moment = self._clock()
        digest = _digest(session_id)

        async def work(connection: AsyncConnection) -> Row[Any] | None:
            statement = select(session).where(session.c.id_digest == digest)
            return (await connection.execute(statement)).one_or_none()

        row = await self._database.read(work)
        if row is None or moment >= row.last_seen + self._idle_timeout:
            return None
        end = row.created + self._absolute_timeout
        if moment >= end:
            return None
        if moment - row.last_seen >= _SEEN_EVERY:
            await self._see(digest, moment)
        expires = min(moment + self._idle_timeout, end)
        return Session(key=digest, entity_ref=row.entity_ref, expires=expires)

    async def end(self, session_id: str) -> None:
        """End a session, if it is one, and let every replica close its sockets."""
        digest = _digest(session_id)

        async def work(connection: AsyncConnection) -> None:
            statement = delete(session).where(session.c.id_digest == digest)
            if (await connection.execute(statement)).rowcount:
                await append(connection, [SessionEnd(session=digest)])

        await self._database.write(work)

    async def missing(self, keys: Sequence[str]) -> set[str]:
        """Return those keys whose sessions are no more."""

        async def work(connection: AsyncConnection) -> set[str]:
            found: set[str] = set()
            for start in range(0, len(keys), _KEYS_PER_STATEMENT):
                part = keys[start : start + _KEYS_PER_STATEMENT]
                statement = select(session.c.id_digest).where(session.c.id_digest.in_(part))
                found.update((await connection.execute(statement)).scalars())
            return found

        return set(keys) - await self._database.read(work)

    async def _see(self, digest: str, moment: datetime) -> None:
        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                update(session)
                .where(session.c.id_digest == digest, session.c.last_seen < moment)
                .values(last_seen=moment)
            )

        await self._database.write(work)


def may_be_session_id(text: str) -> bool:
    """Tell whether a text has the form of the ids that sessions get."""
    return _ID.fullmatch(text) is not None


def _digest(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()
