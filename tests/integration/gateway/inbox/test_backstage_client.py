"""Backstage's own notifications client, from npm and unmodified, against the whole gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from notifications_operator.gateway.inbox.settings import DatabaseSettings
from tests.integration.gateway.inbox.builders import ADA, BOB, EVERYBODY
from tests.support.backstage import ClientError, NotificationsClient, notifications_client
from tests.support.gateway import (
    OPERATOR,
    OPERATOR_TOKEN,
    TOKEN,
    NotificationCluster,
    RunningGateway,
    running_gateway,
)
from tests.support.issuer import Issuer, issuing
from tests.support.issuer import no_proxy as no_proxy
from tests.unit.gateway.internal.internal_builders import batch

BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
"""Not long ago: who looks for the first time does not get old broadcasts."""

JSON = Mapping[str, Any]
Running = Callable[[str | None], AbstractAsyncContextManager[NotificationsClient]]
"""Runs a client that shows a token."""


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
async def gateway(
    tmp_path: Path, settings: DatabaseSettings, issuer: Issuer
) -> AsyncIterator[RunningGateway]:
    """A gateway on one of the databases, which trusts the issuer."""
    _, _, namespace, account = OPERATOR.split(":")
    async with running_gateway(
        tmp_path,
        NotificationCluster(),
        database={"url": settings.url.get_secret_value()},
        internal={"operator_namespace": namespace, "operator_service_account": account},
        oidc={"issuer": issuer.url, "audiences": ["notifications"], "allow_http": True},
    ) as running:
        async with asyncio.timeout(60):
            while "[+]database" not in (await running.internal.get("/readyz")).text:
                await asyncio.sleep(0.05)
        yield running


@pytest.fixture
def running(gateway: RunningGateway) -> Running:
    return lambda token: notifications_client(f"http://127.0.0.1:{gateway.port}", token=token)


@pytest.fixture
async def ada(running: Running, issuer: Issuer) -> AsyncIterator[NotificationsClient]:
    async with running(user_token(issuer, ADA)) as client:
        yield client


def user_token(issuer: Issuer, user: str, *, lifetime: int = 3600) -> str:
    """Return a token that is valid for so many seconds from now on."""
    now = int(time.time())
    claims = issuer.claims(backstage_entity_ref=user, iat=now - 7200, exp=now + lifetime)
    return issuer.key.sign(claims)


async def deliver(
    gateway: RunningGateway,
    title: str,
    *,
    user: str = ADA,
    origin: str = "plugin:builds",
    minutes: float = 0,
    **payload: object,
) -> None:
    """Hand a Notification over as the operator does; it was created minutes after `BEGIN`."""
    body = batch(
        notification__uid=str(uuid4()),
        notification__origin=origin,
        notification__created=(BEGIN + timedelta(minutes=minutes)).isoformat(),
        notification__payload={"title": title, **payload},
        rows=[{"user": user, "identity": uuid4().hex}],
    )
    response = await gateway.internal.post(
        "/internal/v1/deliveries",
        json=body,
        headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"},
    )
    assert response.json() == {"results": ["Inserted"]}, response.text


async def titles(client: NotificationsClient, **options: object) -> list[str]:
    """Return the titles that the client gets with its options."""
    answer = await client.call("getNotifications", options)
    return [item["payload"]["title"] for item in answer["notifications"]]


async def ids(client: NotificationsClient) -> dict[str, str]:
    """Return the ids by title."""
    answer = await client.call("getNotifications")
    return {item["payload"]["title"]: item["id"] for item in answer["notifications"]}


def after(minutes: float) -> str:
    return (BEGIN + timedelta(minutes=minutes)).isoformat()


def javascript(moment: datetime) -> str:
    """Return what ``Date.toISOString`` does."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"


async def test_a_notification_is_as_it_was_sent(
    gateway: RunningGateway, ada: NotificationsClient
) -> None:
    payload: dict[str, Any] = {
        "title": "Build </script> ü \u202e failed",
        "description": "of main",
        "link": "/builds/17",
        "severity": "high",
        "topic": "builds",
        "scope": "main",
        "icon": "ci",
        "metadata": {"a": [1, None]},
    }
    await deliver(gateway, **payload)
    answer = await ada.call("getNotifications")
    assert answer["totalCount"] == 1
    (found,) = answer["notifications"]
    assert found == {
        "id": found["id"],
        "user": ADA,
        "created": javascript(BEGIN),
        "updated": None,
        "read": None,
        "saved": None,
        "origin": "plugin:builds",
        "payload": payload,
    }
    assert await ada.call("getNotification", found["id"]) == found


async def test_pages(gateway: RunningGateway, ada: NotificationsClient) -> None:
    for number in range(5):
        await deliver(gateway, str(number), minutes=number)
    await deliver(gateway, "of another", user=BOB)
    assert await titles(ada) == ["4", "3", "2", "1", "0"]
    for options, expected in (
        ({"limit": 2}, ["4", "3"]),
        ({"limit": 2, "offset": 2}, ["2", "1"]),
        ({"limit": 2, "offset": 4}, ["0"]),
        ({"limit": 2, "offset": 6}, []),
        ({"limit": 0}, []),
        ({"offset": 3}, ["1", "0"]),
    ):
        answer = await ada.call("getNotifications", options)
        assert answer["totalCount"] == 5, options
        assert [item["payload"]["title"] for item in answer["notifications"]] == expected, options


async def deliver_several(gateway: RunningGateway, client: NotificationsClient) -> None:
    """Deliver what filters and orders tell apart: one is read, one saved, and one both."""
    await deliver(gateway, "Low", minutes=1, severity="low", topic="d", origin="plugin:b")
    await deliver(
        gateway,
        "Normal",
        minutes=2,
        severity="normal",
        topic="c",
        origin="plugin:d",
        description="ÄRGER & 100% a+b=c",
    )
    await deliver(gateway, "High", minutes=3, severity="high", topic="a", origin="plugin:c")
    await deliver(
        gateway,
        "Critical",
        minutes=4,
        severity="critical",
        topic="b & c",
        origin="plugin:a",
        user=EVERYBODY,
    )
    by_title = await ids(client)
    for title, marks in (
        ("Low", {"read": True}),
        ("High", {"saved": True}),
        ("Critical", {"read": True, "saved": True}),
    ):
        await client.call("updateNotifications", {"ids": [by_title[title]], **marks})


async def test_filters(gateway: RunningGateway, ada: NotificationsClient) -> None:
    await deliver_several(gateway, ada)
    topics = {"Low": "d", "Normal": "c", "High": "a", "Critical": "b & c"}
    cases: list[tuple[JSON, list[str]]] = [
        ({}, ["Critical", "High", "Normal", "Low"]),
        ({"search": "o"}, ["Normal", "Low"]),
        ({"search": "LOW"}, ["Low"]),
        ({"search": "ärger & 100% A+B=c"}, ["Normal"]),
        ({"search": "%"}, ["Normal"]),
        ({"search": ""}, ["Critical", "High", "Normal", "Low"]),
        ({"read": True}, ["Critical", "Low"]),
        ({"read": False}, ["High", "Normal"]),
        ({"saved": True}, ["Critical", "High"]),
        ({"saved": False}, ["Normal", "Low"]),
        ({"read": True, "saved": True}, ["Critical"]),
        ({"createdAfter": after(3)}, ["Critical", "High"]),
        ({"createdAfter": after(5)}, []),
        ({"createdAfter": "1970-01-01T00:00:00Z"}, ["Critical", "High", "Normal", "Low"]),
        ({"minimumSeverity": "low"}, ["Critical", "High", "Normal", "Low"]),
        ({"minimumSeverity": "normal"}, ["Critical", "High", "Normal"]),
        ({"minimumSeverity": "high"}, ["Critical", "High"]),
        ({"minimumSeverity": "critical"}, ["Critical"]),
        (
            {
                "search": "i",
                "read": False,
                "saved": True,
                "createdAfter": after(2),
                "minimumSeverity": "normal",
            },
            ["High"],
        ),
    ]
    for options, expected in cases:
        answer = await ada.call("getNotifications", options)
        found = [item["payload"]["title"] for item in answer["notifications"]]
        assert (answer["totalCount"], found) == (len(expected), expected), options
        answer = await ada.call("getTopics", options)
        assert answer == {"topics": sorted(topics[title] for title in expected)}, options
    assert await ada.call("getTopics") == {"topics": ["a", "b & c", "c", "d"]}
    for title, topic in topics.items():
        assert await titles(ada, topic=topic) == [title]
    assert await titles(ada, topic="B & C") == []
    assert await titles(ada, topic="a", read=True) == []


async def test_orders(gateway: RunningGateway, ada: NotificationsClient) -> None:
    await deliver_several(gateway, ada)
    for sort, ascending in (
        ("created", ["Low", "Normal", "High", "Critical"]),
        ("topic", ["High", "Critical", "Normal", "Low"]),
        ("origin", ["Critical", "Low", "High", "Normal"]),
    ):
        descending = ascending[::-1]
        assert await titles(ada, sort=sort, sortOrder="asc") == ascending
        assert await titles(ada, sort=sort, sortOrder="desc") == descending
        assert await titles(ada, sort=sort) == descending
        assert await titles(ada, sort=sort, limit=2, offset=1) == descending[1:3]


@pytest.mark.parametrize("user", [ADA, EVERYBODY], ids=["entity", "broadcast"])
async def test_marks(
    gateway: RunningGateway, ada: NotificationsClient, running: Running, issuer: Issuer, user: str
) -> None:
    await deliver(gateway, "Marked", user=user)
    await deliver(gateway, "Left alone", user=user)
    id_ = (await ids(ada))["Marked"]

    async def mark(**marks: bool) -> tuple[bool, bool]:
        """Returns whether it is read, and saved."""
        (found,) = await ada.call("updateNotifications", {"ids": [id_], **marks})
        assert found == await ada.call("getNotification", id_)
        for moment in filter(None, (found["read"], found["saved"])):
            assert datetime.fromisoformat(moment) > BEGIN
            assert moment.endswith("Z")
        return found["read"] is not None, found["saved"] is not None

    assert await ada.call("getStatus") == {"unread": 2, "read": 0}
    assert await mark(read=True) == (True, False)
    assert await ada.call("getStatus") == {"unread": 1, "read": 1}
    assert await mark(saved=True) == (True, True)
    assert await mark() == (True, True)
    assert await mark(read=False) == (False, True)
    assert await ada.call("getStatus") == {"unread": 2, "read": 0}
    assert await mark(saved=False) == (False, False)
    assert await mark(read=True, saved=True) == (True, True)
    assert await mark(read=False, saved=False) == (False, False)
    assert await mark(read=False, saved=True) == (False, True)
    assert await titles(ada, saved=True) == ["Marked"]
    async with running(user_token(issuer, BOB)) as bob:
        assert await titles(bob, saved=True) == []


async def test_several_are_marked_at_once(
    gateway: RunningGateway, ada: NotificationsClient
) -> None:
    for number in range(3):
        await deliver(gateway, str(number), user=(ADA, EVERYBODY)[number % 2])
    by_title = await ids(ada)
    marked = await ada.call("updateNotifications", {"ids": list(by_title.values()), "read": True})
    assert {item["id"] for item in marked} == set(by_title.values())
    assert await ada.call("getStatus") == {"unread": 0, "read": 3}
    assert await ada.call("updateNotifications", {"ids": [], "read": False}) == []
    assert await ada.call("getStatus") == {"unread": 0, "read": 3}


async def test_what_is_anothers(
    gateway: RunningGateway, ada: NotificationsClient, running: Running, issuer: Issuer
) -> None:
    await deliver(gateway, "Bob's", user=BOB, topic="secret")
    async with running(user_token(issuer, BOB)) as bob:
        id_ = (await ids(bob))["Bob's"]
        assert await ada.call("getNotifications") == {"totalCount": 0, "notifications": []}
        assert await ada.call("getTopics") == {"topics": []}
        assert await ada.call("getStatus") == {"unread": 0, "read": 0}
        assert (await ada.call("getNotificationSettings"))["channels"][0]["origins"] == []
        marks = {"ids": [id_], "read": True, "saved": True}
        assert await ada.call("updateNotifications", marks) == []
        with pytest.raises(ClientError, match="404"):
            await ada.call("getNotification", id_)
        found = await bob.call("getNotification", id_)
        assert (found["read"], found["saved"]) == (None, None)


async def test_settings(gateway: RunningGateway, ada: NotificationsClient) -> None:
    await deliver(gateway, "Muted", user=EVERYBODY, topic="a", origin="plugin:a", minutes=1)
    await deliver(gateway, "Wanted", user=EVERYBODY, topic="b", origin="plugin:a")
    shown = await ada.call("getNotificationSettings")
    origins = [
        {
            "id": "plugin:a",
            "enabled": True,
            "topics": [{"id": "a", "enabled": True}, {"id": "b", "enabled": True}],
        }
    ]
    usual = {"channels": [{"id": name, "origins": origins} for name in ("Web", "Email")]}
    assert shown == usual
    # As the card of the user's settings does: it sends the whole matrix.
    shown["channels"][0]["origins"][0]["topics"][0]["enabled"] = False
    assert await ada.call("updateNotificationSettings", shown) == shown
    assert await ada.call("getNotificationSettings") == shown
    assert await titles(ada) == ["Wanted"]
    assert await ada.call("getStatus") == {"unread": 1, "read": 0}
    assert await ada.call("getTopics") == {"topics": ["b"]}
    assert await ada.call("updateNotificationSettings", usual) == usual
    assert await titles(ada) == ["Muted", "Wanted"]


async def refused(
    client: NotificationsClient, status: int, name: str, method: str, *arguments: object
) -> str:
    """Call a method that is refused; returns the message of the cause."""
    with pytest.raises(ClientError) as caught:
        await client.call(method, *arguments)
    error = caught.value
    reason = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}[status]
    assert (error.name, error.status, error.status_text) == ("ResponseError", status, reason)
    assert str(error) == f"Request failed with {status} {reason}"
    assert error.cause is not None
    assert error.cause["name"] == name
    # The client made none of it up: it is what the gateway sent.
    assert error.body is not None
    assert error.body["error"] == error.cause
    assert error.body["response"] == {"statusCode": status}
    method = "POST" if method.startswith("update") else "GET"
    assert error.body["request"]["method"] == method
    assert error.body["request"]["url"].startswith("/api/notifications/")
    return error.cause["message"]


async def test_what_is_not_there(ada: NotificationsClient) -> None:
    for id_ in (str(uuid4()), "health", "1", "../status", "a?limit=1", "%00", "</script>", "ü"):
        await refused(ada, 404, "NotFoundError", "getNotification", id_)


async def test_wrong_arguments(ada: NotificationsClient) -> None:
    matrix = {"channels": [{"id": "Pigeon", "origins": []}]}
    cases: list[tuple[str, JSON, str]] = [
        ("getNotifications", {"limit": -1}, "limit"),
        ("getNotifications", {"limit": 1.5}, "limit"),
        ("getNotifications", {"offset": -1}, "offset"),
        ("getNotifications", {"sort": "secret"}, "cannot sort by 'secret'"),
        ("getNotifications", {"sort": "topic", "sortOrder": "up"}, "'up' is no direction"),
        ("getNotifications", {"minimumSeverity": "urgent"}, "minimumSeverity"),
        ("getNotifications", {"search": "\0"}, "search"),
        ("getNotifications", {"topic": "x" * 1001}, "topic"),
        ("getTopics", {"minimumSeverity": "urgent"}, "minimumSeverity"),
        ("updateNotifications", {"ids": ["1"], "read": True}, "'1' is no UUID"),
        ("updateNotifications", {"read": True}, "ids"),
        ("updateNotifications", {"ids": [], "read": "yes"}, "read"),
        ("updateNotificationSettings", matrix, "Invalid channel 'Pigeon'"),
        ("updateNotificationSettings", {"channels": 1}, "channels"),
    ]
    for method, argument, message in cases:
        assert message in await refused(ada, 400, "InputError", method, argument)


CALLS: list[tuple[str, list[object]]] = [
    ("getNotifications", []),
    ("getNotification", ["11111111-2222-3333-4444-555555555555"]),
    ("getStatus", []),
    ("getTopics", []),
    ("getNotificationSettings", []),
    ("updateNotifications", [{"ids": [], "read": True}]),
    ("updateNotificationSettings", [{"channels": []}]),
]


async def test_only_who_is_known_and_a_person_is_let_in(running: Running, issuer: Issuer) -> None:
    expired = user_token(issuer, ADA, lifetime=-3600)
    async with running(None) as client:
        for method, arguments in CALLS:
            message = await refused(client, 401, "AuthenticationError", method, *arguments)
            assert message == "Missing credentials"
        for token in ("not-a-token", expired):
            await client.show(token)
            for method, arguments in CALLS:
                await refused(client, 401, "AuthenticationError", method, *arguments)
        await client.show(TOKEN)
        for method, arguments in CALLS:
            message = await refused(client, 403, "NotAllowedError", method, *arguments)
            assert message == "This endpoint does not allow 'service' credentials"
        # The same client goes on once it has a good token.
        await client.show(user_token(issuer, ADA))
        assert await client.call("getStatus") == {"unread": 0, "read": 0}
