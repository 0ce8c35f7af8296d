"""What the operator delivers: overwritten by what is newer, never doubled, safe to repeat."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications_operator.api.notification import Severity
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.ids import row_id
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.matrix import SettingsMatrix
from notifications_operator.gateway.inbox.types import Change
from tests.integration.gateway.inbox.builders import (
    ADA,
    BEGIN,
    BOB,
    EVERYBODY,
    Clock,
    deliver,
    everything,
    only,
    row,
    signals,
)


async def test_row_is_kept_whole(inbox: Inbox) -> None:
    full = row(
        title="Build 7 failed",
        description="at step 3",
        link="/builds/7",
        severity=Severity.HIGH,
        topic="builds",
        scope="build-7",
        icon="docs",
        metadata={"build": {"number": 7, "tags": ["a", None, 1.5]}},
    )
    (id_,) = await deliver(inbox, full)
    found = await only(inbox)
    assert found.payload == full.payload
    assert (found.id, found.user, found.origin, found.created) == (id_, ADA, full.origin, BEGIN)
    assert (found.updated, found.read, found.saved) == (None, None, None)
    assert id_ == row_id(origin=full.origin, scope="build-7", uid=full.uid, user=ADA)


async def test_nothing_delivered_is_nothing(inbox: Inbox, database: Database) -> None:
    assert await inbox.deliver([]) == []
    assert await signals(database) == []


async def test_results_are_in_order_of_rows(inbox: Inbox) -> None:
    rows = [row(f"user:default/u{number}") for number in range(2500)]
    results = await inbox.deliver(rows)
    expected = [row_id(origin=r.origin, scope=None, uid=r.uid, user=r.user) for r in rows]
    assert [id_ for id_, _ in results] == expected
    assert {change for _, change in results} == {Change.INSERTED}


async def test_repeated_delivery_changes_nothing(
    inbox: Inbox, database: Database, clock: Clock
) -> None:
    first = row()
    (id_,) = await deliver(inbox, first)
    read = clock.advance(minutes=1)
    await inbox.update(ADA, [id_], read=True, saved=None)
    told = await signals(database)

    clock.advance(minutes=1)
    assert await inbox.deliver([first]) == [(id_, Change.UNCHANGED)]

    found = await only(inbox)
    assert (found.read, found.updated) == (read, None)
    assert await signals(database) == told


async def test_newer_delivery_updates(inbox: Inbox, database: Database, clock: Clock) -> None:
    first = row(scope="build-7", topic="t", description="d", link="/l", icon="i", metadata={"a": 1})
    (id_,) = await deliver(inbox, first)
    saved = clock.advance(minutes=1)
    await inbox.update(ADA, [id_], read=True, saved=True)
    second = row(
        scope="build-7", title="Build fixed", severity=Severity.LOW, sequence=2,
        created=clock.advance(minutes=1),
    )  # fmt: skip
    updated = clock.advance(minutes=1)

    assert await inbox.deliver([second]) == [(id_, Change.UPDATED)]

    found = await only(inbox)
    assert found.payload == second.payload, "what the update leaves out is gone"
    assert (found.created, found.updated, found.read, found.saved) == (BEGIN, updated, None, saved)
    last = (await signals(database))[-1]
    assert last.users == (ADA,)
    assert last.message["action"] == "new_notification"
    assert last.message["notification_id"] == str(id_)
    assert last.message["notification"] == found.to_json()


async def test_older_delivery_is_superseded(inbox: Inbox, database: Database, clock: Clock) -> None:
    newer, older = row(scope="s", title="new", sequence=2), row(scope="s", title="old", sequence=1)
    (id_,) = await deliver(inbox, newer)
    told = await signals(database)
    clock.advance(minutes=1)
    assert await inbox.deliver([older]) == [(id_, Change.SUPERSEDED)]
    found = await only(inbox)
    assert (found.payload.title, found.updated) == ("new", None)
    assert await signals(database) == told


async def test_one_batch_may_say_one_thing_often(inbox: Inbox, database: Database) -> None:
    old, new = row(scope="s", title="old", sequence=1), row(scope="s", title="new", sequence=2)
    other = row(BOB)
    results = await inbox.deliver([old, other, new, old, new])
    assert [change for _, change in results] == [
        Change.INSERTED,
        Change.INSERTED,
        Change.UPDATED,
        Change.SUPERSEDED,
        Change.UNCHANGED,
    ]
    assert (await only(inbox)).payload.title == "new"
    assert [item.users for item in await signals(database)] == [(ADA,), (BOB,)]


async def test_scope_is_of_origin_and_user(inbox: Inbox) -> None:
    keys = [(ADA, "plugin:a"), (ADA, "plugin:b"), (BOB, "plugin:a"), (EVERYBODY, "plugin:a")]
    first = await deliver(inbox, *(row(user, scope="s", origin=origin) for user, origin in keys))
    assert len(set(first)) == 4
    assert len(await everything(inbox, ADA)) == 3
    assert len(await everything(inbox, BOB)) == 2
    again = [row(user, scope="s", origin=origin, sequence=2) for user, origin in keys]
    assert await inbox.deliver(again) == [(id_, Change.UPDATED) for id_ in first]
    assert len(await everything(inbox, ADA)) == 3
    assert len(await everything(inbox, BOB)) == 2


@pytest.mark.parametrize("scope", [None, ""])
async def test_without_scope_every_notification_is_its_own(inbox: Inbox, scope: str) -> None:
    await deliver(inbox, row(scope=scope), row(scope=scope))
    found = await everything(inbox)
    assert [item.payload.scope for item in found] == [None, None]


async def test_edit_without_scope_updates(inbox: Inbox) -> None:
    first = row(uid="uid", title="first")
    (id_,) = await deliver(inbox, first)
    edited = row(uid="uid", title="edited", sequence=2)
    assert await inbox.deliver([edited]) == [(id_, Change.UPDATED)]
    assert (await only(inbox)).payload.title == "edited"


async def test_broadcast_is_one_row_and_one_signal(inbox: Inbox, database: Database) -> None:
    (id_,) = await deliver(inbox, row(EVERYBODY))
    for user in (ADA, BOB):
        found = await only(inbox, user)
        assert (found.id, found.user) == (id_, None)
    (told,) = await signals(database)
    assert told.users is None
    assert told.message["notification"]["user"] is None


async def test_long_notification_does_not_go_along_with_its_signal(
    inbox: Inbox, database: Database
) -> None:
    await deliver(inbox, row(description="x" * 5000), row(description="short"))
    long, short = (item.message for item in await signals(database))
    assert "notification" not in long
    assert "notification" in short


async def test_what_no_database_stores_is_replaced(inbox: Inbox) -> None:
    hostile = row(
        title="a\0b\ud83d",
        description="\ude00",
        topic="\0",
        scope="s\0",
        metadata={"k\ud800": ["\0", float("nan"), float("inf")]},
        identity="0" * 32,
    )
    await deliver(inbox, hostile, row(BOB))
    payload = (await only(inbox)).payload
    assert (payload.title, payload.description) == ("a\ufffdb\ufffd", "\ufffd")
    assert (payload.topic, payload.scope) == ("\ufffd", "s\ufffd")
    assert payload.metadata == {"k\ufffd": ["\0", None, None]}


async def test_whole_characters_are_kept(inbox: Inbox) -> None:
    await deliver(inbox, row(title="\u202eüß😀</script>\r\n", metadata={"😀": "é"}))
    payload = (await only(inbox)).payload
    assert payload.title == "\u202eüß😀</script>\r\n"
    assert payload.metadata == {"😀": "é"}


async def test_longest_texts_of_longest_characters_fit_into_the_indexes(inbox: Inbox) -> None:
    whole = Random(7).choices([chr(0x10000 + number) for number in range(60_000)], k=32_768)
    short = "".join(whole[:255])
    longest = row(
        f"user:{'n' * 63}/{'u' * 63}", title=short, description="".join(whole), topic=short[::-1],
        scope=short, origin=short, icon=short,
    )  # fmt: skip
    await deliver(inbox, longest, row(EVERYBODY, title=short, topic=short[::-1], origin=short))
    assert len(await everything(inbox, longest.user)) == 2
    choice = {"id": short, "enabled": False}
    matrix = {"channels": [{"id": "Web", "origins": [choice | {"topics": [choice]}]}]}
    await inbox.save_settings(longest.user, SettingsMatrix.model_validate(matrix))
    assert len(await everything(inbox, longest.user)) == 1


async def test_concurrent_deliveries_of_one_scope_leave_one_row(inbox: Inbox) -> None:
    rows = [row(scope="s", title=str(number), sequence=number) for number in range(200)]

    async def client(number: int) -> list[Change]:
        mine = rows[number::20]
        return [change for one in mine for _, change in await inbox.deliver([one])]

    changes = await asyncio.gather(*(client(number) for number in range(20)))
    assert (await only(inbox)).payload.title == "199"
    assert [change for some in changes for change in some].count(Change.INSERTED) == 1


async def test_concurrent_batches_in_opposite_order_all_end(inbox: Inbox) -> None:
    users = [f"user:default/u{number}" for number in range(50)]

    async def client(number: int) -> None:
        batch = [row(user, scope="s", sequence=number) for user in users]
        await inbox.deliver(batch[::-1] if number % 2 else batch)

    await asyncio.gather(*(client(number) for number in range(20)))
    for user in users[:3]:
        assert len(await everything(inbox, user)) == 1


DELIVERIES = st.lists(
    st.tuples(st.integers(min_value=1, max_value=3), st.sampled_from("abc")), min_size=1, max_size=6
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=DELIVERIES, data=st.data())
async def test_any_order_and_repetition_ends_in_the_same_row(
    inbox: Inbox, deliveries: list[tuple[int, str]], data: st.DataObject
) -> None:
    scope, user = uuid4().hex, f"user:default/{uuid4().hex}"
    rows = [
        row(user, scope=scope, sequence=sequence, identity=f"{sequence}{name}", title=name)
        for sequence, name in deliveries
    ]
    again = data.draw(st.lists(st.sampled_from(rows), max_size=6))
    order = data.draw(st.permutations([*rows, *again]))
    batches = data.draw(st.lists(st.integers(min_value=0, max_value=len(order)), max_size=3))
    for begin, end in zip([0, *sorted(batches)], [*sorted(batches), len(order)], strict=True):
        await inbox.deliver(order[begin:end])

    winner = max(rows, key=lambda one: (one.sequence, one.identity))
    found = await only(inbox, user)
    assert found.payload == winner.payload
    repeated = await inbox.deliver([winner])
    assert repeated == [(found.id, Change.UNCHANGED)]
    for one in rows:
        if one.identity != winner.identity:
            assert await inbox.deliver([one]) == [(found.id, Change.SUPERSEDED)]
    assert await only(inbox, user) == found


async def test_created_is_kept_in_milliseconds(inbox: Inbox) -> None:
    exact = BEGIN.replace(microsecond=123_999)
    await deliver(inbox, replace(row(), created=exact))
    assert (await only(inbox)).created == BEGIN.replace(microsecond=123_000)
