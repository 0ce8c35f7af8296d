"""The gateway put together: starts everything in order, and stops it in order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine, Mapping
from functools import partial
from importlib import metadata
from typing import Any, Protocol

import aiohttp

from ..kube.client import KubernetesClient
from ..kube.reviews import TokenReviews as KubernetesTokenReviews
from ..kube.transport import Transport
from ..telemetry import metrics
from .callers.limits import CallerRates, FailureLimit
from .callers.tokens import StaticTokens
from .connections import ConnectionTimeouts
from .identity.documents import make_session
from .identity.identity import Identity
from .inbox.database import Database
from .inbox.engines import connect_postgresql
from .inbox.ids import row_id
from .inbox.inbox import Inbox
from .inbox.retention import Retention
from .internal.reviewer import TokenReviewer, TokenReviews
from .internal.router import internal_router
from .page.routes import page_router
from .people import CatalogLists, People
from .principals import Access
from .readiness import Check
from .rest.application import rest_application
from .rest.bodies import BodyLimits, read_body
from .rest.internal import internal_application
from .rest.reading import read_router
from .rest.sending import sending_router
from .sending.answer import Answers
from .sending.backlog import Backlog
from .sending.cluster import Cluster
from .sending.sender import Sender
from .server import Listener
from .settings import GatewaySettings
from .signals.files import allow_sockets
from .signals.hub import Hub
from .signals.origins import Origins
from .signals.relay import Relay
from .signals.routes import signals_router
from .signals.sessions import close_ended

logger = logging.getLogger(__name__)


class Client(Cluster, CatalogLists, Protocol):
    """Connections to the cluster, which are closed at the end."""

    async def close(self) -> None:
        """Close them."""
        ...


class Gateway:
    """One process of the gateway.

    Parameters
    ----------
    client, reviews
        The API server.
    session
        HTTP client for issuers of tokens; closed at the end.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        client: Client,
        reviews: TokenReviews,
        session: aiohttp.ClientSession,
    ) -> None:
        metrics.set_build(metadata.version("notifications-operator"))
        self._settings = settings
        self._client = client
        self._session = session
        self._stop = asyncio.Event()
        self._ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._tokens = StaticTokens(settings.callers, namespace=settings.namespace)
        self._backlog = Backlog(client, most=settings.sending.max_unfinished)
        self._database = Database(settings.database)
        self._inbox = Inbox(
            self._database, defaults=settings.default_settings, channels=settings.channels
        )
        self._people = People(client, settings.catalog_namespaces)
        self._identity = Identity(
            oidc=settings.oidc,
            backstage=settings.backstage,
            namespace=settings.namespace,
            session=session,
            database=self._database,
            find_user_by_email=self._people.find,
            # Of its own: other credentials that are not valid keep nobody from logging in.
            attempts=FailureLimit(per_minute=settings.callers.failures_per_minute),
        )
        self._hub = Hub(settings.signals)
        self._relay = Relay(
            self._database.engine,
            self._hub,
            settings.signals,
            connect=partial(connect_postgresql, settings.database, background=True),
            mutes=self._inbox,
        )
        self._public = self._public_listener()
        self._internal = self._internal_listener(reviews)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until something that must not end ends."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        allow_sockets(self._settings.signals.max_sockets)
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

    def _public_listener(self) -> Listener:
        settings = self._settings
        server = settings.server
        limits = BodyLimits(max_bytes=server.max_body_bytes, seconds=server.body_timeout)
        access = Access(
            self._tokens,
            *self._identity.authenticators,
            failures=FailureLimit(per_minute=settings.callers.failures_per_minute),
        )
        sending = sending_router(
            Sender(self._client, self._backlog, settings.sending),
            Answers(row_id=row_id, rows=self._inbox, timeout=settings.sending.rows_timeout),
            access,
            rates=CallerRates(),
            limits=limits,
        )
        reading = read_router(self._inbox, access, read_body=partial(read_body, limits=limits))
        page = page_router(
            settings.page,
            app_base_url=settings.app_base_url,
            login=settings.oidc.login is not None,
        )
        others = [
            signals_router(self._hub, access, Origins(*server.cors_origins)),
            *self._identity.routers(access),
        ]
        return Listener(
            rest_application(
                notifications=[sending, reading],
                others=others if page is None else [*others, page],
                cors_origins=server.cors_origins,
            ),
            host=server.host,
            port=server.port,
            grace=server.shutdown_grace,
            ping_interval=settings.signals.ping_interval,
            timeouts=self._timeouts(),
        )

    def _internal_listener(self, reviews: TokenReviews) -> Listener:
        settings = self._settings
        operator = settings.internal
        routers = []
        if operator is not None:
            routers.append(internal_router(self._inbox, TokenReviewer(reviews, operator)))
        return Listener(
            internal_application(readiness=self._readiness, routers=routers),
            host=settings.server.host,
            port=settings.server.internal_port,
            grace=1,
            ping_interval=settings.signals.ping_interval,
            timeouts=self._timeouts(),
        )

    def _timeouts(self) -> ConnectionTimeouts:
        server = self._settings.server
        return ConnectionTimeouts(head=server.head_timeout, write=server.write_timeout)

    async def _work(self) -> None:
        """Keep everything going until it is to stop."""
        works: dict[str, Coroutine[Any, Any, object]] = {
            "public listener": self._public.run(),
            "internal listener": self._internal.run(),
            "callers": self._tokens.keep_loading(),
            "identity": self._identity.run(),
            "inbox": self._keep_inbox(),
        }
        if self._settings.oidc.match_email:
            works["people"] = self._people.run()
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

    async def _keep_inbox(self) -> None:
        """Wait for the database, without which services can send all the same; then keep it."""
        await self._database.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._database.keep_checking())
            tasks.create_task(self._relay.run())
            if (sessions := self._identity.sessions) is not None:
                interval = self._settings.signals.session_interval
                tasks.create_task(close_ended(self._hub, sessions, interval=interval))
            tasks.create_task(
                Retention(self._inbox, self._database, self._settings.retention).run()
            )

    async def _drain(self) -> None:
        """Let clients go elsewhere, then finish what is under way."""
        logger.info("stopping")
        await asyncio.sleep(self._settings.server.shutdown_delay)
        await self._public.stop()

    async def _close(self) -> None:
        await self._public.stop()
        await self._internal.stop()
        await self._backlog.close()
        await self._database.close()
        await self._session.close()
        await self._client.close()

    def _readiness(self) -> Mapping[str, Check]:
        identity = self._identity
        database = self._database
        stopping = "stopping" if self._stop.is_set() else None
        people = self._people.problem if self._settings.oidc.match_email else None
        return {
            "callers": Check(problem=self._tokens.problem, serving=self._tokens.loaded),
            "database": Check(problem=database.problem, serving=not database.is_newer),
            "signals": Check(problem=self._relay.problem),
            "identity": Check(problem=identity.problem, serving=identity.ready),
            "people": Check(problem=people),
            "listener": Check(problem=stopping, serving=False),
        }


async def run(settings: GatewaySettings) -> None:
    """Run the gateway with these settings."""
    transport = await Transport.connect()
    gateway = Gateway(
        settings,
        KubernetesClient(transport),
        KubernetesTokenReviews(transport),
        make_session(),
    )
    await gateway.run()
