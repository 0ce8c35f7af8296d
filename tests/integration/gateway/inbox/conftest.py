"""Every test runs on real SQLite files and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from tests.integration.gateway.inbox.builders import Clock
from tests.support.postgres import Postgres
from tests.support.postgres import postgres as postgres


@pytest.fixture(params=["sqlite", "postgresql"])
async def settings(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[DatabaseSettings]:
    """An empty database."""
    if request.param == "sqlite":
        yield DatabaseSettings.model_validate({"url": f"sqlite:///{tmp_path / 'inbox.db'}"})
        return
    server: Postgres = request.getfixturevalue("postgres")
    async with server.database() as url:
        yield DatabaseSettings.model_validate({"url": url})


@pytest.fixture
async def database(settings: DatabaseSettings) -> AsyncIterator[Database]:
    """The database, ready."""
    database = Database(settings)
    await database.start()
    yield database
    await database.close()


@pytest.fixture
def clock() -> Clock:
    """The inbox's clock."""
    return Clock()


@pytest.fixture
def inbox(database: Database, clock: Clock) -> Inbox:
    """An empty inbox, without defaults."""
    return Inbox(database, channels=["Web", "Email"], clock=clock)
