"""What the internal API takes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request

from notifications_operator.gateway.errors import InputError, PayloadTooLargeError
from notifications_operator.gateway.inbox.types import pack_sequence
from notifications_operator.gateway.internal.bodies import (
    BODY_LIMIT,
    Batch,
    Question,
    read_body,
)
from tests.unit.gateway.internal.internal_builders import IDENTITY, batch

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def request(*chunks: bytes) -> Request:
    """Make a request whose body comes in chunks; more than is read is a mistake."""

    async def messages() -> AsyncIterator[dict[str, Any]]:
        for chunk in chunks:
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    source = messages()

    async def receive() -> dict[str, Any]:
        return await anext(source)

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


async def read(body: Any) -> Batch:
    return await read_body(request(json.dumps(body).encode()), Batch)


async def test_a_batch_becomes_rows() -> None:
    body = batch(
        notification__revision=2,
        notification__redelivery=3,
        notification__payload={
            "title": "T",
            "description": None,
            "link": "/x",
            "severity": "high",
            "topic": "builds",
            "scope": "s",
            "icon": "i",
            "metadata": {"a": [None, 1]},
        },
        rows=[
            {"user": "user:default/ada", "identity": IDENTITY},
            {"user": "", "identity": IDENTITY[::-1]},
        ],
    )
    ada, everybody = (await read(body)).to_rows()
    assert (ada.user, ada.identity) == ("user:default/ada", IDENTITY)
    assert (everybody.user, everybody.identity) == ("", IDENTITY[::-1])
    for row in (ada, everybody):
        assert row.uid == body["notification"]["uid"]
        assert (row.origin, row.created) == ("namespace:team-a", CREATED)
        assert row.sequence == pack_sequence(CREATED, 5)
        assert row.payload.to_json() == body["notification"]["payload"]


async def test_what_was_edited_later_comes_later() -> None:
    async def sequence(**changes: Any) -> int:
        (row,) = (await read(batch(**changes))).to_rows()
        return row.sequence

    first = await sequence()
    edited = await sequence(notification__revision=2)
    redelivered = await sequence(notification__revision=2, notification__redelivery=1)
    created_later = await sequence(notification__created="2026-03-04T05:06:08+00:00")
    assert first < edited < redelivered < created_later < 2**63
    assert await sequence(notification__created="2099-12-31T23:59:59Z") < 2**63


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"epoch": -1}, "epoch"),
        ({"epoch": "3"}, "epoch"),
        ({"epoch": 2**63}, "epoch"),
        ({"epoch": None}, "epoch"),
        ({"more": 1}, "more"),
        ({"rows": []}, "rows"),
        ({"rows": [{"user": "user:default/ada", "identity": IDENTITY}] * 2}, "one user twice"),
        ({"rows": [{"user": f"user:x/{n}", "identity": IDENTITY} for n in range(1001)]}, "rows"),
        ({"rows": [{"user": "group:default/a", "identity": IDENTITY}]}, "rows.0.user"),
        ({"rows": [{"user": "ada", "identity": IDENTITY}]}, "rows.0.user"),
        ({"rows": [{"user": "user:default/a\n", "identity": IDENTITY}]}, "rows.0.user"),
        ({"rows": [{"user": f"user:x/{'a' * 256}", "identity": IDENTITY}]}, "rows.0.user"),
        ({"rows": [{"user": "", "identity": "short"}]}, "rows.0.identity"),
        ({"rows": [{"user": "", "identity": IDENTITY.upper()}]}, "rows.0.identity"),
        ({"rows": [{"user": "", "identity": IDENTITY, "more": 1}]}, "rows.0.more"),
        ({"rows": {"user": ""}}, "rows"),
        ({"notification__uid": ""}, "notification.uid"),
        ({"notification__revision": 1.5}, "notification.revision"),
        ({"notification__created": "2026-03-04T05:06:07"}, "notification.created"),
        ({"notification__created": 1772600767}, "notification.created"),
        ({"notification__created": "9999-03-04T05:06:07Z"}, "notification.created"),
        ({"notification__payload": {}}, "notification.payload.title"),
        ({"notification__payload": {"title": "x" * 256}}, "notification.payload.title"),
        ({"notification__payload": {"title": "x", "more": 1}}, "notification.payload.more"),
        ({"notification__payload": {"title": "x", "severity": "HIGH"}}, "payload.severity"),
        ({"notification__payload": {"title": "x", "link": "//evil"}}, "payload.link"),
        ({"notification__payload": {"title": "x", "metadata": []}}, "payload.metadata"),
    ],
)
async def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        await read(batch(**changes))
    assert field in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"epoch": NaN}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        json.dumps(batch(notification__payload={"title": "\ud800"})).encode(),
    ],
    ids=["nothing", "half", "no UTF-8", "list", "null", "NaN", "deep", "half a character"],
)
async def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InputError):
        await read_body(request(text), Batch)


async def test_no_more_is_read_than_the_bound() -> None:
    served = []

    async def receive() -> dict[str, Any]:
        served.append(64 * 1024)
        return {"type": "http.request", "body": b" " * served[-1], "more_body": True}

    endless = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)
    with pytest.raises(PayloadTooLargeError, match=str(BODY_LIMIT)):
        await read_body(endless, Batch)
    assert sum(served) == BODY_LIMIT + 64 * 1024


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": ""},
        {"topic": "x" * 256},
        {"channels": []},
        {"channels": [""]},
        {"channels": ["x"] * 65},
        {"after": "x" * 257},
        {"limit": 5},
    ],
)
async def test_questions_are_bounded(changes: dict[str, Any]) -> None:
    good = {"origin": "namespace:a", "topic": None, "channels": ["Web"]}
    assert (await read_body(request(json.dumps(good).encode()), Question)).after is None
    with pytest.raises(InputError):
        await read_body(request(json.dumps({**good, **changes}).encode()), Question)
