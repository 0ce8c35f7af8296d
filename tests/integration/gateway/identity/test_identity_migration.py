"""The table of sessions is made by a migration, beside what the release before has."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.identity import sessions
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.engines import make_engine
from notifications_operator.gateway.inbox.schema import alembic_config, migrate
from notifications_operator.gateway.inbox.settings import DatabaseSettings


def only_sessions(name: str | None, kind: str, parents: Any) -> bool:
    return kind != "table" or name == "session"


async def test_migration_makes_what_the_code_knows(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {
            "compare_type": connection.dialect.name == "postgresql",
            "include_name": only_sessions,
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, sessions.metadata))

    async def work(connection: AsyncConnection) -> list[Any]:
        return await connection.run_sync(differences)

    assert await database.read(work) == []


async def test_from_the_release_before_and_back(settings: DatabaseSettings) -> None:
    engine = make_engine(settings)
    await migrate(engine, revision="0001")
    async with engine.execution_options(writes=True).begin() as connection:
        await connection.execute(
            text("INSERT INTO reader (recipient, since) VALUES ('user:a/ada', CURRENT_TIMESTAMP)")
        )
    await migrate(engine)

    def downgrade(connection: Connection) -> list[str]:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        return inspect(connection).get_table_names()

    async with engine.execution_options(writes=True).begin() as connection:
        assert "session" in await connection.run_sync(
            lambda connection: inspect(connection).get_table_names()
        )
        assert "session" not in await connection.run_sync(downgrade)
        readers = await connection.execute(text("SELECT recipient FROM reader"))
        assert readers.scalars().all() == ["user:a/ada"]
    await engine.dispose()


async def test_sessions_after_a_restart(settings: DatabaseSettings) -> None:
    session_ids = []
    for _ in range(2):
        database = Database(settings)
        await database.start()
        known = sessions.Sessions(
            database, idle_timeout=timedelta(hours=8), absolute_timeout=timedelta(hours=24)
        )
        session_ids.append(await known.create("user:default/ada"))
        for session_id in session_ids:
            assert await known.use(session_id) is not None
        await database.close()
