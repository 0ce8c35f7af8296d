"""Pages of an inbox: filters, search, order, counts, topics; and whose it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from notifications_operator.api.notification import Severity
from notifications_operator.gateway.inbox.filters import (
    ORDER_FIELDS,
    SEARCH_HEAD,
    Filters,
    Order,
    Page,
)
from notifications_operator.gateway.inbox.inbox import Inbox
from tests.integration.gateway.inbox.builders import (
    ADA,
    ALL,
    BEGIN,
    BOB,
    EVERYBODY,
    Clock,
    deliver,
    everything,
    row,
    titles,
)


async def test_newest_is_first_broadcasts_among_them(inbox: Inbox, clock: Clock) -> None:
    for number, user in enumerate((ADA, EVERYBODY, BOB, ADA, EVERYBODY)):
        await deliver(inbox, row(user, title=str(number), created=BEGIN + timedelta(hours=number)))
    assert await titles(inbox) == ["4", "3", "1", "0"]


async def test_of_one_second_the_one_that_came_later_is_first(inbox: Inbox, clock: Clock) -> None:
    for number in range(8):
        clock.advance(milliseconds=1)
        await deliver(inbox, row((ADA, EVERYBODY)[number % 2], title=str(number)))
    assert await titles(inbox) == list("76543210")


async def test_pages_follow_each_other(inbox: Inbox) -> None:
    rows = [
        row(
            (ADA, EVERYBODY)[number % 2],
            title=f"{number:02}",
            created=BEGIN + timedelta(hours=number),
        )
        for number in range(25)
    ]
    await deliver(inbox, *rows)
    seen: list[str] = []
    for offset in range(0, 30, 10):
        total, found = await inbox.list(ADA, ALL, Page(limit=10, offset=offset))
        assert total == 25
        seen += [item.payload.title for item in found]
    assert seen == [f"{number:02}" for number in reversed(range(25))]


async def test_limits_and_offsets(inbox: Inbox) -> None:
    await deliver(inbox, *(row() for _ in range(3)))
    assert await inbox.list(ADA, ALL, Page(limit=0)) == (3, [])
    assert await inbox.list(ADA, ALL, Page(limit=5, offset=9)) == (3, [])
    assert len(await everything(inbox, page=Page(offset=1))) == 2
    assert len(await everything(inbox)) == 3


async def test_a_search_counts_what_is_not_on_the_page(inbox: Inbox) -> None:
    long = "x" * 1000 + " needle"
    for number, description in enumerate(["needle", long, "a straw"]):
        await deliver(inbox, row(title=f"n{number}", description=description))
    await deliver(inbox, row(EVERYBODY, title="a broadcast", description="needle"))
    needles = Filters(search="needle")
    for page in (Page(limit=0), Page(limit=5, offset=9)):
        assert await inbox.list(ADA, needles, page) == (3, [])
    total, found = await inbox.list(ADA, needles, Page(limit=2))
    assert (total, len(found)) == (3, 2)
    assert await inbox.list(ADA, Filters(search="thread"), Page(limit=5)) == (0, [])


ASCENDING = {
    "created": "bca",
    "topic": "cab",
    "origin": "cba",
    "severity": "acb",  # Not by letters: that were "abc".
    "title": "abc",
    "updated": "bac",
    "read": "bac",
    "saved": "acb",
    "scope": "bca",
    "icon": "cab",
}


async def deliver_three(inbox: Inbox, clock: Clock) -> None:
    """Deliver what each field that is not the user or the id sorts in an order of its own."""
    later = [BEGIN + timedelta(hours=hours) for hours in range(3)]
    rows = {
        "a": row(
            title="a", created=later[2], topic="2", origin="plugin:3",
            severity=Severity.CRITICAL, scope="3", icon="2",
        ),
        "b": row(
            EVERYBODY, title="b", created=later[0], topic="3", origin="plugin:2",
            severity=Severity.LOW, scope="1", icon="3",
        ),
        "c": row(
            title="c", created=later[1], topic="1", origin="plugin:1",
            severity=Severity.NORMAL, scope="2", icon="1",
        ),
    }  # fmt: skip
    ids = dict(zip(rows, await deliver(inbox, *rows.values()), strict=True))
    for name in "bac":
        clock.advance(minutes=1)
        await inbox.deliver([replace(rows[name], sequence=2, identity=uuid4().hex)])
    for name in "bac":
        clock.advance(minutes=1)
        await inbox.update(ADA, [ids[name]], read=True, saved=None)
    for name in "acb":
        clock.advance(minutes=1)
        await inbox.update(ADA, [ids[name]], read=None, saved=True)


async def test_every_order_field_sorts(inbox: Inbox, clock: Clock) -> None:
    assert {*ASCENDING, "user", "id"} == set(ORDER_FIELDS)
    await deliver_three(inbox, clock)
    for field, expected in ASCENDING.items():
        for descending in (False, True):
            page = Page(order=(Order(field=field, descending=descending),))
            found = "".join(await titles(inbox, page=page))
            assert found == (expected[::-1] if descending else expected), (field, descending)
    by_id = [item.id for item in await everything(inbox, page=Page(order=(Order(field="id"),)))]
    assert by_id == sorted(by_id)


@pytest.mark.parametrize("field", ["topic", "updated", "read", "saved", "scope", "icon"])
async def test_what_is_not_set_is_the_greatest(inbox: Inbox, clock: Clock, field: str) -> None:
    """As PostgreSQL sorts by default, whichever database it is."""
    await deliver_three(inbox, clock)
    await deliver(inbox, row(title="none"), row(EVERYBODY, title="none"))
    order = Page(order=(Order(field=field),))
    assert await titles(inbox, page=order) == [*ASCENDING[field], "none", "none"]
    order = Page(limit=3, order=(Order(field=field, descending=True),))
    assert await titles(inbox, page=order) == ["none", "none", ASCENDING[field][-1]]


async def test_everybody_is_a_user_that_is_not_set(inbox: Inbox) -> None:
    await deliver(inbox, row(EVERYBODY), row(), row(EVERYBODY), row())
    for descending, expected in ((False, [ADA, ADA, None, None]), (True, [None, None, ADA, ADA])):
        for limit in (None, 4):
            page = Page(limit=limit, order=(Order(field="user", descending=descending),))
            assert [item.user for item in await everything(inbox, page=page)] == expected


async def test_orders_are_compound(inbox: Inbox) -> None:
    await deliver(
        inbox,
        row(title="1", topic="b", severity=Severity.HIGH),
        row(title="2", topic="a", severity=Severity.LOW),
        row(EVERYBODY, title="3", topic="a", severity=Severity.NORMAL),
    )
    order = Page(limit=2, order=(Order(field="topic"), Order(field="severity")))
    assert await titles(inbox, page=order) == ["3", "2"]


async def test_filters(inbox: Inbox) -> None:
    read, saved, _, _ = await deliver(
        inbox,
        row(title="read", topic="a", severity=Severity.LOW),
        row(EVERYBODY, title="saved", topic="b", severity=Severity.HIGH),
        row(title="new", topic="a", severity=Severity.CRITICAL, created=BEGIN + timedelta(days=1)),
        row(BOB, title="others"),
    )
    await inbox.update(ADA, [read], read=True, saved=None)
    await inbox.update(ADA, [saved], read=None, saved=True)

    async def found(filters: Filters) -> set[str]:
        total, items = await inbox.list(ADA, filters, Page(limit=10))
        assert total == len(items)
        return {item.payload.title for item in items}

    assert await found(ALL) == {"read", "saved", "new"}
    assert await found(Filters(read=True)) == {"read"}
    assert await found(Filters(read=False)) == {"saved", "new"}
    assert await found(Filters(saved=True)) == {"saved"}
    assert await found(Filters(saved=False)) == {"read", "new"}
    assert await found(Filters(topic="a")) == {"read", "new"}
    assert await found(Filters(topic="A")) == set()
    assert await found(Filters(minimum_severity=Severity.HIGH)) == {"saved", "new"}
    assert await found(Filters(minimum_severity=Severity.LOW)) == {"read", "saved", "new"}
    assert await found(Filters(created_after=BEGIN)) == {"read", "saved", "new"}
    assert await found(Filters(created_after=BEGIN + timedelta(milliseconds=1))) == {"new"}
    assert await found(Filters(topic="a", read=False)) == {"new"}


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("build", {"Build 100% done", "other"}),
        ("BUILD", {"Build 100% done", "other"}),
        ("100%", {"Build 100% done"}),
        ("%", {"Build 100% done"}),
        ("_", {"snake_case"}),
        ("\\", {"back\\slash"}),
        ("ärger", {"ÄRGER"}),
        ("'; DROP TABLE notification; --", set()),
        ("nothing", set()),
    ],
)
async def test_search_is_literal_and_ignores_case(
    inbox: Inbox, search: str, expected: set[str]
) -> None:
    await deliver(
        inbox,
        row(title="Build 100% done"),
        row(EVERYBODY, title="other", description="the build of today"),
        row(title="snake_case"),
        row(title="back\\slash"),
        row(title="ÄRGER"),
    )
    assert set(await titles(inbox, filters=Filters(search=search))) == expected


@pytest.mark.parametrize("user", [ADA, EVERYBODY])
async def test_long_texts_are_searched_to_the_end_and_found_once(inbox: Inbox, user: str) -> None:
    for title, before in (("begin", 0), ("across", SEARCH_HEAD - 12), ("end", 30_000)):
        await deliver(
            inbox,
            row(user, title=title, description=f"{'x' * before} Needle {'y' * 500}", topic=title),
            row(user, title=f"{title} twice", description=f"needle {'x' * 5000} needle"),
        )
    await deliver(inbox, row(user, title="none", description="z" * 5000))
    found = Filters(search="NEEDLE")
    for page in (Page(), Page(limit=20), Page(limit=20, order=(Order(field="title"),))):
        total, items = await inbox.list(ADA, found, page)
        assert total == 6
        assert len(items) == len({item.id for item in items}) == 6
    assert await inbox.topics(ADA, found) == ["across", "begin", "end"]
    assert await inbox.mark_all_read(ADA, found) == 6


async def test_topics_are_those_of_the_filtered(inbox: Inbox) -> None:
    read, *_ = await deliver(
        inbox,
        row(topic="b", severity=Severity.LOW),
        row(topic="b"),
        row(topic=None),
        row(EVERYBODY, topic="a"),
        row(BOB, topic="others"),
    )
    await inbox.update(ADA, [read], read=True, saved=None)
    assert await inbox.topics(ADA, ALL) == ["a", "b"]
    assert await inbox.topics(ADA, Filters(read=True)) == ["b"]
    assert await inbox.topics(ADA, Filters(search="nothing")) == []


async def test_status_counts_own_and_broadcasts(inbox: Inbox) -> None:
    mine, _, everyones, _ = await deliver(inbox, row(), row(), row(EVERYBODY), row(EVERYBODY))
    assert await inbox.status(ADA) == (4, 0)
    await inbox.update(ADA, [mine, everyones], read=True, saved=None)
    assert await inbox.status(ADA) == (2, 2)
    assert await inbox.status(BOB) == (2, 0)


async def test_others_notifications_are_never_seen(inbox: Inbox) -> None:
    theirs, everyones = await deliver(inbox, row(BOB, title="secret"), row(EVERYBODY))
    assert await inbox.get(ADA, theirs) is None
    assert await inbox.get(ADA, uuid4()) is None
    assert (await inbox.get(BOB, theirs)) is not None
    assert (await inbox.get(ADA, everyones)) is not None
    assert "secret" not in await titles(inbox)
    assert await inbox.update(ADA, [theirs], read=None, saved=None) == []


async def test_find_looks_for_all_in_the_order_asked(inbox: Inbox) -> None:
    ids = await deliver(inbox, row(ADA), row(BOB), row(EVERYBODY))
    found = await inbox.find([*reversed(ids), uuid4(), ids[0]])
    assert [item.id for item in found] == ids[::-1]
    assert [item.user for item in found] == [None, BOB, ADA]


async def test_a_new_user_does_not_get_what_was_broadcast_long_ago(
    inbox: Inbox, clock: Clock
) -> None:
    await deliver(inbox, row(EVERYBODY, title="old", scope="s"), row(ADA, title="mine"))
    assert set(await titles(inbox, ADA)) == {"old", "mine"}
    clock.advance(days=31)
    await deliver(inbox, row(EVERYBODY, title="new"))
    assert set(await titles(inbox, ADA)) == {"old", "mine", "new"}, "who was there keeps it"
    assert await titles(inbox, BOB) == ["new"]
    assert await inbox.status(BOB) == (1, 0)
    clock.advance(days=100)
    assert await titles(inbox, BOB) == ["new"]
    await inbox.deliver([row(EVERYBODY, title="old again", scope="s", sequence=2)])
    assert set(await titles(inbox, BOB)) == {"new", "old again"}, "it was said again"
