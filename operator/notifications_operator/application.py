"""The operator put together: starts everything in order, and stops it in order."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import metadata
from itertools import chain, repeat
from typing import TypeVar

import kopf

from .api.errors import KubernetesError
from .api.references import NOTIFICATIONS, PROCESSORS
from .delivery.engine import Engine
from .handlers.catalog import CatalogFeed
from .handlers.definitions import DefinitionCheck
from .handlers.login import Login
from .handlers.resources import make_registry, make_settings
from .handlers.resync import WatchCheck
from .kube.candidacy import Candidate
from .kube.clients import Clients
from .kube.events import EventRecorder
from .kube.leadership import Leader, Leadership, Terms
from .processors.base import GatewayAddress
from .processors.inbox.client import GatewayClient
from .processors.inbox.preferences import CONCURRENCY, GatewayPreferences
from .processors.registry import ProcessorRegistry
from .settings import GatewaySettings, Settings
from .telemetry import metrics
from .telemetry.background import BackgroundTasks, end_tasks
from .telemetry.server import TelemetryServer

logger = logging.getLogger(__name__)

WATCH_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before watches that ended are started anew, the first time, the second and so on."""

PREFERENCES_SECONDS = 10.0
"""Seconds that one question about users' settings may take; a Notification waits for it."""

WAIT_SECONDS = 2.0
"""Seconds between tries of what the API server does not do yet."""

T = TypeVar("T")


class Application:
    """One process of the operator."""

    def __init__(self, settings: Settings, clients: Clients) -> None:
        metrics.set_build(metadata.version("notifications-operator"))
        identity = f"{settings.pod_name}_{secrets.token_hex(4)}"
        self._clients = clients
        self._client = client = clients.work
        self._namespace = settings.namespace
        self._reached = False
        self._waiting: dict[str, str] = {}
        self._background = BackgroundTasks()
        recorder = EventRecorder(client, instance=settings.pod_name)
        self._leadership = Leadership(
            clients.lease,
            _candidate(settings, identity=identity),
            terms=_terms(settings),
            changed=self._lead,
            report=partial(_report, recorder, _pod(settings)),
        )
        self._preferences = _preferences(settings.gateway)
        self._engine = Engine(
            settings=settings,
            cluster=client,
            recorder=recorder,
            registry=ProcessorRegistry.installed(),
            holder=identity,
            leadership=self._leadership,
            preferences=self._preferences,
            background=self._background,
        )
        self._catalog = CatalogFeed(
            clients.watches,
            recorder,
            namespaces=settings.catalog.namespaces or [settings.namespace],
            settings=settings.catalog,
            watch=settings.watch,
            publish=self._engine.use_directory,
            leading=self._leads,
            background=self._background,
        )
        self._definitions = DefinitionCheck(
            client, publish=lambda fit: self._engine.use_definitions(fit=fit)
        )
        self._watch_settings = settings.watch
        interval = settings.watch.resync_interval
        engine = self._engine
        self._checks = {
            NOTIFICATIONS: WatchCheck(
                client,
                NOTIFICATIONS,
                offer=engine.offer,
                withdraw=lambda body: engine.withdraw(body["metadata"]["uid"]),
                interval=interval,
            ),
            PROCESSORS: WatchCheck(
                client,
                PROCESSORS,
                offer=engine.offer_processor,
                withdraw=engine.withdraw_processor,
                interval=interval,
            ),
        }
        self._server = TelemetryServer(
            settings.server,
            readiness=self._readiness,
            measure=engine.measure,
            remarks=self._remarks,
        )
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT."""
        port = await self._server.start()
        self._handle_signals()
        logger.info("serving probes and metrics", extra={"port": port})
        work = asyncio.create_task(self._work(), name="operator")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                logger.info("stopping")
                await self._engine.drain()
                work.cancel()
            await asyncio.gather(work, return_exceptions=self._stop.is_set())
            if self._reached:
                await self._leadership.release()
        finally:
            for task in (work, stop):
                task.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)
            await self._server.close()
            await self._clients.close()
            if self._preferences is not None:
                await self._preferences.close()

    async def _work(self) -> None:
        """Start in order: the API server, the processors, the watches, then all the rest.

        A process that does not hold the Lease watches everything too, so that it can take over
        at once; the engine decides nothing meanwhile.
        """
        version = await self._wait_for("api-server", self._client.version)
        logger.info("API server reached", extra={"version": version})
        self._reached = True
        definitions = self._background.keep("definitions", self._definitions.run)
        try:
            await self._background.keep_all({"processors": self._find_processors})
            await self._background.keep_all(
                {
                    "watches": self._keep_watching,
                    "catalog": self._catalog.run,
                    "leader election": self._leadership.elect,
                    "Lease of earlier releases": self._leadership.succeed,
                    "leadership": self._leadership.complete,
                    **{f"check of {plural}": check.run for plural, check in self._checks.items()},
                }
            )
        finally:
            await end_tasks([definitions])

    async def _find_processors(self) -> None:
        """Hand over the processors that there are before any Notification is."""
        list_processors = partial(self._client.list_processors, self._namespace)
        for body in await self._wait_for("processors", list_processors):
            self._engine.offer_processor(body)
            # If it is gone before kopf lists, no watch will ever say so.
            self._checks[PROCESSORS].saw(body)

    async def _keep_watching(self) -> None:
        """Run kopf's watches, and start them anew when they end.

        They do so at answers that kopf does not expect, such as 404 or 410 to a list (tried with
        1.45.2). Ending the process for it would put everything under way in doubt. A kind that
        the API server does not know when kopf starts is never watched, so it is waited for.
        """
        for pause in chain(WATCH_PAUSES, repeat(WATCH_PAUSES[-1])):
            for plural in self._checks:
                await self._wait_for(plural, partial(self._client.check_list, plural))
            login = Login()
            watches = await kopf.spawn_tasks(
                registry=make_registry(self._engine, self._checks, login),
                settings=make_settings(self._watch_settings),
                clusterwide=True,
            )
            # kopf has just taken the signals; stopping begins with draining the engine.
            self._handle_signals()
            try:
                done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = None if task.cancelled() else task.exception()
                    logger.error("a watch has ended: %s", error, extra={"watch": task.get_name()})
            finally:
                await end_tasks(watches)
                await login.close()
            await asyncio.sleep(pause)

    async def _wait_for(self, check: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the API server until it answers; log and show what is in the way.

        Parameters
        ----------
        check
            The check of the readiness probe that this is about.
        """
        while True:
            try:
                answer = await ask()
            except KubernetesError as error:
                if self._waiting.get(check) != str(error):
                    logger.warning("waiting for %s: %s", check, error)
                self._waiting[check] = str(error)
                await asyncio.sleep(WAIT_SECONDS)
            else:
                self._waiting.pop(check, None)
                return answer

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    def _leads(self) -> bool:
        return self._leadership.epoch is not None

    def _lead(self) -> None:
        """Pass on that this process has begun or ceased to lead."""
        self._engine.lead()
        if self._leads():
            self._catalog.lead()

    def _readiness(self) -> Mapping[str, str | None]:
        unreadable = self._catalog.unreadable
        watches = [
            *(self._waiting[plural] for plural in self._checks if plural in self._waiting),
            *(check.problem for check in self._checks.values() if check.problem),
        ]
        synced = self._engine.synced
        catalog = "; ".join(unreadable.values()) or "not read yet"
        server = self._waiting.get("api-server", "not reached yet")
        return {
            "api-server": None if self._reached else server,
            "definitions": self._definitions.problem,
            "processors": self._waiting.get("processors"),
            "catalog": None if synced else catalog,
            "watch": "; ".join(watches) or None,
            "lease": self._leadership.problem,
            "tasks": self._background.problem,
        }

    def _remarks(self) -> Mapping[str, str]:
        leader = self._leadership.leader
        standby = {} if leader is None else {"standby": leader.describe()}
        return {**self._engine.remarks, **standby}


def _candidate(settings: Settings, *, identity: str) -> Candidate:
    return Candidate(
        identity=identity,
        pod_name=settings.pod_name,
        pod_uid=settings.pod_uid,
        install=f"{settings.namespace}/{settings.install}",
        duration=settings.leader_election.lease_duration,
    )


def _terms(settings: Settings) -> Terms:
    election = settings.leader_election
    return Terms(
        namespace=election.namespace,
        former_name=election.former_lease_name,
        renew_interval=election.renew_interval,
        retry_period=election.retry_period,
    )


def _pod(settings: Settings) -> dict[str, str]:
    """Return the pod of this process as a core/v1 ``ObjectReference``."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": settings.namespace,
        "name": settings.pod_name,
    }
    return {**pod, "uid": settings.pod_uid} if settings.pod_uid else pod


async def _report(recorder: EventRecorder, pod: Mapping[str, str], leader: Leader) -> None:
    """Tell by an Event that another install leads."""
    await recorder.record(
        pod,
        warning=True,
        reason="StandingBy",
        action="LeaderElection",
        note=leader.describe(),
    )


def _preferences(settings: GatewaySettings) -> GatewayPreferences | None:
    """Return who knows users' settings: the gateway, if there is one."""
    address = GatewayAddress.of(settings)
    if address is None:
        return None
    client = GatewayClient(address, connections=CONCURRENCY, timeout=PREFERENCES_SECONDS)
    return GatewayPreferences(client)


async def run(settings: Settings) -> None:
    """Run the operator with these settings."""
    await Application(settings, await Clients.connect()).run()
