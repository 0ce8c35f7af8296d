"""A proxy in front of a real API server that loses, refuses and delays what it is told to."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web


@dataclass(frozen=True, kw_only=True)
class Write:
    """A request that changes something, as the proxy sees it."""

    method: str
    path: str
    body: dict[str, Any]

    @property
    def row_states(self) -> list[str]:
        """States of the deliveries that a status patch carries."""
        deliveries = self.body.get("status", {}).get("deliveries") or []
        return [row["state"] for row in deliveries]


@dataclass(frozen=True)
class Refuse:
    """Answer with an error of the API server's making; nothing is stored."""

    status: int
    message: str


@dataclass(frozen=True)
class LoseAnswer:
    """Let the API server do it, and cut the connection instead of answering."""


@dataclass(frozen=True)
class Expire:
    """Begin a watch with the ERROR event of a resource version that is too old."""


Fault = Refuse | LoseAnswer | None
Judge = Callable[[Write], Fault]
WatchFault = Refuse | Expire | None


@dataclass(frozen=True, kw_only=True)
class WatchEvent:
    """An event on its way to a watcher."""

    type: str
    body: dict[str, Any]

    def is_about(self, kind: str, name: str) -> bool:
        """Return whether it is about an object."""
        metadata = self.body["metadata"]
        return (self.body.get("kind"), metadata.get("name")) == (kind, name)


@dataclass(eq=False)
class OpenWatch:
    """A watch that is being answered."""

    path: str
    transport: asyncio.BaseTransport
    silent: bool = False


class APIProxy:
    """Passes everything on, except what it is told to lose.

    Writes go to `judge`, requests to watch to `judge_watch` with their path, and every event of a
    watch to `passes`.
    """

    def __init__(self, kubeconfig: Path) -> None:
        cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
        self._server = cluster["server"].rstrip("/")
        self._authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.judge: Judge = lambda write: None
        self.writes: list[Write] = []
        self.judge_watch: Callable[[str], WatchFault] = lambda path: None
        self.passes: Callable[[WatchEvent], bool] = lambda event: True
        self.dropped: list[WatchEvent] = []
        self.watches: set[OpenWatch] = set()
        self.watch_faults = 0
        """Requests to watch that were answered with a fault."""
        application = web.Application(client_max_size=8 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cadata=self._authority)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            read_bufsize=2**22,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def silence_watches(self) -> None:
        """Let the watches that are open bring nothing more, without closing them."""
        for watch in self.watches:
            watch.silent = True

    def cut_watches(self) -> None:
        """Reset the connections of all open watches."""
        for watch in list(self.watches):
            watch.transport.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        if "watch" in request.query:
            return await self._handle_watch(request)
        fault: Fault = None
        if request.method not in ("GET", "HEAD"):
            body = json.loads(data) if data else {}
            write = Write(method=request.method, path=request.path, body=body)
            self.writes.append(write)
            fault = self.judge(write)
        if isinstance(fault, Refuse):
            return web.json_response(_failure(fault), status=fault.status)
        return await self._forward(request, data, lose=isinstance(fault, LoseAnswer))

    async def _handle_watch(self, request: web.Request) -> web.StreamResponse:
        match self.judge_watch(request.path):
            case Refuse() as fault:
                self.watch_faults += 1
                return web.json_response(_failure(fault), status=fault.status)
            case Expire():
                self.watch_faults += 1
                status = _failure(Refuse(410, "too old resource version"))
                return web.json_response({"type": "ERROR", "object": status})
        assert request.transport is not None
        watch = OpenWatch(request.path, request.transport)
        self.watches.add(watch)
        try:
            return await self._forward_watch(request, watch)
        finally:
            self.watches.discard(watch)

    async def _forward_watch(self, request: web.Request, watch: OpenWatch) -> web.StreamResponse:
        headers = _end_to_end(request.headers)
        url = self._server + str(request.rel_url)
        async with self._session.get(url, headers=headers) as answer:
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
            await response.prepare(request)
            with suppress(ConnectionResetError):
                async for line in answer.content:
                    if not watch.silent and self._passes(line):
                        await response.write(line)
                if watch.silent:
                    # The server ends what it serves in time; a dead connection is not even ended.
                    await asyncio.Event().wait()
                await response.write_eof()
            return response

    def _passes(self, line: bytes) -> bool:
        found = json.loads(line)
        if found.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
            return True
        event = WatchEvent(type=found["type"], body=found["object"])
        if self.passes(event):
            return True
        self.dropped.append(event)
        return False

    async def _forward(
        self, request: web.Request, data: bytes, *, lose: bool
    ) -> web.StreamResponse:
        headers = _end_to_end(request.headers)
        url = self._server + str(request.rel_url)
        async with self._session.request(
            request.method, url, data=data or None, headers=headers
        ) as answer:
            if lose:
                await answer.read()
                assert request.transport is not None
                request.transport.abort()
                raise ConnectionResetError("the answer is lost")
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def _failure(fault: Refuse) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": fault.message,
        "code": fault.status,
    }


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    hop_by_hop = ("host", "content-length", "transfer-encoding")
    return {name: value for name, value in headers.items() if name.lower() not in hop_by_hop}
