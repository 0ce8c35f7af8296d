"""Serves probes and metrics over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ..settings import ServerSettings
from . import metrics

HEARTBEAT_SECONDS = 1.0
"""The event loop's pulse: how often it must come round."""

STALLED_SECONDS = 60.0
"""A loop that did not come round for so long is dead."""


class TelemetryServer:
    """``/livez``, ``/readyz`` and ``/metrics``.

    Live is the event loop's heartbeat and never the API server's health, because a restart during
    an outage would turn sends in flight into doubt. Ready is what ``readiness`` says: names of
    checks with what is wrong, or ``None``; ``remarks`` is what should be known all the same.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        readiness: Callable[[], Mapping[str, str | None]],
        measure: Callable[[], None],
        remarks: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._settings = settings
        self._readiness = readiness
        self._measure = measure
        self._remarks = remarks
        self._beat = 0.0
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> int:
        """Begin to serve; returns the port, which matters if it was asked to be free."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await site.start()
        self._heart = asyncio.create_task(self._pulse(), name="heartbeat")
        port: int = self._runner.addresses[0][1]
        return port

    async def close(self) -> None:
        """Stop serving."""
        self._heart.cancel()
        await self._runner.cleanup()

    async def _pulse(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._beat = loop.time()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _livez(self, _: web.Request) -> web.Response:
        age = asyncio.get_running_loop().time() - self._beat
        if age > STALLED_SECONDS:
            return web.Response(status=500, text=f"the event loop stalled for {age:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        checks = self._readiness()
        lines = [
            f"[{'+' if problem is None else '-'}]{name} {problem or 'ok'}\n"
            for name, problem in checks.items()
        ]
        lines += [f"[!]{name} {remark}\n" for name, remark in self._remarks().items()]
        failed = any(problem is not None for problem in checks.values())
        return web.Response(status=503 if failed else 200, text="".join(lines))

    async def _metrics(self, _: web.Request) -> web.Response:
        self._measure()
        metrics.measure_checks(self._readiness())
        metrics.TASKS.set(len(asyncio.all_tasks()))
        body = generate_latest()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
