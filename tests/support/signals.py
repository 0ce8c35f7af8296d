"""A server for signals on a real socket, as the gateway runs it, and clients for it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from notifications_operator.gateway.errors import AuthenticationError, install_error_handlers
from notifications_operator.gateway.principals import Access, Authenticator, Principal
from notifications_operator.gateway.signals.hub import Hub
from notifications_operator.gateway.signals.origins import Origins
from notifications_operator.gateway.signals.outbox import Signal
from notifications_operator.gateway.signals.routes import signals_router
from notifications_operator.gateway.signals.settings import SignalsSettings
from notifications_operator.gateway.signals.transport import uvicorn_options
from notifications_operator.telemetry import gateway as metrics

CHANNEL = "notifications"


class Tokens:
    """Who asks, by bearer token, or by the cookie ``session`` where there is no token."""

    def __init__(self, principals: Mapping[str, Principal]) -> None:
        self._principals = dict(principals)
        self.shown: Counter[str] = Counter()
        """How often each bearer token was shown."""

    async def authenticate(self, connection: HTTPConnection) -> Principal | None:
        authorization = connection.headers.get("authorization")
        if authorization is None:
            return self._principals.get(connection.cookies.get("session", ""))
        token = authorization.removeprefix("Bearer ")
        self.shown[token] += 1
        if (principal := self._principals.get(token)) is None:
            raise AuthenticationError("Invalid token")
        return principal


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server."""

    hub: Hub
    tokens: Tokens
    port: int
    server: uvicorn.Server
    task: asyncio.Task[None]
    slow_before: float

    @property
    def slow(self) -> float:
        """How many readers were closed for being slow."""
        return _slow_readers() - self.slow_before

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Shut the server down as SIGTERM does."""
        self.server.should_exit = True
        await self.task

    async def connect(
        self,
        token: str | None,
        *,
        channels: Sequence[str] = (CHANNEL,),
        path: str = "/api/signals",
        origin: str | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> ClientConnection:
        """Open a socket and subscribe; what was sent before is known to be obeyed."""
        client = await connect(
            f"ws://{self.authority}{path}",
            subprotocols=None if token is None else [Subprotocol(token)],
            origin=None if origin is None else Origin(origin),
            additional_headers=headers,
            proxy=None,
            **{"ping_interval": None, "compression": None, **options},
        )
        for channel in channels:
            await client.send(json.dumps({"action": "subscribe", "channel": channel}))
        await obeyed(client)
        return client

    async def refusal(self, token: str | None, **options: Any) -> InvalidStatus:
        """Return how a connection is refused."""
        try:
            client = await self.connect(token, **options)
        except InvalidStatus as error:
            return error
        await client.close()
        raise AssertionError("the connection was accepted")


async def obeyed(client: ClientConnection) -> None:
    """Wait until the server has read what was sent: it reads one after the other."""
    await (await client.ping())
    # The pong is answered when it is read, messages when their task has its turn.
    await (await client.ping())


@asynccontextmanager
async def serving(
    principals: Mapping[str, Principal],
    *others: Authenticator,
    settings: SignalsSettings | None = None,
    portals: Sequence[str] = (),
    port: int = 0,
) -> AsyncIterator[Served]:
    """Serve signals on loopback, on a free port unless one is asked for."""
    settings = settings or SignalsSettings()
    hub = Hub(settings)
    application = FastAPI()
    install_error_handlers(application)
    tokens = Tokens(principals)
    application.include_router(signals_router(hub, Access(*others, tokens), Origins(*portals)))
    options = uvicorn_options(ping_interval=settings.ping_interval)
    config = uvicorn.Config(
        application, log_config=None, lifespan="off", timeout_graceful_shutdown=20, **options
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", port)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        served = Served(
            hub=hub,
            tokens=tokens,
            port=listener.getsockname()[1],
            server=server,
            task=task,
            slow_before=_slow_readers(),
        )
        try:
            yield served
        finally:
            await served.stop()


def _slow_readers() -> float:
    name = "notifications_gateway_sockets_closed_total"
    found = metrics.REGISTRY.get_sample_value(name, {"reason": "try_again_later"})
    assert found is not None
    return found


async def publish(hub: Hub, message: dict[str, Any], *users: str, channel: str = CHANNEL) -> None:
    """Publish one signal; without users it is for everybody."""
    await hub.publish([Signal(users=users or None, channel=channel, message=message)])


async def message(client: ClientConnection) -> Any:
    """Return the next signal's message."""
    async with asyncio.timeout(30):
        return json.loads(await client.recv())["message"]


async def closed(client: ClientConnection) -> int:
    """Return the code with which the server closes; what comes before is dropped."""
    async with asyncio.timeout(60):
        try:
            while True:
                await client.recv()
        except ConnectionClosed as error:
            assert error.rcvd is not None, "the connection broke off"
            return error.rcvd.code


async def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class RawClient:
    """A client that does what clients should not: it reads when it is told to, and no sooner."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    @classmethod
    async def connect(cls, served: Served, token: str, *, channel: str | None = None) -> RawClient:
        """Connect and perhaps subscribe; little is buffered here."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        client = cls(connection)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", served.port))
        await client.send(
            f"GET /api/signals HTTP/1.1\r\nHost: {served.authority}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: {token}\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(connection, 1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        if channel is not None:
            request = json.dumps({"action": "subscribe", "channel": channel}).encode()
            await client.send(frame(0x1, request))
            for _ in range(2):  # As `obeyed`.
                await client.send(frame(0x9, b""))
                assert await loop.sock_recv(connection, 2) == b"\x8a\x00"
        return client

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        loop = asyncio.get_running_loop()
        got = bytearray()
        async with asyncio.timeout(60):
            while data := await loop.sock_recv(self._socket, 65536):
                got += data
        return bytes(got)

    def close(self) -> None:
        """Close the connection without a word."""
        self._socket.close()


def frame(opcode: int, data: bytes) -> bytes:
    """Return a short final frame of a client, masked with zeros (RFC 6455 section 5.2)."""
    assert len(data) < 126
    return bytes([0x80 | opcode, 0x80 | len(data)]) + bytes(4) + data
