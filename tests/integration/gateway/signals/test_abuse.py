"""Clients that break the protocol, ask for too much, or do not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from notifications_operator.gateway.principals import Principal, UserPrincipal
from notifications_operator.gateway.signals import transport
from notifications_operator.gateway.signals.settings import SignalsSettings
from notifications_operator.gateway.signals.transport import MAX_HEAD_BYTES, MAX_MESSAGE_BYTES
from tests.support.signals import (
    CHANNEL,
    RawClient,
    Served,
    closed,
    frame,
    message,
    obeyed,
    publish,
    serving,
    until,
)

ADA, BOB = "user:default/ada", "user:default/bob"
LONG_TOKEN = "x" * (MAX_HEAD_BYTES - 1024)
PRINCIPALS: dict[str, Principal] = {
    "ada": UserPrincipal(entity_ref=ADA),
    "bob": UserPrincipal(entity_ref=BOB),
    LONG_TOKEN: UserPrincipal(entity_ref=ADA),
}
TEXT = "x" * 10_000


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CLOSE_TIMEOUT", 1.0)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(PRINCIPALS, settings=SignalsSettings(max_queued_messages=16)) as found:
        yield found


def buffered(served: Served) -> int:
    """Return how many bytes uvicorn keeps for all its clients."""
    return sum(
        connection.transport.get_write_buffer_size()
        for connection in served.server.server_state.connections
    )


async def test_what_is_no_request_is_ignored(served: Served) -> None:
    client = await served.connect("ada", channels=())
    for text in (
        "",
        "{",
        "null",
        "[]",
        '"subscribe"',
        "{}",
        '{"action":"subscribe"}',
        '{"action":"publish","channel":"notifications","message":{}}',
        '{"action":"subscribe","channel":7}',
        '{"action":"subscribe","channel":["notifications"]}',
        '{"action":["subscribe"],"channel":"notifications"}',
        '{"action":"unsubscribe","channel":"notifications"}',
        '{"action":"subscribe","channel":"\\ud800"}',
        "[" * MAX_MESSAGE_BYTES,
        "\u202e\u0000",
    ):
        await client.send(text)
    await client.send(json.dumps({"action": "subscribe", "channel": CHANNEL}).encode())
    await obeyed(client)
    await publish(served.hub, {"number": 1})
    await client.send(json.dumps({"action": "subscribe", "channel": CHANNEL, "more": "ignored"}))
    await obeyed(client)
    await publish(served.hub, {"number": 2})
    assert await message(client) == {"number": 2}
    await client.close()


async def test_a_message_that_is_too_long_closes_the_connection(served: Served) -> None:
    client = await served.connect("ada")
    await client.send("x" * (MAX_MESSAGE_BYTES + 1))
    assert await closed(client) == 1009


async def test_a_long_message_in_pieces_closes_the_connection(served: Served) -> None:
    client = await served.connect("ada")
    await client.send(["x" * 1024] * (MAX_MESSAGE_BYTES // 1024 + 1))
    assert await closed(client) == 1009


async def test_a_text_that_is_no_utf_8_closes_the_connection(served: Served) -> None:
    client = await served.connect("ada")
    await client.send(b"\xff", text=True)
    assert await closed(client) == 1007


async def test_a_flood_of_messages_closes_the_connection(served: Served) -> None:
    client, other = await served.connect("ada"), await served.connect("bob")
    for _ in range(200):
        await client.send("{}")
    assert await closed(client) == 1008
    await publish(served.hub, {"number": 1})
    assert await message(other) == {"number": 1}
    await other.close()


async def test_a_long_token_is_read(served: Served) -> None:
    client = await served.connect(LONG_TOKEN)
    assert client.subprotocol == LONG_TOKEN
    await client.close()


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES, 2 * MAX_HEAD_BYTES])
async def test_a_token_that_is_too_long_is_refused(served: Served, size: int) -> None:
    # h11 answers 400 or 431 as the kernel cuts the head in pieces.
    assert (await served.refusal("x" * size)).response.status_code in {400, 431}
    assert served.hub.connections == 0


async def test_too_many_headers_are_refused(served: Served) -> None:
    headers = {f"X-{number}": "" for number in range(150)}
    assert (await served.refusal("ada", headers=headers)).response.status_code == 431


async def test_a_slow_reader_is_closed_with_1013_and_disturbs_nobody(served: Served) -> None:
    slow = await RawClient.connect(served, "ada", channel=CHANNEL)
    quick = await served.connect("bob")
    got: list[int] = []

    async def read() -> None:
        while len(got) == 0 or got[-1] != -1:
            got.append((await message(quick))["number"])

    reading = asyncio.create_task(read())
    sent = 0
    while not served.slow:
        await publish(served.hub, {"number": sent, "text": TEXT})
        await asyncio.sleep(0)
        sent += 1
        # What waits for a reader is asyncio's buffer, what did not fit into it, and the queue.
        assert buffered(served) < 4 * (64 * 1024 + len(TEXT))
    await publish(served.hub, {"number": -1})
    await reading
    assert got == [*range(sent), -1]
    await until(lambda: served.hub.connections == 1)
    assert (await slow.rest()).endswith(b"\x03\xf5reads slower than signals come")
    slow.close()
    await quick.close()


async def test_a_reader_that_never_reads_is_cut_off(served: Served) -> None:
    slow = await RawClient.connect(served, "ada", channel=CHANNEL)
    while not served.slow:
        await publish(served.hub, {"text": TEXT})
    await until(lambda: not served.server.server_state.connections)
    await until(lambda: served.hub.connections == 0)
    slow.close()


async def test_a_reader_that_stops_is_terminated_for_its_missing_pong() -> None:
    settings = SignalsSettings(
        ping_interval=0.3, max_queued_messages=100_000, max_queued_bytes=100_000_000
    )
    async with serving(PRINCIPALS, settings=settings) as served:
        stopped = await RawClient.connect(served, "ada", channel=CHANNEL)
        for _ in range(2000):
            await publish(served.hub, {"text": TEXT})
        await until(lambda: not served.server.server_state.connections)
        await until(lambda: served.hub.connections == 0)
        assert served.slow == 0
        stopped.close()


async def test_a_client_that_sends_pings_and_reads_nothing_is_not_read_any_more(
    served: Served,
) -> None:
    client = await RawClient.connect(served, "ada")
    flood = frame(0x9, b"x" * 125) * 1000

    async def send() -> None:
        while True:
            await client.send(flood)

    sending = asyncio.create_task(send())
    (connection,) = served.server.server_state.connections
    await until(lambda: not connection.transport.is_reading())
    assert buffered(served) < 1024 * 1024
    sending.cancel()
    client.close()


async def test_a_client_that_closes_and_reads_nothing_is_cut_off(served: Served) -> None:
    client = await RawClient.connect(served, "ada", channel=CHANNEL)
    while not buffered(served):
        await publish(served.hub, {"text": TEXT})
        await asyncio.sleep(0)
    await client.send(frame(0x8, b"\x03\xe8"))
    await until(lambda: not served.server.server_state.connections)
    client.close()


async def test_shutdown_waits_for_no_reader(served: Served) -> None:
    stuck = await RawClient.connect(served, "ada", channel=CHANNEL)
    closing = await RawClient.connect(served, "ada", channel=CHANNEL)
    while not served.slow:
        await publish(served.hub, {"text": TEXT})
    await closing.send(frame(0x8, b"\x03\xe8"))
    polite = await served.connect("bob")
    async with asyncio.timeout(15):
        await served.stop()
    assert await closed(polite) == 1012
    stuck.close()
    closing.close()
