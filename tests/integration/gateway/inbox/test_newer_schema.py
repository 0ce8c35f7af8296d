"""A database that a newer release has migrated is left alone until its schema is as before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from notifications_operator.gateway.errors import ServiceUnavailableError
from notifications_operator.gateway.inbox import database as module
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.engines import make_engine
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.schema import (
    NewerSchemaError,
    Revisions,
    UnfitSchemaError,
    migrate,
    revisions,
)
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.signals.outbox import Signal, append
from tests.integration.gateway.inbox.builders import deliver, everything, row

TIMEOUT = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.02)


@pytest.fixture
def settings(settings: DatabaseSettings) -> DatabaseSettings:
    return settings.model_copy(update={"retry_interval": 0.05})


@contextlib.asynccontextmanager
async def elsewhere(settings: DatabaseSettings) -> AsyncIterator[AsyncConnection]:
    """Be another process at the database."""
    engine = make_engine(settings)
    try:
        async with engine.execution_options(writes=True).begin() as connection:
            yield connection
    finally:
        await engine.dispose()


async def stamp(settings: DatabaseSettings, *versions: str) -> None:
    """Put revisions in place of those that are recorded."""
    async with elsewhere(settings) as connection:
        await connection.execute(text("DELETE FROM alembic_version"))
        for version in versions:
            statement = text("INSERT INTO alembic_version VALUES (:version)")
            await connection.execute(statement, {"version": version})


async def content(settings: DatabaseSettings) -> tuple[list[str], int]:
    """Return the recorded revisions, and how many rows there are."""
    async with elsewhere(settings) as connection:
        versions = await connection.execute(text("SELECT version_num FROM alembic_version"))
        rows = await connection.execute(text("SELECT count(*) FROM notification"))
        return list(versions.scalars()), rows.scalar_one()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(database: Database) -> AsyncIterator[None]:
    """Start the database and keep it, as the gateway does."""

    async def run() -> None:
        await database.start()
        await database.keep_checking()

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.close()


@pytest.mark.parametrize("found", [("9999",), ("0001", "9999"), ("",), ("0002_hotfix",)])
async def test_at_the_start_it_is_waited_for_and_left_as_it_is(
    settings: DatabaseSettings, found: tuple[str, ...]
) -> None:
    first = Database(settings)
    await first.start()
    await deliver(Inbox(first), row())
    await first.close()
    await stamp(settings, *found)
    older = Database(settings)
    async with running(older):
        await until(lambda: older.problem != "waiting for the database")
        assert not older.ready
        assert older.is_newer
        assert revisions().newest in (older.problem or "")
        assert "upgrade the gateway" in (older.problem or "")
        for refused in (deliver(Inbox(older), row()), everything(Inbox(older))):
            with pytest.raises(ServiceUnavailableError, match="newer release") as caught:
                await refused
            assert caught.value.headers == {"Retry-After": "5"}
        versions, rows = await content(settings)
        assert (sorted(versions), rows) == (sorted(found), 1)
        await stamp(settings, revisions().newest)
        await until(lambda: older.ready)
        assert (older.problem, older.is_newer) == (None, False)
        await deliver(Inbox(older), row())
        assert len(await everything(Inbox(older))) == 2


async def test_no_transaction_is_begun_after_the_migration(settings: DatabaseSettings) -> None:
    """The very next one is refused: nobody has looked since."""
    database = Database(settings)
    await database.start()
    inbox = Inbox(database)
    await deliver(inbox, row())
    await stamp(settings, "9999")
    assert database.ready
    with pytest.raises(UnfitSchemaError):
        await deliver(inbox, row())
    assert not database.ready
    assert await content(settings) == (["9999"], 1)
    await database.close()


async def test_the_relay_does_not_write_either(settings: DatabaseSettings) -> None:
    """It has transactions of its own, through the engine."""
    database = Database(settings)
    await database.start()
    await stamp(settings, "9999")
    with pytest.raises(NewerSchemaError):
        async with database.engine.execution_options(writes=True).begin() as connection:
            await append(connection, [Signal(users=None, channel="c", message={})])
    async with database.engine.connect() as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).has_table("signal"))
    await database.close()


async def test_it_is_found_while_nobody_writes(settings: DatabaseSettings) -> None:
    database = Database(settings)
    async with running(database):
        await until(lambda: database.ready)
        await stamp(settings, "9999")
        await until(lambda: database.is_newer)
        with pytest.raises(ServiceUnavailableError, match="newer release"):
            await everything(Inbox(database))
        await stamp(settings, revisions().newest)
        await until(lambda: database.ready)
        assert await everything(Inbox(database)) == []


async def test_it_is_said_once(
    settings: DatabaseSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[AsyncEngine] = []

    async def counted(engine: AsyncEngine) -> None:
        tries.append(engine)
        await migrate(engine)

    monkeypatch.setattr(module, "migrate", counted)
    database = Database(settings)
    async with running(database):
        await until(lambda: database.ready)
        await stamp(settings, "9999")
        await until(lambda: database.is_newer)
        await until(lambda: len(tries) > 3)
        with pytest.raises(ServiceUnavailableError):
            await deliver(Inbox(database), row())
        said = [item for item in caplog.messages if "of a newer release" in item]
        assert len(said) == 1


async def test_an_older_schema_is_migrated_while_it_runs(settings: DatabaseSettings) -> None:
    """A backup that is restored beneath a running gateway has an older schema."""
    database = Database(settings)
    async with running(database):
        await until(lambda: database.ready)
        async with elsewhere(settings) as connection:
            await connection.execute(text("DROP TABLE session"))
            await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        with contextlib.suppress(ServiceUnavailableError):
            await deliver(Inbox(database), row())

        def has_sessions(connection: Connection) -> bool:
            return inspect(connection).has_table("session")

        async with asyncio.timeout(TIMEOUT):
            while True:
                async with elsewhere(settings) as connection:
                    if await connection.run_sync(has_sessions):
                        break
                await asyncio.sleep(0.01)
        await until(lambda: database.ready)
        await deliver(Inbox(database), row())


async def test_migrating_refuses_too(settings: DatabaseSettings) -> None:
    engine = make_engine(settings)
    await migrate(engine)
    await stamp(settings, "9999")
    with pytest.raises(NewerSchemaError, match="newer release"):
        await migrate(engine)
    await engine.dispose()
    assert await content(settings) == (["9999"], 0)


def test_only_what_is_known_is_migrated() -> None:
    ours = Revisions(known=frozenset({"0001", "0002"}), newest="0002")
    ours.check([])
    ours.check(["0001"])
    ours.require(["0002"])
    for present in ([], ["0001"]):
        with pytest.raises(UnfitSchemaError) as older:
            ours.require(present)
        assert not isinstance(older.value, NewerSchemaError)
    for present in (["0003"], ["0002", "0003"]):
        with pytest.raises(NewerSchemaError):
            ours.require(present)
