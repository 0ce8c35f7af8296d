"""The inbox processor against a gateway over a socket, one that misbehaves among others."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from notifications_operator.api.processor import NotificationProcessorSpec
from notifications_operator.catalog import Directory
from notifications_operator.processors.base import (
    Environment,
    GatewayAddress,
    OutboundNotification,
    ProcessorContext,
    SendContext,
    delivery_identity,
)
from notifications_operator.processors.errors import (
    DeliveryError,
    LeaseLost,
    Outcome,
    Receipt,
    Scope,
    Skip,
)
from notifications_operator.processors.inbox import InboxProcessor
from notifications_operator.processors.inbox.client import ANSWER_LIMIT, GatewayClient
from tests.support.gateway_peer import (
    TOKEN,
    Answer,
    GatewayPeer,
    gateway_peer,
    hang_up,
    refuse,
    reply,
)
from tests.unit.processors.email.email_builders import notification

ADA = "user:default/ada"
BOB = "user:default/bob"

Make = Callable[..., InboxProcessor]


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayPeer]:
    async with gateway_peer() as peer:
        yield peer


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
async def make(token_file: Path) -> AsyncIterator[Make]:
    """Make processors that are closed after the test."""
    processors: list[InboxProcessor] = []

    def make(url: str, *, timeout: float = 10) -> InboxProcessor:
        address = GatewayAddress(url=url, token_file=str(token_file))
        context = ProcessorContext(
            name="inbox",
            spec=NotificationProcessorSpec(type="inbox"),
            environment=Environment(gateway=address),
        )
        client = GatewayClient(address, connections=2, timeout=timeout)
        processors.append(InboxProcessor(context, client=client))
        return processors[-1]

    yield make
    for processor in processors:
        await processor.close()


async def send(
    processor: InboxProcessor,
    *recipients: str,
    outbound: OutboundNotification | None = None,
    epoch: int = 7,
    leads: bool = True,
) -> Sequence[Outcome]:
    context = SendContext(directory=Directory(()), may_send=lambda: leads, epoch=epoch)
    return await processor.send(outbound or notification(), recipients, context)


async def failure(processor: InboxProcessor) -> DeliveryError:
    """Send to one user, which must fail; return how."""
    (outcome,) = await send(processor, ADA)
    assert isinstance(outcome, DeliveryError)
    return outcome


async def test_a_batch_says_all_that_the_inbox_keeps(gateway: GatewayPeer, make: Make) -> None:
    outbound = notification(
        revision=3,
        redelivery=2,
        origin="external:ci",
        description="Zeile\r\n</script>\u202e",
        link="/builds/1",
        topic="builds",
        scope="build-1",
        icon="ci",
        metadata={"nested": [1, None, {"a": "ü"}]},
    )
    outcomes = await send(make(gateway.url), ADA, BOB, outbound=outbound)
    assert outcomes == [Receipt(message="Inserted")] * 2
    (request,) = gateway.received
    assert (request.method, request.path) == ("POST", "/internal/v1/deliveries")
    assert request.authorization == f"Bearer {TOKEN}"
    assert request.content_type == "application/json"
    assert request.body == {
        "epoch": 7,
        "notification": {
            "uid": outbound.uid,
            "namespace": "team-a",
            "name": "build-failed",
            "revision": 3,
            "redelivery": 2,
            "origin": "external:ci",
            "created": "2026-03-04T05:06:07+00:00",
            "payload": {
                "title": "Build failed",
                "description": "Zeile\r\n</script>\u202e",
                "link": "/builds/1",
                "severity": "normal",
                "topic": "builds",
                "scope": "build-1",
                "icon": "ci",
                "metadata": {"nested": [1, None, {"a": "ü"}]},
            },
        },
        "rows": [
            {"user": user, "identity": delivery_identity(outbound, "inbox", user)}
            for user in (ADA, BOB)
        ],
    }


async def test_a_broadcast_is_a_row_without_user(gateway: GatewayPeer, make: Make) -> None:
    await send(make(gateway.url), "broadcast", outbound=notification(broadcast=True))
    assert list(gateway.rows.values()) == [""]


async def test_repeating_changes_nothing(gateway: GatewayPeer, make: Make) -> None:
    processor = make(gateway.url)
    await send(processor, ADA)
    assert await send(processor, ADA, BOB) == [
        Receipt(message="Unchanged"),
        Receipt(message="Inserted"),
    ]


async def test_what_a_newer_one_overtook_is_skipped(gateway: GatewayPeer, make: Make) -> None:
    gateway.answer(reply({"results": ["Superseded", "Updated"]}))
    overtaken, updated = await send(make(gateway.url), ADA, BOB)
    assert isinstance(overtaken, Skip)
    assert overtaken.reason == "Superseded"
    assert updated == Receipt(message="Updated")


@pytest.mark.parametrize(
    ("status", "reason", "scope", "retryable"),
    [
        (301, "ConnectFailed", Scope.PROCESSOR, True),
        (400, "ContentRejected", Scope.MESSAGE, True),
        (401, "AuthFailed", Scope.PROCESSOR, True),
        (403, "PolicyDenied", Scope.PROCESSOR, True),
        (404, "ConnectFailed", Scope.PROCESSOR, True),
        (409, "PolicyDenied", Scope.PROCESSOR, True),
        (413, "TooLarge", Scope.MESSAGE, False),
        (422, "ContentRejected", Scope.MESSAGE, True),
        (429, "ServerBusy", Scope.PROCESSOR, True),
        (500, "Unknown", Scope.MESSAGE, True),
        (502, "ServerBusy", Scope.PROCESSOR, True),
        (503, "ServerBusy", Scope.PROCESSOR, True),
    ],
)
async def test_each_refusal_has_its_reason(
    gateway: GatewayPeer,
    make: Make,
    status: int,
    reason: str,
    scope: Scope,
    retryable: bool,
) -> None:
    gateway.answer(refuse(status, "so it is"))
    error = await failure(make(gateway.url))
    assert (error.reason, error.scope, error.retryable) == (reason, scope, retryable)
    assert error.code == status
    assert "so it is" in error.message
    assert TOKEN not in error.message


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (None, None),
        ("-1", None),
        ("1e9", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
async def test_a_busy_gateway_may_say_for_how_long(
    gateway: GatewayPeer, make: Make, header: str | None, seconds: float | None
) -> None:
    gateway.answer(refuse(503, retry_after=header))
    assert (await failure(make(gateway.url))).retry_after == seconds


async def test_a_redirect_is_not_followed_with_the_token(gateway: GatewayPeer, make: Make) -> None:
    async def elsewhere(_: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": f"{gateway.url}/elsewhere"})

    gateway.answer(elsewhere)
    await failure(make(gateway.url))
    assert len(gateway.received) == 1


async def test_a_former_leader_learns_that_it_lost_its_lease(
    gateway: GatewayPeer, make: Make
) -> None:
    gateway.answer(refuse(409))
    (outcome,) = await send(make(gateway.url), ADA, leads=False)
    assert isinstance(outcome, LeaseLost)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"results": []}, "Unknown"),
        ({"results": ["Inserted", "Inserted"]}, "Unknown"),
        ({"results": "Inserted"}, "Unknown"),
        ({"results": ["Eaten"]}, "Unknown"),
        ({"results": [{"a": 1}]}, "Unknown"),
        ({}, "Unknown"),
        ([], "ConnectFailed"),
        ("Inserted", "ConnectFailed"),
    ],
)
async def test_answers_that_cannot_be_understood_are_asked_for_again(
    gateway: GatewayPeer, make: Make, answer: Any, reason: str
) -> None:
    gateway.answer(reply(answer))
    error = await failure(make(gateway.url))
    assert (error.reason, error.retryable) == (reason, True)


async def test_who_speaks_another_language_is_no_gateway(gateway: GatewayPeer, make: Make) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>It works!</html>", content_type="text/html")

    gateway.answer(page)
    error = await failure(make(gateway.url))
    assert (error.reason, error.scope) == ("ConnectFailed", Scope.PROCESSOR)


async def test_endless_answers_are_not_read_to_their_end(gateway: GatewayPeer, make: Make) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(ANSWER_LIMIT // 2**20 * 8):
            await response.write(b" " * 2**20)
        return response

    gateway.answer(flood)
    assert (await failure(make(gateway.url))).reason == "ConnectFailed"


@pytest.mark.parametrize("answer", [hang_up(), hang_up(b'{"resu')], ids=["at once", "half-way"])
async def test_a_connection_that_breaks_leaves_no_doubt(
    gateway: GatewayPeer, make: Make, answer: Answer
) -> None:
    gateway.answer(answer, answer)
    error = await failure(make(gateway.url))
    assert (error.reason, error.scope) == ("ConnectFailed", Scope.PROCESSOR)


async def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing(
    gateway: GatewayPeer, make: Make
) -> None:
    processor = make(gateway.url)
    await send(processor, ADA)
    gateway.answer(hang_up())
    assert await send(processor, BOB) == [Receipt(message="Inserted")]


async def test_nobody_there(make: Make) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        error = await failure(make(f"http://127.0.0.1:{probe.getsockname()[1]}"))
    assert (error.reason, error.scope) == ("ConnectFailed", Scope.PROCESSOR)


async def test_a_name_that_does_not_exist(make: Make) -> None:
    error = await failure(make("http://gateway.invalid:8081"))
    assert (error.reason, error.scope) == ("DNSFailed", Scope.PROCESSOR)


async def test_no_tls_where_it_is_expected(gateway: GatewayPeer, make: Make) -> None:
    error = await failure(make(gateway.url.replace("http:", "https:")))
    assert (error.reason, error.scope) == ("TLSFailed", Scope.PROCESSOR)


async def test_silence_ends(gateway: GatewayPeer, make: Make) -> None:
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    gateway.answer(hang)
    error = await failure(make(gateway.url, timeout=0.1))
    assert (error.reason, error.scope) == ("Timeout", Scope.PROCESSOR)


async def test_the_token_is_read_again_as_it_rotates(
    gateway: GatewayPeer, make: Make, token_file: Path
) -> None:
    processor = make(gateway.url)
    await send(processor, ADA)
    gateway.token = "renewed"
    assert (await failure(processor)).reason == "AuthFailed"
    token_file.write_text("renewed")
    assert await send(processor, BOB) == [Receipt(message="Inserted")]


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"\xff\xfe", b"x" * 20_000, None])
async def test_a_token_that_cannot_be_read_is_said(
    gateway: GatewayPeer, make: Make, token_file: Path, content: bytes | None
) -> None:
    if content is None:
        token_file.unlink()
    else:
        token_file.write_bytes(content)
    error = await failure(make(gateway.url))
    assert (error.reason, error.scope) == ("InvalidConfig", Scope.PROCESSOR)
    assert str(token_file) in error.message
    assert gateway.received == []


async def test_verify_asks_whether_it_is_ready(gateway: GatewayPeer, make: Make) -> None:
    processor = make(gateway.url + "/")
    await processor.verify()
    (request,) = gateway.received
    assert (request.method, request.path) == ("GET", "/internal/v1/ready")
    gateway.answer(refuse(503, "the database is away", retry_after="3"))
    with pytest.raises(DeliveryError, match="the database is away") as caught:
        await processor.verify()
    assert (caught.value.reason, caught.value.retry_after) == ("ServerBusy", 3)


async def test_the_largest_batch_fits(gateway: GatewayPeer, make: Make) -> None:
    outbound = notification(description="\N{PILE OF POO}" * 32768, metadata={"a": "ü" * 32000})
    users = [f"user:default/{number:0243}" for number in range(256)]
    outcomes = await send(make(gateway.url), *users, outbound=outbound)
    assert outcomes == [Receipt(message="Inserted")] * 256
    assert len(json.dumps(gateway.received[0].body)) < 2**20
