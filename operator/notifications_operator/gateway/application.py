"""The gateway put together: starts everything in order, and stops it in order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine, Mapping
from importlib import metadata
from typing import Any, Protocol

from ..kube.client import KubernetesClient
from ..kube.transport import Transport
from ..telemetry import metrics
from .callers.limits import CallerRates, FailureLimit
from .callers.tokens import StaticTokens
from .inbox.ids import row_id
from .principals import Access
from .readiness import Check
from .rest.application import rest_application
from .rest.bodies import BodyLimits
from .rest.internal import internal_application
from .rest.sending import sending_router
from .sending.answer import Answers
from .sending.backlog import Backlog
from .sending.cluster import Cluster
from .sending.sender import Sender
from .server import Listener
from .settings import GatewaySettings

logger = logging.getLogger(__name__)


class Client(Cluster, Protocol):
    """Connections to the cluster, which are closed at the end."""

    async def close(self) -> None:
        """Close them."""
        ...


class Gateway:
    """One process of the gateway."""

    def __init__(self, settings: GatewaySettings, client: Client) -> None:
        metrics.set_build(metadata.version("notifications-operator"))
        self._settings = settings
        self._client = client
        self._stop = asyncio.Event()
        self._ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._tokens = StaticTokens(settings.callers, namespace=settings.namespace)
        self._backlog = Backlog(client, most=settings.sending.max_unfinished)
        access = Access(
            self._tokens,
            failures=FailureLimit(per_minute=settings.callers.failures_per_minute),
        )
        server = settings.server
        sending = sending_router(
            Sender(client, self._backlog, settings.sending),
            Answers(row_id=row_id, rows=None, timeout=settings.sending.rows_timeout),
            access,
            rates=CallerRates(),
            limits=BodyLimits(max_bytes=server.max_body_bytes, seconds=server.body_timeout),
        )
        self._public = Listener(
            rest_application(notifications=[sending], cors_origins=server.cors_origins),
            host=server.host,
            port=server.port,
            grace=server.shutdown_grace,
        )
        self._internal = Listener(
            internal_application(readiness=self._readiness),
            host=server.host,
            port=server.internal_port,
            grace=1,
        )

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until something that must not end ends."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            await self._tokens.load()
            internal_port = await self._internal.start()
            port = await self._public.start()
            logger.info("serving", extra={"port": port, "internal_port": internal_port})
            self._ports.set_result((port, internal_port))
            await self._work()
        finally:
            await self._close()

    async def wait_started(self) -> tuple[int, int]:
        """Return the ports, public and internal, once they are listened on."""
        return await asyncio.shield(self._ports)

    def stop(self) -> None:
        """Let `run` finish what is under way, and end."""
        self._stop.set()

    async def _work(self) -> None:
        """Keep everything going until it is to stop."""
        works: Mapping[str, Coroutine[Any, Any, object]] = {
            "public listener": self._public.run(),
            "internal listener": self._internal.run(),
            "callers": self._tokens.keep_loading(),
        }
        own = [asyncio.create_task(work, name=name) for name, work in works.items()]
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([stop, *own], return_when=asyncio.FIRST_COMPLETED)
            if stop in done:
                await self._drain()
                return
            for task in done:
                task.result()
            raise RuntimeError("what must not end has ended")
        finally:
            for task in (stop, *own):
                task.cancel()
            await asyncio.gather(stop, *own, return_exceptions=True)

    async def _drain(self) -> None:
        """Let clients go elsewhere, then finish what is under way."""
        logger.info("stopping")
        await asyncio.sleep(self._settings.server.shutdown_delay)
        await self._public.stop()

    async def _close(self) -> None:
        await self._public.stop()
        await self._internal.stop()
        await self._backlog.close()
        await self._client.close()

    def _readiness(self) -> Mapping[str, Check]:
        stopping = "stopping" if self._stop.is_set() else None
        return {
            "callers": Check(problem=self._tokens.problem, serving=self._tokens.loaded),
            "listener": Check(problem=stopping, serving=False),
        }


async def run(settings: GatewaySettings) -> None:
    """Run the gateway with these settings."""
    client = KubernetesClient(await Transport.connect())
    await Gateway(settings, client).run()
