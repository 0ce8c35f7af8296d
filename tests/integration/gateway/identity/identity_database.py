"""A database with all tables, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.settings import DatabaseSettings


@asynccontextmanager
async def sqlite_database(directory: Path) -> AsyncIterator[Database]:
    """Make a new SQLite file and migrate it."""
    url = SecretStr(f"sqlite:///{directory / 'gateway.db'}")
    database = Database(DatabaseSettings(url=url))
    await database.start()
    try:
        yield database
    finally:
        await database.close()
