"""A proxy in front of a real API server that loses, refuses and delays what it is told to."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

LONGEST_LINE = 16 * 2**20
"""Octets of the longest watch event that is passed on."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """A request that changes something, as the proxy sees it."""

    method: str
    path: str
    body: dict[str, Any]

    @property
    def row_states(self) -> list[str]:
        """States of the deliveries that a write of the ledger carries."""
        deliveries = self.body.get("status", {}).get("deliveries") or []
        letters = self.body.get("states") or ""
        return [*(row["state"] for row in deliveries), *(SLICE_STATES[item] for item in letters)]


SLICE_STATES = {
    "P": "Pending",
    "C": "Claimed",
    "S": "Sent",
    "R": "Retrying",
    "F": "Failed",
    "K": "Skipped",
    "U": "Unknown",
}
"""What the letters of a slice mean."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """A request that changes nothing, as the proxy sees it."""

    path: str
    query: Mapping[str, str]

    @property
    def is_watch(self) -> bool:
        """Whether it asks for a stream of events."""
        return self.query.get("watch") in ("true", "1")


@dataclass(frozen=True)
class Refuse:
    """Answer with an error of the API server's making; nothing is stored."""

    status: int
    message: str
    retry_after: int | None = None


@dataclass(frozen=True)
class LoseRequest:
    """Cut the connection; the API server never hears of it."""


@dataclass(frozen=True)
class LoseAnswer:
    """Let the API server do it, and cut the connection instead of answering."""


@dataclass(frozen=True)
class Stall:
    """Wait so many seconds before passing it on."""

    seconds: float


@dataclass(frozen=True)
class Hold:
    """Keep it until the client has gone; the API server never hears of it."""


@dataclass(frozen=True)
class Withhold:
    """Let the API server do it, and keep the answer until the client has gone.

    `reached` is called once the API server has done it.
    """

    reached: Callable[[], None] = lambda: None


Fault = Refuse | LoseRequest | LoseAnswer | Stall | Hold | Withhold | None
Judge = Callable[[Write], Fault]


@dataclass(frozen=True)
class Expire:
    """Begin a watch with the ERROR event of a resource version that is too old."""


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


ReadJudge = Callable[[Read], Fault]


@dataclass(eq=False, kw_only=True)
class WatchStream:
    """A watch that is being passed on."""

    request: web.Request
    response: web.StreamResponse
    silent: bool = field(default=False)

    def cut(self) -> None:
        """Reset the connection."""
        if self.request.transport is not None:
            self.request.transport.abort()

    async def expire(self) -> None:
        """Say what an API server says whose history does not go back far enough, and end."""
        self.silent = True
        event = {"type": "ERROR", "object": _EXPIRED}
        with suppress(ConnectionError):
            await self.response.write(json.dumps(event).encode() + b"\n")
            await self.response.write_eof()
        if self.request.transport is not None:
            self.request.transport.close()


_EXPIRED = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "reason": "Expired",
    "message": "too old resource version",
    "code": 410,
}


class APIProxy:
    """Passes everything on, watches included, except requests for which a judge has a fault.

    Attributes
    ----------
    judge, judge_read
        Asked about every write, and about every other request.
    judge_watch
        Asked about every request to watch, by its path; ``watch_faults`` counts its faults.
    passes
        Asked about every event of a watch; ``dropped`` has those that did not pass.
    requests
        How many requests came.
    writes
        Every write that came, in order.
    watches
        The watches that are open.
    """

    def __init__(self, kubeconfig: Path) -> None:
        cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
        self._server = cluster["server"].rstrip("/")
        self._authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.judge: Judge = lambda write: None
        self.judge_read: ReadJudge = lambda read: None
        self.judge_watch: Callable[[str], WatchFault] = lambda path: None
        self.passes: Callable[[WatchEvent], bool] = lambda event: True
        self.dropped: list[WatchEvent] = []
        self.watch_faults = 0
        self.writes: list[Write] = []
        self.requests = 0
        self.watches: set[WatchStream] = set()
        self._forwarding = 0
        self._idle = asyncio.Event()
        self._idle.set()
        application = web.Application(client_max_size=8 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cadata=self._authority)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            read_bufsize=LONGEST_LINE,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port: int = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def behave(self) -> None:
        """Have no more faults; a watch that went silent stays so until it ends."""
        self.judge = lambda write: None
        self.judge_read = lambda read: None

    def silence_watches(self) -> None:
        """Let the watches that are open bring nothing more, without closing them."""
        for watch in self.watches:
            watch.silent = True

    def cut_watches(self) -> None:
        """Reset the connections of all open watches."""
        for watch in [*self.watches]:
            watch.cut()

    async def idle(self) -> None:
        """Wait until the API server has answered every write that was passed on.

        What a killed client had asked for is then done or not, and does not change any more.
        """
        await self._idle.wait()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        self.requests += 1
        fault: Fault
        if request.method in ("GET", "HEAD"):
            read = Read(path=request.path, query=request.query)
            if read.is_watch and (watch_fault := self.judge_watch(request.path)) is not None:
                self.watch_faults += 1
                return _watch_answer(watch_fault)
            fault = self.judge_read(read)
        else:
            body = json.loads(data) if data else {}
            write = Write(method=request.method, path=request.path, body=body)
            self.writes.append(write)
            fault = self.judge(write)
        match fault:
            case Refuse():
                return _refusal(fault)
            case LoseRequest():
                return _cut(request)
            case Hold():
                await _until_gone(request)
                return _cut(request)
            case Stall(seconds=seconds):
                await asyncio.sleep(seconds)
        return await self._forward(request, data, fault)

    async def _forward(self, request: web.Request, data: bytes, fault: Fault) -> web.StreamResponse:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "content-length", "transfer-encoding")
        }
        url = self._server + str(request.rel_url)
        counted = request.method not in ("GET", "HEAD")
        self._count(counted)
        try:
            async with self._session.request(
                request.method, url, data=data or None, headers=headers
            ) as answer:
                if isinstance(fault, LoseAnswer | Withhold):
                    await answer.read()
                    counted = self._uncount(counted)
                    return await _lose(request, fault)
                return await self._pass_on(request, answer)
        except (aiohttp.ClientError, ConnectionError):
            # The API server is away, or the client is.
            return _cut(request)
        finally:
            self._uncount(counted)

    async def _pass_on(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            status=answer.status,
            headers={
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in ("content-length", "transfer-encoding")
            },
        )
        await response.prepare(request)
        if Read(path=request.path, query=request.query).is_watch and answer.status == 200:
            await self._stream(WatchStream(request=request, response=response), answer)
        else:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        await response.write_eof()
        return response

    async def _stream(self, stream: WatchStream, answer: aiohttp.ClientResponse) -> None:
        self.watches.add(stream)
        try:
            async for line in answer.content:
                if stream.request.transport is None:
                    return
                if not stream.silent and self._passes(line):
                    await stream.response.write(line)
            # A dead connection does not end when the server ends it: the client must notice.
            if stream.silent:
                await _until_gone(stream.request)
        finally:
            self.watches.discard(stream)

    def _passes(self, line: bytes) -> bool:
        found = json.loads(line)
        if found.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
            return True
        event = WatchEvent(type=found["type"], body=found["object"])
        if self.passes(event):
            return True
        self.dropped.append(event)
        return False

    def _count(self, counted: bool) -> None:
        if counted:
            self._forwarding += 1
            self._idle.clear()

    def _uncount(self, counted: bool) -> bool:
        if counted:
            self._forwarding -= 1
            if self._forwarding == 0:
                self._idle.set()
        return False


def _watch_answer(fault: Refuse | Expire) -> web.Response:
    if isinstance(fault, Refuse):
        return _refusal(fault)
    return web.json_response({"type": "ERROR", "object": _EXPIRED})


def _refusal(fault: Refuse) -> web.Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": fault.message,
        "code": fault.status,
    }
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response(status, status=fault.status, headers=headers)


async def _lose(request: web.Request, fault: LoseAnswer | Withhold) -> web.Response:
    if isinstance(fault, Withhold):
        fault.reached()
        await _until_gone(request)
    return _cut(request)


async def _until_gone(request: web.Request) -> None:
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(0.02)


def _cut(request: web.Request) -> web.Response:
    """Reset a connection; nobody gets the response that its handler has to return."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
