"""Connections that send no request, half of one, or do not read their answers, are ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect

from notifications_operator.gateway import server
from notifications_operator.gateway.connections import ConnectionTimeouts
from notifications_operator.gateway.server import Listener, listen

SHORT, LONG = 0.5, 300.0
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"answered"
SIZES = {"/large": 32 * 1024 * 1024, "/small": 48 * 1024}


class Application:
    """Answers at once, at length, or when it is told to; echoes what comes by WebSocket."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] == "websocket":
            await self._echo(receive, send)
            return
        if scope["path"] == "/waits":
            await self.go_on.wait()
        body = bytes(SIZES[scope["path"]]) if scope["path"] in SIZES else ANSWER
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    async def _echo(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


class Client:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes = GET) -> None:
        """Send a request and read the answer."""
        self.writer.write(request)
        async with asyncio.timeout(60):
            await self.reader.readuntil(ANSWER)

    async def ended(self) -> bytes:
        """Return what comes until the server ends the connection."""
        async with asyncio.timeout(60):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


class Served:
    """A listener with an application, and connections to it."""

    def __init__(self, *, head: float = LONG, write: float = LONG) -> None:
        self.application = Application()
        self.port = 0
        self._clients = contextlib.AsyncExitStack()
        self.listener = Listener(
            self.application,
            host="127.0.0.1",
            port=0,
            grace=1,
            ping_interval=30,
            timeouts=ConnectionTimeouts(head=head, write=write),
        )

    async def connect(self) -> Client:
        """Return a new connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._clients.callback(writer.close)
        return Client(reader, writer)

    async def outlive_a_silent_one(self) -> None:
        """Wait until a connection that begins now has been ended for its silence."""
        assert await (await self.connect()).ended() == b""

    async def none_left(self) -> None:
        """Wait until the server has forgotten all connections."""
        async with asyncio.timeout(60):
            while self.listener._server.server_state.connections:
                await asyncio.sleep(0.02)

    @classmethod
    @asynccontextmanager
    async def serving(cls, *, head: float = LONG, write: float = LONG) -> AsyncIterator[Served]:
        """Serve for a while."""
        served = cls(head=head, write=write)
        served.port = await served.listener.start()
        try:
            async with served._clients:
                yield served
        finally:
            await served.listener.stop()


@pytest.mark.parametrize("sent", [b"", b"GET /", GET[:-2]])
async def test_no_head_and_half_a_head(sent: bytes) -> None:
    async with Served.serving(head=SHORT) as served:
        client = await served.connect()
        client.writer.write(sent)
        assert await client.ended() == b""


async def test_half_a_head_after_an_answer() -> None:
    async with Served.serving(head=SHORT) as served:
        client = await served.connect()
        await client.ask()
        client.writer.write(b"GET /")
        assert await client.ended() == b""


async def test_half_a_head_in_one_piece_with_a_request() -> None:
    async with Served.serving(head=SHORT) as served:
        client = await served.connect()
        await client.ask(GET + b"GET /")
        assert await client.ended() == b""


async def test_half_a_body_after_the_answer() -> None:
    async with Served.serving(head=SHORT) as served:
        client = await served.connect()
        await client.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        client.writer.write(b"x")
        assert await client.ended() == b""


async def test_the_rest_of_a_body_makes_the_connection_idle_again() -> None:
    async with Served.serving(head=SHORT) as served:
        client = await served.connect()
        await client.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        client.writer.write(b"x")
        client.writer.write(b"x" * 8)
        await served.outlive_a_silent_one()
        await client.ask()


async def test_bytes_one_by_one_do_not_prolong_it() -> None:
    async with Served.serving(head=SHORT) as served:
        client = await served.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nX-Endless: ")
        ended = asyncio.create_task(client.ended())
        while not ended.done():
            client.writer.write(b"x")
            await asyncio.wait([ended], timeout=SHORT / 10)
        assert ended.result() == b""


async def test_a_slow_head_is_served() -> None:
    async with Served.serving(head=60) as served:
        client = await served.connect()
        for byte in GET[:-1]:
            client.writer.write(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0.01)
        await client.ask(GET[-1:])
        await client.ask()


async def test_idle_connections_long_requests_and_sockets_live_on() -> None:
    async with Served.serving(head=SHORT, write=SHORT) as served:
        idle, waiting = await served.connect(), await served.connect()
        await idle.ask()
        waiting.writer.write(GET.replace(b"/ ", b"/waits ", 1))
        async with connect(f"ws://127.0.0.1:{served.port}/", open_timeout=60) as web_socket:
            await served.outlive_a_silent_one()
            await served.outlive_a_silent_one()
            await web_socket.send("hello")
            async with asyncio.timeout(60):
                assert await web_socket.recv() == "hello"
        await idle.ask()
        served.application.go_on.set()
        await waiting.ask(b"")


@pytest.mark.parametrize("path", SIZES)
async def test_an_answer_that_is_not_read(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small one is below what asyncio calls much, and waits for the client when closed."""

    def listen_with_small_buffers(host: str, port: int) -> socket.socket:
        listening = listen(host, port)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return listening

    monkeypatch.setattr(server, "listen", listen_with_small_buffers)
    async with Served.serving(write=SHORT) as served:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", served.port))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            async with asyncio.timeout(60):
                while not served.listener._server.server_state.total_requests:
                    await asyncio.sleep(0.02)
            await served.none_left()
            client.settimeout(60)
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while data := client.recv(65536):
                    received += len(data)
            assert received < SIZES[path]


async def test_an_answer_that_is_read_late_is_whole() -> None:
    async with Served.serving() as served:
        client = await served.connect()
        client.writer.write(GET.replace(b"/ ", b"/large ", 1))
        async with asyncio.timeout(60):
            await client.reader.readuntil(b"\r\n\r\n")
            await client.reader.readexactly(SIZES["/large"])
        await client.ask()
