"""PostgreSQL as a peer with a ledger of its own: what is in the inbox, and what was ever written.

A trigger notes every row that is stored or overwritten, in the transaction that does it; the
gateway knows nothing of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.support.postgres import Postgres

from .evidence import BROADCAST, InboxRow, Writing

_NOTING = """
CREATE SCHEMA campaign;
CREATE TABLE campaign.writing (
    number BIGINT GENERATED ALWAYS AS IDENTITY,
    id UUID NOT NULL,
    recipient TEXT NOT NULL,
    title TEXT NOT NULL,
    identity TEXT NOT NULL,
    moment TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION campaign.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO campaign.writing (id, recipient, title, identity)
    VALUES (NEW.id, NEW.recipient, NEW.title, NEW.identity);
    RETURN NULL;
END
$$;
CREATE TRIGGER campaign AFTER INSERT OR UPDATE OF identity ON notification
    FOR EACH ROW EXECUTE FUNCTION campaign.note();
"""

_CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = 'notifications-gateway'
"""


class InboxLedger:
    """What PostgreSQL says of the gateway's inbox."""

    def __init__(self, server: Postgres, url: str) -> None:
        self._server = server
        self._url = url

    async def begin(self) -> None:
        """Note every writing from now on; the gateway's tables must be there."""
        await self._server.execute(_NOTING, url=self._url)

    async def cut(self) -> int:
        """End the sessions of all gateways; returns how many there were."""
        async with self._connected() as connection:
            count: int = await connection.fetchval(_CUT)
            return count

    async def rows(self) -> list[InboxRow]:
        """Return what is in all inboxes."""
        query = "SELECT id, recipient, title, origin, scope FROM notification"
        return [
            InboxRow(
                id=row["id"],
                user=_user(row["recipient"]),
                title=row["title"],
                origin=row["origin"],
                scope=row["scope"],
            )
            for row in await self._fetch(query)
        ]

    async def writings(self) -> list[Writing]:
        """Return all that was ever written, in order."""
        query = "SELECT id, recipient, title, identity, moment FROM campaign.writing"
        return [
            Writing(
                id=row["id"],
                user=_user(row["recipient"]),
                title=row["title"],
                identity=row["identity"],
                moment=row["moment"],
            )
            for row in await self._fetch(f"{query} ORDER BY number")
        ]

    async def _fetch(self, query: str) -> list[Any]:
        async with self._connected() as connection:
            found: list[Any] = await connection.fetch(query)
            return found

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self._url)
        try:
            yield connection
        finally:
            await connection.close()


def _user(recipient: str) -> str:
    """Return the name of a user of the campaign's catalog."""
    return recipient.rpartition("/")[2] or BROADCAST
