"""The internal API over a socket, with an inbox in SQLite behind it; the operator's own client."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from notifications_operator.api.processor import NotificationProcessorSpec
from notifications_operator.catalog import Directory
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.filters import Filters, Page
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.matrix import SettingsMatrix
from notifications_operator.gateway.internal import bodies
from notifications_operator.gateway.internal import router as router_module
from notifications_operator.gateway.internal.bodies import BODY_LIMIT
from notifications_operator.gateway.internal.reviewer import TokenReviewer
from notifications_operator.gateway.internal.settings import InternalSettings
from notifications_operator.processors.base import (
    Environment,
    GatewayAddress,
    OutboundNotification,
    ProcessorContext,
    SendContext,
)
from notifications_operator.processors.errors import DeliveryError, Receipt, Skip
from notifications_operator.processors.inbox import InboxProcessor
from notifications_operator.processors.inbox.client import GatewayClient
from notifications_operator.processors.inbox.preferences import GatewayPreferences
from notifications_operator.processors.preferences import Question
from tests.support.internal_gateway import served, sqlite, stored
from tests.unit.gateway.internal.internal_builders import (
    AUDIENCE,
    OPERATOR,
    MemoryReviews,
    batch,
)
from tests.unit.processors.email.email_builders import notification

ADA, BOB = "user:default/ada", "user:default/bob"


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A gateway, and its operator's token in a file."""

    url: str
    inbox: Inbox
    database: Database
    address: GatewayAddress

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = "good"
    ) -> tuple[int, Mapping[str, Any]]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                f"{self.url}/internal/v1{path}",
                data=io.BytesIO(json.dumps(body).encode()),
                headers=headers,
            ) as answer,
        ):
            return answer.status, await answer.json()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    token = tmp_path / "token"
    token.write_text("good")
    reviews = MemoryReviews(
        users={
            ("good", AUDIENCE): OPERATOR,
            ("other", AUDIENCE): "system:serviceaccount:team-a:default",
        }
    )
    settings = InternalSettings(
        operator_namespace="notifications-system", operator_service_account="notifications"
    )
    async with sqlite(tmp_path / "inbox.db") as database:
        inbox = Inbox(database, channels=("Web", "Email"))
        async with served(inbox, TokenReviewer(reviews, settings)) as url:
            address = GatewayAddress(url=url, token_file=str(token))
            yield Gateway(url=url, inbox=inbox, database=database, address=address)


@pytest.fixture
async def processor(gateway: Gateway) -> AsyncIterator[InboxProcessor]:
    made = InboxProcessor.create(
        ProcessorContext(
            name="inbox",
            spec=NotificationProcessorSpec(type="inbox"),
            environment=Environment(gateway=gateway.address),
        )
    )
    yield made
    await made.close()


def sending(epoch: int = 1) -> SendContext:
    return SendContext(directory=Directory(()), epoch=epoch)


async def test_what_the_operator_sends_can_be_read(
    gateway: Gateway, processor: InboxProcessor
) -> None:
    await processor.verify()
    outbound = notification(
        topic="builds", scope="b1", icon="ci", metadata={"a": [1, None]}, description="ü\0\u202e"
    )
    assert (
        await processor.send(outbound, [ADA, BOB], sending()) == [Receipt(message="Inserted")] * 2
    )
    assert [user for user, *_ in await stored(gateway.database)] == [ADA, BOB]
    _, found = await gateway.inbox.list(ADA, Filters(), Page())
    (read,) = found
    assert (read.user, read.origin, read.created) == (ADA, "namespace:team-a", outbound.created)
    assert read.payload.to_json() == {
        "title": "Build failed",
        "description": "ü\ufffd\u202e",
        "link": None,
        "severity": "normal",
        "topic": "builds",
        "scope": "b1",
        "icon": "ci",
        "metadata": {"a": [1, None]},
    }


async def test_a_broadcast_is_one_row(gateway: Gateway, processor: InboxProcessor) -> None:
    outbound = notification(broadcast=True)
    for expected in ("Inserted", "Unchanged"):
        assert await processor.send(outbound, ["broadcast"], sending()) == [
            Receipt(message=expected)
        ]
    assert await stored(gateway.database) == [("", "Build failed", outbound.uid)]


async def test_scopes_update_in_the_order_of_their_making(
    gateway: Gateway, processor: InboxProcessor
) -> None:
    def version(revision: int, redelivery: int = 0) -> OutboundNotification:
        return notification(
            revision=revision, redelivery=redelivery, scope="s", title=f"{revision}.{redelivery}"
        )

    (late,) = await processor.send(version(2), [ADA], sending())
    (early,) = await processor.send(version(1), [ADA], sending())
    (again,) = await processor.send(version(2), [ADA], sending())
    (redelivered,) = await processor.send(version(2, 1), [ADA], sending())
    assert late == Receipt(message="Inserted")
    assert isinstance(early, Skip)
    assert early.reason == "Superseded"
    assert again == Receipt(message="Unchanged")
    assert redelivered == Receipt(message="Updated")
    assert [title for _, title, _ in await stored(gateway.database)] == ["2.1"]


async def test_a_former_leader_is_kept_out(gateway: Gateway, processor: InboxProcessor) -> None:
    await processor.send(notification(), [ADA], sending(epoch=4))
    (outcome,) = await processor.send(notification(), [BOB], sending(epoch=3))
    assert isinstance(outcome, DeliveryError)
    assert (outcome.reason, outcome.code) == ("PolicyDenied", 409)
    assert "epoch 3 is over" in outcome.message
    assert len(await stored(gateway.database)) == 1


async def test_users_settings_page_by_page(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "PAGE", 2)
    muted = SettingsMatrix.model_validate(
        {
            "channels": [
                {
                    "id": "Email",
                    "origins": [
                        {
                            "id": "namespace:ci",
                            "enabled": True,
                            "topics": [{"id": "builds", "enabled": False}],
                        }
                    ],
                }
            ]
        }
    )
    users = [f"user:default/u{number}" for number in range(5)]
    for user in users:
        await gateway.inbox.save_settings(user, muted)
    preferences = GatewayPreferences(GatewayClient(gateway.address, connections=1))
    try:
        builds = await preferences.ask(
            Question(origin="namespace:ci", topic="builds", channels=("Email", "Web"))
        )
        others = await preferences.ask(
            Question(origin="namespace:ci", topic=None, channels=("Email", "Web"))
        )
    finally:
        await preferences.close()
    assert [builds.wants(user, "Email") for user in [*users, ADA]] == [False] * 5 + [True]
    assert builds.wants(users[0], "Web")
    assert all(others.wants(user, "Email") for user in users)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/ready"), ("POST", "/deliveries"), ("POST", "/preferences")]
)
async def test_nobody_but_the_operator_is_let_in(gateway: Gateway, method: str, path: str) -> None:
    statuses = [
        (await gateway.ask(method, path, batch(), token=token))[0]
        for token in (None, "forged", "other")
    ]
    assert statuses == [401, 401, 403]
    assert await stored(gateway.database) == []


async def test_mistakes_are_named_in_the_envelope(gateway: Gateway) -> None:
    status, body = await gateway.ask("POST", "/deliveries", batch(notification__payload={}))
    assert status == 400
    assert body["error"]["name"] == "InputError"
    assert "notification.payload.title" in body["error"]["message"]
    status, body = await gateway.ask("POST", "/deliveries", {"x": "y" * BODY_LIMIT})
    assert (status, body["error"]["name"]) == (413, "PayloadTooLargeError")
    status, _ = await gateway.ask("GET", "/deliveries")
    assert status == 405


async def test_half_a_body_is_nobodys_fault(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = (
        "POST /internal/v1/deliveries HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n"
        "Authorization: Bearer good\r\n\r\n"
    )
    writer.write(head.encode() + b'{"epoch":')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    for _ in range(2):
        assert (await gateway.ask("GET", "/ready"))[0] == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_body_that_does_not_come_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    never = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{gateway.url}/internal/v1/deliveries",
            data=slow(),
            headers={"Authorization": "Bearer good"},
        ) as answer,
    ):
        assert answer.status == 400


async def test_a_database_that_is_away_is_said(gateway: Gateway, processor: InboxProcessor) -> None:
    await gateway.database.close()
    with pytest.raises(DeliveryError) as caught:
        await processor.verify()
    assert (caught.value.reason, caught.value.retry_after) == ("ServerBusy", 5)
    (outcome,) = await processor.send(notification(), [ADA], sending())
    assert isinstance(outcome, DeliveryError)
    assert outcome.reason == "ServerBusy"
