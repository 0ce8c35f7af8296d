"""The Service of the campaigns passes on what it is given, and breaks what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from tests.support.installation import free_port
from tests.support.service import Service


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """Serve what comes back to whoever sent it; gives the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionResetError):
                while data := await reader.read(1024):
                    writer.write(data)
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        left = [*tasks]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def ask(service: Service, text: bytes) -> bytes:
    """Send a text, end, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        writer.write(text)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_passes_over_whoever_is_away() -> None:
    async with echo() as port, Service([free_port(), port], Random(1)) as service:
        assert [await ask(service, b"hello") for _ in range(10)] == [b"hello"] * 10


async def test_resets_if_nobody_is_there() -> None:
    async with Service([free_port()], Random(1)) as service:
        with pytest.raises(ConnectionResetError):
            await ask(service, b"hello")


async def test_a_trap_keeps_the_answer() -> None:
    trapped: list[int] = []
    async with echo() as port, Service([port], Random(1)) as service:
        service.trap = trapped.append
        with pytest.raises(ConnectionResetError):
            await ask(service, b"hello")
        assert trapped == [port]
        assert await ask(service, b"again") == b"again"


async def test_cuts_what_is_open() -> None:
    async with echo() as port, Service([port], Random(1)) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
        assert service.cut() == 2
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)
        writer.close()
