"""An HTTP server on the loopback interface that answers as a test tells it to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio import client

from notifications_operator.kube.transport import Transport

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    authorization: str | None
    accept: str
    body: Any


@dataclass
class Peer:
    """What the server answers, in turn, and what it was asked."""

    transport: Transport
    answers: list[Answer] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    def answer(self, *answers: Answer) -> None:
        """Answer the next requests like this."""
        self.answers.extend(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one request."""
        text = await request.text()
        self.received.append(
            Received(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                content_type=request.content_type,
                authorization=request.headers.get("Authorization"),
                accept=request.headers.get("Accept", ""),
                body=json.loads(text) if text else None,
            )
        )
        return await self.answers.pop(0)(request)


def reply(body: Any, *, status: int = 200) -> Answer:
    """Answer with JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return answer


def failure(status: int, message: str = "") -> Answer:
    """Answer with a ``Status`` object."""
    return reply({"kind": "Status", "code": status, "message": message}, status=status)


def text(content: str, *, status: int = 200) -> Answer:
    """Answer with something else than JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=content, status=status)

    return answer


def hang_up(sent: bytes = b"") -> Answer:
    """Close the connection, in the middle of the answer if something is sent."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        if sent:
            response = web.StreamResponse(headers={"Content-Length": str(len(sent) + 100)})
            await response.prepare(request)
            await response.write(sent)
        request.transport.abort()
        return web.Response()

    return answer


def stream(*events: Any) -> Answer:
    """Answer a watch with some events, one a line, and end it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            line = event if isinstance(event, bytes) else json.dumps(event).encode()
            await response.write(line + b"\n")
        await response.write_eof()
        return response

    return answer


@asynccontextmanager
async def peer() -> AsyncIterator[Peer]:
    """Serve, with a transport that is connected to it."""
    application = web.Application(client_max_size=2**24)
    runner = web.AppRunner(application, access_log=None)
    configuration = client.Configuration()
    configuration.api_key = {"BearerToken": "Bearer token-of-the-test"}
    served: list[Peer] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        return await served[0].handle(request)

    application.router.add_route("*", "/{path:.*}", handle)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    transport = Transport(client.ApiClient(configuration))
    served.append(Peer(transport))
    try:
        yield served[0]
    finally:
        await transport.close()
        await runner.cleanup()
