"""A proxy in front of a real API server that loses, refuses and delays what it is told to."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable
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


Fault = Refuse | LoseAnswer | None
Judge = Callable[[Write], Fault]


class APIProxy:
    """Passes everything on, watches included, except writes for which `judge` has a fault."""

    def __init__(self, kubeconfig: Path) -> None:
        cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
        self._server = cluster["server"].rstrip("/")
        self._authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.judge: Judge = lambda write: None
        self.writes: list[Write] = []
        application = web.Application(client_max_size=8 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cadata=self._authority)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
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

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        fault: Fault = None
        if request.method not in ("GET", "HEAD"):
            body = json.loads(data) if data else {}
            write = Write(method=request.method, path=request.path, body=body)
            self.writes.append(write)
            fault = self.judge(write)
        if isinstance(fault, Refuse):
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "message": fault.message,
                "code": fault.status,
            }
            return web.json_response(status, status=fault.status)
        return await self._forward(request, data, lose=isinstance(fault, LoseAnswer))

    async def _forward(
        self, request: web.Request, data: bytes, *, lose: bool
    ) -> web.StreamResponse:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "content-length", "transfer-encoding")
        }
        url = self._server + str(request.rel_url)
        async with self._session.request(
            request.method, url, data=data or None, headers=headers
        ) as answer:
            if lose:
                await answer.read()
                assert request.transport is not None
                request.transport.abort()
                raise ConnectionResetError("the answer is lost")
            response = web.StreamResponse(
                status=answer.status,
                headers={
                    name: value
                    for name, value in answer.headers.items()
                    if name.lower() not in ("content-length", "transfer-encoding")
                },
            )
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
