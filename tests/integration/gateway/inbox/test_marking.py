"""Read and saved: each by itself, of one's own alone, told to one's other pages."""

from __future__ import annotations

import asyncio

import pytest

from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.filters import Filters
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.types import Change
from tests.integration.gateway.inbox.builders import (
    ADA,
    ALL,
    BOB,
    EVERYBODY,
    Clock,
    deliver,
    only,
    row,
    signals,
    titles,
)


async def marks_told(database: Database) -> list[tuple[str, list[str]]]:
    return [
        (item.message["action"], item.message["notification_ids"])
        for item in await signals(database)
        if item.message["action"] != "new_notification"
    ]


@pytest.mark.parametrize("user", [ADA, EVERYBODY])
async def test_read_and_saved_are_independent(
    inbox: Inbox, database: Database, clock: Clock, user: str
) -> None:
    (id_,) = await deliver(inbox, row(user))
    read = clock.advance(minutes=1)
    (found,) = await inbox.update(ADA, [id_], read=True, saved=None)
    assert (found.read, found.saved) == (read, None)
    saved = clock.advance(minutes=1)
    (found,) = await inbox.update(ADA, [id_], read=None, saved=True)
    assert (found.read, found.saved) == (read, saved)
    (found,) = await inbox.update(ADA, [id_], read=False, saved=None)
    assert (found.read, found.saved) == (None, saved)
    both = clock.advance(minutes=1)
    (found,) = await inbox.update(ADA, [id_], read=True, saved=False)
    assert (found.read, found.saved) == (both, None)
    assert await only(inbox) == found
    assert await marks_told(database) == [
        ("notification_read", [str(id_)]),
        ("notification_unread", [str(id_)]),
        ("notification_read", [str(id_)]),
    ]


@pytest.mark.parametrize("user", [ADA, EVERYBODY])
async def test_marking_again_keeps_the_first_moment(
    inbox: Inbox, database: Database, clock: Clock, user: str
) -> None:
    (id_,) = await deliver(inbox, row(user))
    (first,) = await inbox.update(ADA, [id_], read=True, saved=True)
    told = await marks_told(database)
    clock.advance(minutes=1)
    (second,) = await inbox.update(ADA, [id_], read=True, saved=True)
    assert first == second
    assert await marks_told(database) == told


async def test_signals_name_those_that_changed(inbox: Inbox, database: Database) -> None:
    mine, other, theirs = await deliver(inbox, row(), row(), row(BOB))
    await inbox.update(ADA, [mine], read=True, saved=None)
    found = await inbox.update(ADA, [mine, other, theirs, other], read=True, saved=None)
    assert {item.id for item in found} == {mine, other}
    await inbox.update(ADA, [theirs], read=False, saved=True)
    assert await marks_told(database) == [
        ("notification_read", [str(mine)]),
        ("notification_read", [str(other)]),
    ]
    marks = [item for item in await signals(database) if "notification_ids" in item.message]
    assert {item.users for item in marks} == {(ADA,)}
    assert (await only(inbox, BOB)).saved is None


async def test_broadcast_is_read_by_each_for_himself(inbox: Inbox) -> None:
    (id_,) = await deliver(inbox, row(EVERYBODY))
    await inbox.update(ADA, [id_], read=True, saved=True)
    theirs = await only(inbox, BOB)
    assert (theirs.read, theirs.saved) == (None, None)
    assert await inbox.status(ADA) == (0, 1)
    assert await inbox.status(BOB) == (1, 0)


async def test_updated_broadcast_is_unread_again_and_stays_saved(
    inbox: Inbox, clock: Clock
) -> None:
    (id_,) = await deliver(inbox, row(EVERYBODY, scope="s"))
    (before,) = await inbox.update(ADA, [id_], read=True, saved=True)
    clock.advance(minutes=1)
    newer = row(EVERYBODY, scope="s", title="again", sequence=2)
    assert await inbox.deliver([newer]) == [(id_, Change.UPDATED)]
    found = await only(inbox)
    assert (found.read, found.saved) == (None, before.saved)
    assert await inbox.status(ADA) == (1, 0)
    assert await titles(inbox, filters=Filters(read=False)) == ["again"]
    again = clock.advance(minutes=1)
    (found,) = await inbox.update(ADA, [id_], read=True, saved=None)
    assert found.read == again
    assert await inbox.status(ADA) == (0, 1)


async def test_marking_what_is_not_there_is_nothing(inbox: Inbox, database: Database) -> None:
    (theirs,) = await deliver(inbox, row(BOB))
    assert await inbox.update(ADA, [], read=True, saved=True) == []
    assert await inbox.update(ADA, [theirs], read=True, saved=True) == []
    assert await marks_told(database) == []


async def test_many_are_marked_at_once(inbox: Inbox, database: Database) -> None:
    ids = await deliver(inbox, *(row() for _ in range(2100)))
    assert len(await inbox.update(ADA, ids, read=True, saved=None)) == 2100
    assert await inbox.status(ADA) == (0, 2100)
    told = [id_ for _, part in await marks_told(database) for id_ in part]
    assert sorted(told) == sorted(map(str, ids))


async def test_all_are_marked_read_in_one_request(
    inbox: Inbox, database: Database, clock: Clock
) -> None:
    mine, read, everyones, theirs = await deliver(inbox, row(), row(), row(EVERYBODY), row(BOB))
    first = clock.moment
    await inbox.update(ADA, [read], read=True, saved=None)
    clock.advance(minutes=1)
    assert await inbox.mark_all_read(ADA, ALL) == 2
    assert await inbox.status(ADA) == (0, 3)
    assert await inbox.status(BOB) == (2, 0)
    action, ids = (await marks_told(database))[-1]
    assert (action, set(ids)) == ("notification_read", {str(mine), str(everyones)})
    found = await inbox.get(ADA, read)
    assert found is not None
    assert found.read == first
    assert str(theirs) not in ids
    assert await inbox.mark_all_read(ADA, ALL) == 0


async def test_all_that_filters_leave_are_marked_read(inbox: Inbox) -> None:
    await deliver(
        inbox,
        row(title="a", topic="t"),
        row(title="b"),
        row(EVERYBODY, title="c", topic="t"),
        row(EVERYBODY, title="d"),
    )
    assert await inbox.mark_all_read(ADA, Filters(topic="t")) == 2
    assert set(await titles(inbox, filters=Filters(read=True))) == {"a", "c"}
    assert await inbox.mark_all_read(ADA, Filters(saved=True)) == 0


async def test_reading_at_the_same_time_is_told_once(inbox: Inbox, database: Database) -> None:
    ids = await deliver(inbox, *(row((ADA, EVERYBODY)[n % 2]) for n in range(40)))
    await inbox.status(ADA)
    await asyncio.gather(
        *(inbox.update(ADA, ids[::step], read=True, saved=None) for step in (1, -1) * 4),
        inbox.mark_all_read(ADA, ALL),
    )
    assert await inbox.status(ADA) == (0, 40)
    told = [id_ for _, part in await marks_told(database) for id_ in part]
    assert sorted(told) == sorted(map(str, ids))
