"""The database comes late, goes away and comes back; one process alone has a file."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.errors import ServiceUnavailableError
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.engines import DatabaseInUse, InvalidDatabaseURL
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.inbox.tables import notification
from tests.integration.gateway.inbox.builders import ADA, deliver, everything, row
from tests.support.postgres import Postgres


def at(url: str, **others: float) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"url": url, **others})


@pytest.fixture
async def own_server() -> AsyncIterator[Postgres]:
    """A server of the test's own, to stop and kill."""
    server = await asyncio.to_thread(Postgres.start)
    yield server
    await asyncio.to_thread(server.stop)


async def test_nothing_is_answered_before_it_is_ready(settings: DatabaseSettings) -> None:
    database = Database(settings)
    assert not database.ready
    with pytest.raises(ServiceUnavailableError, match="not there yet") as refused:
        await Inbox(database).status(ADA)
    assert refused.value.headers == {"Retry-After": "5"}
    await database.start()
    assert database.ready
    await database.wait_ready()
    assert await Inbox(database).status(ADA) == (0, 0)
    await database.close()
    assert not database.ready


async def test_what_was_written_is_there_after_a_restart(settings: DatabaseSettings) -> None:
    for run in range(3):
        database = Database(settings)
        await database.start()
        inbox = Inbox(database)
        await deliver(inbox, row())
        assert len(await everything(inbox)) == run + 1
        await database.close()


async def test_failed_work_leaves_nothing(inbox: Inbox, database: Database) -> None:
    (id_,) = await deliver(inbox, row())

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(notification.delete())
        raise LookupError("half way")

    with pytest.raises(LookupError, match="half way"):
        await database.write(work)
    assert [item.id for item in await everything(inbox)] == [id_]


async def test_faults_of_ours_are_not_taken_for_an_absence(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT nonsense FROM nowhere"))

    with pytest.raises(Exception, match="nowhere"):
        await database.read(work)
    assert database.ready


async def test_errors_do_not_say_what_was_stored(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(notification.insert().values(title="a secret title"))

    with pytest.raises(Exception, match="notification") as failed:
        await database.write(work)
    assert "a secret title" not in str(failed.value)


async def test_readers_go_on_beside_a_writer(inbox: Inbox, database: Database) -> None:
    await deliver(inbox, row())
    await inbox.status(ADA)
    writing, done = asyncio.Event(), asyncio.Event()

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(notification.delete())
        writing.set()
        await done.wait()

    writer = asyncio.create_task(database.write(work))
    await writing.wait()
    assert await inbox.status(ADA) == (1, 0)
    done.set()
    await writer
    assert await inbox.status(ADA) == (0, 0)


async def test_cancelled_work_is_undone_and_its_connection_comes_back(
    inbox: Inbox, database: Database
) -> None:
    await deliver(inbox, row())
    for _ in range(30):
        writing = asyncio.Event()

        async def work(connection: AsyncConnection, writing: asyncio.Event = writing) -> None:
            await connection.execute(notification.delete())
            writing.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(database.write(work))
        await writing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await inbox.status(ADA) == (1, 0)


async def test_second_process_is_refused_the_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'inbox.db'}"
    first = Database(at(url))
    await first.start()
    program = (
        "import asyncio, sys\n"
        "from notifications_operator.gateway.inbox.database import Database\n"
        "from notifications_operator.gateway.inbox.settings import DatabaseSettings\n"
        "asyncio.run(Database(DatabaseSettings(url=sys.argv[1])).start())\n"
    )
    second = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode != 0
    assert "DatabaseInUse: another process uses" in second.stderr
    with pytest.raises(DatabaseInUse, match="one gateway at a time"):
        await Database(at(url)).start()
    await first.close()
    third = Database(at(url))
    await third.start()
    await third.close()


async def test_sqlite_keeps_a_log_and_flushes_every_commit(tmp_path: Path) -> None:
    database = Database(at(f"sqlite:///{tmp_path / 'inbox.db'}"))
    await database.start()

    async def work(connection: AsyncConnection) -> tuple[object, ...]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        found = [await connection.execute(text(f"PRAGMA {name}")) for name in names]
        return tuple(result.scalar_one() for result in found)

    assert await database.read(work) == ("wal", 2, 1)
    await database.close()


async def test_sqlite_waits_for_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    database = Database(at(f"sqlite:///{path}"))
    await database.start()
    inbox = Inbox(database)
    await deliver(inbox, row())
    assert await inbox.status(ADA) == (1, 0)
    with sqlite3.connect(path) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(deliver(inbox, row()))
        assert await inbox.status(ADA) == (1, 0)
        assert not writing.done()
        other.rollback()
    await writing
    copy = tmp_path / "copy.db"
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    await database.close()
    restored = Database(at(f"sqlite:///{copy}"))
    await restored.start()
    assert len(await everything(Inbox(restored))) == 2
    await restored.close()


async def test_sqlite_that_stays_locked_is_an_absence(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    database = Database(at(f"sqlite:///{path}", statement_timeout=0.2))
    await database.start()
    inbox = Inbox(database)
    with sqlite3.connect(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServiceUnavailableError):
            await inbox.deliver([row()])
        other.rollback()
    await deliver(inbox, row())
    await database.close()


async def test_start_waits_for_the_volume(tmp_path: Path) -> None:
    database = Database(at(f"sqlite:///{tmp_path / 'volume' / 'inbox.db'}", retry_interval=0.1))
    starting = asyncio.create_task(database.start())
    await asyncio.sleep(0)
    assert not starting.done()
    (tmp_path / "volume").mkdir()
    await asyncio.wait_for(starting, 30)
    await database.close()


async def test_start_waits_for_postgresql(own_server: Postgres) -> None:
    own_server.shutdown()
    database = Database(at(own_server.url(), retry_interval=0.1))
    starting = asyncio.create_task(database.start())
    with pytest.raises(ServiceUnavailableError):
        await Inbox(database).deliver([row()])
    await asyncio.to_thread(own_server.run)
    await asyncio.wait_for(starting, 60)
    await deliver(Inbox(database), row())
    await database.close()


async def test_postgresql_may_be_killed(own_server: Postgres) -> None:
    database = Database(at(own_server.url(), pool_size=4))
    await database.start()
    inbox = Inbox(database)
    await deliver(inbox, row())
    await asyncio.gather(*(inbox.status(ADA) for _ in range(20)))
    own_server.kill()
    with pytest.raises(ServiceUnavailableError):
        await inbox.status(ADA)
    with pytest.raises(ServiceUnavailableError):
        await inbox.deliver([row()])
    await asyncio.to_thread(own_server.run)
    assert await inbox.status(ADA) == (1, 0)
    await deliver(inbox, row())
    assert len(await everything(inbox)) == 2
    await database.close()


async def test_connections_lost_between_requests_are_not_noticed(
    postgres: Postgres,
) -> None:
    async with postgres.database() as url:
        database = Database(at(url, pool_size=3))
        await database.start()
        inbox = Inbox(database)
        for number in range(3):
            await asyncio.gather(*(inbox.status(ADA) for _ in range(6)))
            await terminate(postgres, url)
            await deliver(inbox, row())
            await terminate(postgres, url)
            assert await inbox.status(ADA) == (number + 1, 0)
        await database.close()


async def test_work_is_repeated_when_its_connection_is_lost(postgres: Postgres) -> None:
    async with postgres.database() as url:
        database = Database(at(url))
        await database.start()
        attempts = 0

        async def work(connection: AsyncConnection) -> int:
            nonlocal attempts
            attempts += 1
            await connection.execute(select(func.count()).select_from(notification))
            if attempts == 1:
                await terminate(postgres, url)
            return int((await connection.execute(select(1))).scalar_one())

        assert await database.write(work) == 1
        assert attempts == 2
        await database.close()


async def test_slow_statement_is_an_absence(postgres: Postgres) -> None:
    async with postgres.database() as url:
        database = Database(at(url, statement_timeout=0.3))
        await database.start()

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(select(func.pg_sleep(60)))

        with pytest.raises(ServiceUnavailableError):
            await database.read(work)
        assert await Inbox(database).status(ADA) == (0, 0)
        await database.close()


async def test_wrong_password_is_waited_out_without_saying_it(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres.url("nowhere").replace("postgres@", "postgres:hunter2@", 1)
    database = Database(at(url, retry_interval=0.05))
    starting = asyncio.create_task(database.start())
    while not caplog.records:
        await asyncio.sleep(0.01)
    assert not starting.done()
    starting.cancel()
    assert 'database "nowhere" does not exist' in caplog.text
    assert "hunter2" not in caplog.text
    assert "hunter2" not in repr(at(url))
    await database.close()


@pytest.mark.parametrize("password", ["se/cret@127", "hunter2?x", "hun#ter2/"])
async def test_a_url_that_cannot_be_read_is_not_shown(password: str) -> None:
    database = Database(at(f"postgresql://user:{password}@127.0.0.1:1/inbox"))
    with pytest.raises(InvalidDatabaseURL, match="percent-encode") as caught:
        await database.start()
    shown = "".join(traceback.format_exception(caught.value))
    assert "cret" not in shown and "ter2" not in shown
    await database.close()


async def terminate(postgres: Postgres, url: str) -> None:
    """End all other connections to a database, as a failover does."""
    await postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        url=url,
    )
