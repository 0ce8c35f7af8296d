"""The gateway's internal API as a peer over a socket: strict, and told how to misbehave."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKEN = "t0ken-of-the-0perator"


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    authorization: str | None
    content_type: str
    body: Any


@dataclass
class GatewayPeer:
    """Keeps rows by their identity, as the inbox does; ``answers`` come first, in turn."""

    url: str = ""
    token: str = TOKEN
    answers: list[Answer] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    rows: dict[str, str] = field(default_factory=dict)
    """Users by the identity of what they got."""

    def answer(self, *answers: Answer) -> None:
        """Answer the next requests like this."""
        self.answers.extend(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one request."""
        text = await request.text()
        self.received.append(
            Received(
                method=request.method,
                path=request.path_qs,
                authorization=request.headers.get("Authorization"),
                content_type=request.content_type,
                body=json.loads(text) if text else None,
            )
        )
        if self.answers:
            return await self.answers.pop(0)(request)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return await refuse(401, "who are you?")(request)
        match request.method, request.path:
            case "GET", "/internal/v1/ready":
                return web.json_response({"status": "ok"})
            case "POST", "/internal/v1/deliveries":
                return web.json_response({"results": self._store(json.loads(text))})
        return await refuse(404, "there is no such thing")(request)

    def _store(self, batch: dict[str, Any]) -> list[str]:
        results = []
        for row in batch["rows"]:
            known = row["identity"] in self.rows
            self.rows[row["identity"]] = row["user"]
            results.append("Unchanged" if known else "Inserted")
        return results


def refuse(status: int, message: str = "", *, retry_after: str | None = None) -> Answer:
    """Answer with upstream's error envelope."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}

    async def answer(request: web.Request) -> web.StreamResponse:
        body = {
            "error": {"name": "Error", "message": message},
            "request": {"method": request.method, "url": request.path},
            "response": {"statusCode": status},
        }
        return web.json_response(body, status=status, headers=headers)

    return answer


def reply(body: Any) -> Answer:
    """Answer with JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body)

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


@asynccontextmanager
async def gateway_peer(*, port: int = 0) -> AsyncIterator[GatewayPeer]:
    """Serve on the loopback interface."""
    peer = GatewayPeer()
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{path:.*}", peer.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    peer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield peer
    finally:
        await runner.cleanup()
