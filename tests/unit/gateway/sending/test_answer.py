"""The rows of an answer: read if they are there in time, predicted if not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest

from notifications_operator.gateway.errors import ServiceUnavailableError
from notifications_operator.gateway.inbox.types import InboxNotification
from notifications_operator.gateway.sending.answer import Answers
from notifications_operator.gateway.sending.request import parse_request
from notifications_operator.gateway.sending.sender import Stored

CREATED = datetime(2030, 1, 31, 18, tzinfo=UTC)
STORED = Stored(namespace="inbox", name="rest-a", uid="uid-1", created=CREATED, repeated=False)


def row_id(*, origin: str, scope: str | None, uid: str, user: str) -> UUID:
    return uuid5(NAMESPACE_URL, repr((origin, scope, user) if scope else (uid, user)))


class Table:
    """Rows that are there from the so-manieth look on."""

    def __init__(
        self, *rows: InboxNotification, after: int = 0, muted: frozenset[str] = frozenset()
    ) -> None:
        self.rows = {row.id: row for row in rows}
        self.after = after
        self.muted = muted
        self.looks: list[Sequence[UUID]] = []

    async def find(self, ids: Sequence[UUID], /) -> Sequence[InboxNotification]:
        self.looks.append(ids)
        if len(self.looks) <= self.after:
            return []
        return [self.rows[id_] for id_ in ids if id_ in self.rows]

    async def muted_by(
        self, users: Sequence[str], *, origin: str, topic: str | None
    ) -> frozenset[str]:
        assert (origin, topic) == ("external:build", "muted") or not self.muted
        return self.muted & frozenset(users)


async def answer(
    recipients: dict[str, Any],
    rows: Table | None = None,
    *,
    wait: bool = True,
    timeout: float = 0.2,
    **payload: Any,
) -> list[InboxNotification]:
    request = parse_request({"recipients": recipients, "payload": {"title": "T", **payload}})
    answers = Answers(row_id=row_id, rows=rows, timeout=timeout)
    return await answers.answer(request, STORED, origin="external:build", wait=wait)


BROADCAST = {"type": "broadcast"}
TWO = {"type": "entity", "entityRef": ["user:Default/Ada", "group:x", "user:bob", "user:ada"]}


async def test_a_broadcast_is_one_row_of_nobody() -> None:
    (row,) = await answer(BROADCAST, topic="t")
    assert row.to_json() == {
        "id": str(row_id(origin="", scope=None, uid="uid-1", user="")),
        "user": None,
        "created": "2030-01-31T18:00:00.000Z",
        "updated": None,
        "read": None,
        "saved": None,
        "origin": "external:build",
        "payload": {
            "title": "T",
            "description": None,
            "link": None,
            "severity": "normal",
            "topic": "t",
            "scope": None,
            "icon": None,
            "metadata": None,
        },
    }


async def test_users_that_are_named_are_sure() -> None:
    assert [row.user for row in await answer(TWO)] == ["user:default/ada", "user:default/bob"]
    excluding = {**TWO, "excludeEntityRef": "user:BOB"}
    assert [row.user for row in await answer(excluding)] == ["user:default/ada"]


async def test_a_group_is_not_waited_for() -> None:
    table = Table()
    assert await answer({"type": "entity", "entityRef": "group:x"}, table) == []
    assert table.looks == []


async def test_rows_are_read_as_soon_as_they_are_there() -> None:
    (predicted,) = await answer(BROADCAST)
    written = replace(predicted, created=CREATED + timedelta(milliseconds=5))
    table = Table(written, after=2)
    assert await answer(BROADCAST, table, timeout=30) == [written]
    assert len(table.looks) == 3


async def test_only_what_is_missing_is_looked_for() -> None:
    ada, bob = await answer(TWO)
    read = replace(ada, read=CREATED)
    table = Table(read)
    assert await answer(TWO, table) == [read, bob]
    assert len(table.looks[0]) == 2
    assert table.looks[-1] == [bob.id]


async def test_who_muted_the_inbox_is_neither_waited_for_nor_answered() -> None:
    ada, bob = await answer(TWO, topic="muted")
    table = Table(bob, muted=frozenset({"user:default/ada", "user:default/eve"}))
    assert await answer(TWO, table, timeout=30, topic="muted") == [bob]
    nobody = Table(muted=frozenset({"user:default/ada", "user:default/bob"}))
    assert await answer(TWO, nobody, timeout=30, topic="muted") == []
    (row,) = await answer(BROADCAST, nobody, topic="muted")
    assert row.user is None
    assert ada.id not in table.looks[0]


async def test_nothing_is_waited_for_if_that_is_preferred() -> None:
    table = Table()
    assert len(await answer(BROADCAST, table, wait=False)) == 1
    assert table.looks == []


@pytest.mark.parametrize(
    "difference",
    [{"created": CREATED - timedelta(days=1)}, {"title": "Earlier"}],
)
async def test_the_row_of_an_earlier_one_in_the_scope_is_not_the_answer(
    difference: dict[str, Any],
) -> None:
    (predicted,) = await answer(BROADCAST, scope="s")
    earlier = replace(
        predicted,
        created=difference.get("created", CREATED),
        payload=replace(predicted.payload, title=difference.get("title", "T")),
        read=CREATED,
    )
    assert await answer(BROADCAST, Table(earlier), scope="s") == [predicted]
    current = replace(earlier, payload=predicted.payload, updated=CREATED, read=None)
    assert await answer(BROADCAST, Table(current), scope="s", timeout=30) == [current]


async def test_without_the_database_it_is_predicted() -> None:
    class Away:
        async def find(self, ids: Sequence[UUID], /) -> Sequence[InboxNotification]:
            raise ServiceUnavailableError("The inbox is away", retry_after=5)

        async def muted_by(
            self, users: Sequence[str], *, origin: str, topic: str | None
        ) -> frozenset[str]:
            raise ServiceUnavailableError("The inbox is away", retry_after=5)

    answers = Answers(row_id=row_id, rows=Away(), timeout=30)
    for recipients, users in ((BROADCAST, [None]), (TWO, ["user:default/ada", "user:default/bob"])):
        request = parse_request({"recipients": recipients, "payload": {"title": "T"}})
        rows = await answers.answer(request, STORED, origin="o", wait=True)
        assert [row.user for row in rows] == users
