"""Connections that are accepted send what is written at once."""

from __future__ import annotations

import asyncio
import socket

import pytest

from notifications_operator.gateway.server import listen


async def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()
        await writer.wait_closed()

    listening = listen("127.0.0.1", 0)
    async with await asyncio.start_server(answer, sock=listening):
        _, writer = await asyncio.open_connection("127.0.0.1", listening.getsockname()[1])
        async with asyncio.timeout(60):
            assert await accepted == 1
        writer.close()
        await writer.wait_closed()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_all_addresses_are_those_of_both_families(address: str) -> None:
    with listen("::", 0) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection((address, port), timeout=60):
            accepted, _ = listening.accept()
            accepted.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_one_address_is_that_alone() -> None:
    with listen("::1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=60)
