"""What is old goes at midnight, what is saved stays, and one process is enough."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from unittest.mock import AsyncMock

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.errors import ServiceUnavailableError
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.retention import Retention
from notifications_operator.gateway.inbox.settings import RetentionSettings
from notifications_operator.gateway.inbox.tables import broadcast_status
from tests.integration.gateway.inbox.builders import (
    ADA,
    BEGIN,
    BOB,
    EVERYBODY,
    Clock,
    deliver,
    row,
    titles,
)

DAY = timedelta(days=1)


def retention(
    inbox: Inbox, database: Database, clock: Clock, *, batch: int = 1000, age: object = "10d"
) -> Retention:
    settings = RetentionSettings.model_validate({"age": age, "batch": batch})
    return Retention(inbox, database, settings, clock=clock, sleep=AsyncMock())


async def test_old_ones_are_deleted_in_batches(
    inbox: Inbox, database: Database, clock: Clock
) -> None:
    await deliver(
        inbox,
        *(row((ADA, EVERYBODY)[n % 2], created=BEGIN - 10 * DAY - DAY / 24) for n in range(25)),
        row(title="young", created=BEGIN - 9 * DAY),
    )
    assert await retention(inbox, database, clock, batch=7).clean() == 25
    assert await titles(inbox) == ["young"]
    assert await retention(inbox, database, clock).clean() == 0


async def test_saved_ones_are_kept(inbox: Inbox, database: Database, clock: Clock) -> None:
    mine, everyones, theirs, _ = await deliver(
        inbox,
        row(title="mine"),
        row(EVERYBODY, title="everyone's"),
        row(BOB, title="theirs"),
        row(EVERYBODY, title="gone"),
    )
    await inbox.update(ADA, [mine], read=None, saved=True)
    await inbox.update(BOB, [everyones], read=None, saved=True)
    await inbox.update(BOB, [theirs], read=True, saved=False)
    clock.advance(days=20)
    assert await retention(inbox, database, clock).clean() == 2
    assert set(await titles(inbox, ADA)) == {"mine", "everyone's"}
    await inbox.update(BOB, [everyones], read=None, saved=False)
    assert await retention(inbox, database, clock).clean() == 1


async def test_age_counts_from_the_last_update(
    inbox: Inbox, database: Database, clock: Clock
) -> None:
    await deliver(inbox, row(scope="s"))
    clock.advance(days=9)
    await inbox.deliver([row(scope="s", title="again", sequence=2)])
    clock.advance(days=9)
    assert await retention(inbox, database, clock).clean() == 0
    clock.advance(days=2)
    assert await retention(inbox, database, clock).clean() == 1


async def test_what_was_done_with_a_broadcast_goes_with_it(
    inbox: Inbox, database: Database, clock: Clock
) -> None:
    (id_,) = await deliver(inbox, row(EVERYBODY))
    await inbox.update(ADA, [id_], read=True, saved=None)
    clock.advance(days=20)
    assert await retention(inbox, database, clock).clean() == 1

    async def work(connection: AsyncConnection) -> int:
        count = select(func.count()).select_from(broadcast_status)
        return (await connection.execute(count)).scalar_one()

    assert await database.read(work) == 0


async def test_false_keeps_all(inbox: Inbox, database: Database, clock: Clock) -> None:
    await deliver(inbox, row())
    clock.advance(days=100_000)
    keeping = retention(inbox, database, clock, age=False)
    assert await keeping.clean() == 0
    await asyncio.wait_for(keeping.run(), 10)
    assert await titles(inbox) == ["Build failed"]


async def test_of_several_processes_one_deletes(
    inbox: Inbox, database: Database, clock: Clock
) -> None:
    if database.dialect == "sqlite":
        async with database.alone(1) as first, database.alone(1) as second:
            assert (first, second) == (True, True), "the file's lock has seen to it"
        return
    async with database.alone(1) as first, database.alone(1) as second, database.alone(2) as other:
        assert (first, second, other) == (True, False, True)
    async with database.alone(1) as again:
        assert again


async def test_it_runs_at_midnight_and_again_when_the_database_is_back(
    inbox: Inbox, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[datetime] = []
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        clock.advance(seconds=seconds)
        slept.append(clock.moment)
        if len(slept) > 4:
            enough.set()
            await asyncio.Event().wait()

    settings = RetentionSettings.model_validate({"age": {"days": 1}})
    cleaner = Retention(inbox, database, settings, clock=clock, sleep=sleep)
    await deliver(inbox, row())
    delete = inbox.delete_expired
    refusals = iter([True, False])

    async def refuse_first(*, before: datetime, limit: int) -> int:
        if next(refusals, False):
            raise ServiceUnavailableError("away", retry_after=5)
        return await delete(before=before, limit=limit)

    monkeypatch.setattr(inbox, "delete_expired", refuse_first)
    running = asyncio.create_task(cleaner.run())
    await asyncio.wait_for(enough.wait(), 60)
    running.cancel()
    midnight = BEGIN.replace(hour=0) + DAY
    assert slept[:3] == [
        midnight,
        midnight + timedelta(minutes=1),
        midnight + DAY,
    ]
    assert await titles(inbox) == []
