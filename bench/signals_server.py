"""The process that signals are measured in: the gateway's, or a bare server as its peer.

``python -m bench.signals_server gateway|bare`` writes its port as one line. Every line of input
that follows is a command: ``everybody`` sends one signal to all, ``each`` one of their own to every
user, in one batch. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import uvicorn
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from bench.signals_wire import ACCEPTED, PONG, server_frame, user
from notifications_operator.gateway.principals import Access, Principal, UserPrincipal
from notifications_operator.gateway.server import BACKLOG, listen
from notifications_operator.gateway.signals.hub import Hub
from notifications_operator.gateway.signals.origins import Origins
from notifications_operator.gateway.signals.outbox import Signal
from notifications_operator.gateway.signals.routes import signals_router
from notifications_operator.gateway.signals.settings import SignalsSettings
from notifications_operator.gateway.signals.transport import uvicorn_options

CHANNEL: Final = "notifications"

_MAX_SOCKETS: Final = 1_000_000

Commands = dict[str, Callable[[], Awaitable[None]]]


class _AnyToken:
    """Takes the token for the user's name."""

    async def authenticate(self, connection: HTTPConnection) -> Principal | None:
        token = connection.headers["authorization"].removeprefix("Bearer ")
        return UserPrincipal(entity_ref=f"user:default/{token}")


async def _serve_gateway(listener: socket.socket) -> Commands:
    hub = Hub(SignalsSettings(max_sockets=_MAX_SOCKETS))
    application = FastAPI()
    application.include_router(signals_router(hub, Access(_AnyToken()), Origins()))
    config = uvicorn.Config(
        application, log_config=None, lifespan="off", backlog=BACKLOG, **uvicorn_options()
    )
    server = uvicorn.Server(config)
    _keep(server.serve(sockets=[listener]))

    async def everybody() -> None:
        await hub.publish([Signal(users=None, channel=CHANNEL, message=_message())])

    async def each() -> None:
        users = [f"user:default/{user(number)}" for number in range(hub.connections)]
        message = _message()
        await hub.publish(
            [Signal(users=(name,), channel=CHANNEL, message=message) for name in users]
        )

    return {"everybody": everybody, "each": each}


class _Bare(asyncio.Protocol):
    """Accepts whatever comes, and keeps the transport: the least that a server can do."""

    def __init__(self, transports: list[asyncio.Transport]) -> None:
        self._transports = transports
        self._accepted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._transports.append(transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(PONG if self._accepted else ACCEPTED)
        self._accepted = True


async def _serve_bare(listener: socket.socket) -> Commands:
    transports: list[asyncio.Transport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Bare(transports), sock=listener, backlog=BACKLOG)
    _keep(server.serve_forever())

    async def send() -> None:
        frame = server_frame(json.dumps({"channel": CHANNEL, "message": _message()}).encode())
        for transport in transports:
            transport.write(frame)

    return {"everybody": send, "each": send}


def _message() -> dict[str, object]:
    """Return what the inbox tells of a notification, and when it was told."""
    notification = {
        "id": "00000000-0000-5000-8000-000000000000",
        "user": "user:default/somebody",
        "origin": "plugin:bench",
        "payload": {"title": "A notification", "description": "x" * 400, "severity": "normal"},
    }
    return {
        "action": "new_notification",
        "notification_id": notification["id"],
        "notification": notification,
        "at": time.perf_counter(),
    }


_TASKS: Final[set[asyncio.Future[None]]] = set()


def _keep(work: Awaitable[None]) -> None:
    """Run something as long as the process lives."""
    _TASKS.add(asyncio.ensure_future(work))


async def _run(kind: str) -> None:
    logging.basicConfig(level=logging.WARNING)
    serve = {"gateway": _serve_gateway, "bare": _serve_bare}[kind]
    with listen("127.0.0.1", 0) as listener:
        commands = await serve(listener)
        print(listener.getsockname()[1], flush=True)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            await commands[line.decode().strip()]()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
