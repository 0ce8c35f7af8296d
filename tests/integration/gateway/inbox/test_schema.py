"""Migrations make the tables that the code knows; several processes may start at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.event import listen, remove
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.identity import sessions
from notifications_operator.gateway.inbox import tables
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.engines import make_engine
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.schema import alembic_config, migrate
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.signals import outbox
from tests.integration.gateway.inbox.builders import deliver, everything, row
from tests.support.postgres import Postgres


def whole_metadata() -> MetaData:
    metadata = MetaData()
    for part in (tables.metadata, outbox.metadata, sessions.metadata):
        for table in part.sorted_tables:
            table.to_metadata(metadata)
    return metadata


async def in_connection(database: Database, function: Any, *arguments: Any) -> Any:
    async def work(connection: AsyncConnection) -> Any:
        return await connection.run_sync(function, *arguments)

    return await database.write(work)


async def test_migrations_make_what_the_code_knows(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": connection.dialect.name == "postgresql"}
        )
        return list(compare_metadata(context, whole_metadata()))

    assert await in_connection(database, differences) == []


async def test_partial_indexes_are_partial(database: Database) -> None:
    def definitions(connection: Connection) -> dict[str, str]:
        if connection.dialect.name == "sqlite":
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        else:
            query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        return {row[0]: row[1] for row in connection.execute(text(query))}

    found = await in_connection(database, definitions)
    assert "read IS NULL" in found["notification_unread"]
    assert "saved IS NOT NULL" in found["notification_saved"]


async def test_migrating_again_changes_nothing(settings: DatabaseSettings) -> None:
    engine = make_engine(settings)
    await migrate(engine)
    await migrate(engine)
    await engine.dispose()


async def test_migrations_can_be_undone(database: Database) -> None:
    def undo(connection: Connection) -> list[str]:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        return inspect(connection).get_table_names()

    left = await in_connection(database, undo)
    assert set(left) <= {"alembic_version", "sqlite_sequence"}


async def test_several_processes_may_migrate_at_once(postgres: Postgres) -> None:
    async with postgres.database() as url:
        settings = DatabaseSettings.model_validate({"url": url})
        databases = [Database(settings) for _ in range(5)]
        await asyncio.gather(*(database.start() for database in databases))
        for database in databases:
            await deliver(Inbox(database), row())
        assert len(await everything(Inbox(databases[0]))) == 5
        for database in databases:
            await database.close()


async def test_failed_migration_leaves_nothing(settings: DatabaseSettings) -> None:
    engine = make_engine(settings)
    made: list[str] = []

    def fail_late(*event: Any) -> None:
        """Let the first migration be made and recorded, and half of the second."""
        statement: str = event[2]
        if statement.lstrip().startswith("CREATE"):
            made.append(statement)
            if "session_last_seen" in statement:
                raise RuntimeError("the disk is full")

    listen(engine.sync_engine, "before_cursor_execute", fail_late)
    with pytest.raises(RuntimeError, match="the disk is full"):
        await migrate(engine)
    remove(engine.sync_engine, "before_cursor_execute", fail_late)
    assert len(made) > 5, "much was made before it failed"
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert names == []
    await migrate(engine)
    await engine.dispose()
