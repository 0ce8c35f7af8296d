"""Where a campaign plays: cluster, proxy, mail servers, and the operator between them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

import aiohttp

from hack.cluster import Cluster, Source, up
from tests.support.installation import Installation
from tests.support.kubernetes import APIError, Kubernetes, Object, complete, condition_is
from tests.support.proxy import APIProxy

from .evidence import Doubt, Evidence, Expectation, Key, Orphan
from .figures import Figures
from .judge import count_doubles, judge
from .ledgers import rows_of
from .operators import IMPATIENT, OBSERVED, SPARE_CONNECTIONS, Operator
from .servers import MailServer, user_of
from .workload import Job, entities

NAMESPACE = "notifications-system"
"""Where the operator and its processors live."""

REDELIVER = "notifications.orchestrator.io/redeliver"
UID_LABEL = "notifications.orchestrator.io/notification-uid"

EDIT_SHARE = 0.3
"""How often `Stage.edit_some` edits something."""

EDITED_OF = 6
"""How many of the newest Notifications it chooses from."""

API_SECONDS = 90.0
"""Longest absence of the API server that a campaign itself outlasts."""

T = TypeVar("T")


@contextmanager
def installed(name: str, directory: Path) -> Iterator[Installation]:
    """Start a cluster of our own and install the chart in it."""
    cluster = up(name, source=Source.LOCAL)
    try:
        installation = Installation(cluster=cluster, directory=directory, namespace=NAMESPACE)
        installation.install(values())
        yield installation
    finally:
        cluster.down()


def values() -> Object:
    """Return the chart's values."""
    return {
        "catalog": {"entities": entities(), "settle": 0.2, "removalSettle": 0.5},
        "watch": {"resyncInterval": 10},
        "delivery": {"openWait": 1, "verifyInterval": 2, "shutdownGrace": 20},
    }


@dataclass(kw_only=True)
class Stage:
    """One campaign's part of a cluster; see `stage`."""

    operators: Sequence[Operator]
    kubernetes: Kubernetes
    servers: dict[str, MailServer]
    namespace: str
    figures: Figures
    jobs: dict[str, Job] = field(default_factory=dict)
    editions: dict[str, int] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    asked: list[Doubt] = field(default_factory=list)
    reopened: list[Doubt] = field(default_factory=list)
    claims: set[tuple[Key, str | None]] = field(default_factory=set)
    crashes: list[str] = field(default_factory=list)
    held_up: list[str] = field(default_factory=list)
    further_namespaces: list[str] = field(default_factory=list)
    orphans: list[Orphan] = field(default_factory=list)
    overruled: list[str] = field(default_factory=list)

    @property
    def cluster(self) -> Cluster:
        """The cluster, whose parts can be killed too."""
        return self.operator.installation.cluster

    @property
    def operator(self) -> Operator:
        """The operator, or the first of several."""
        return self.operators[0]

    @property
    def proxy(self) -> APIProxy:
        """What is between the operator and the API server."""
        return self.operator.proxy

    def check_alive(self) -> None:
        """Start operators again that ended on their own; `judge` will say so."""
        for operator in self.operators:
            operator.check_alive()

    # Work

    async def create(self, jobs: Sequence[Job]) -> None:
        """Create Notifications, however long the API server is away."""
        for job in jobs:
            await self._persist(partial(self.kubernetes.create, job.manifest))
            self.jobs[job.name] = job

    async def edit(self, name: str) -> None:
        """Edit the payload of a Notification: everybody gets it anew, as an update."""
        edition = self.editions.get(name, 0) + 1
        self.editions[name] = edition
        patch = {"spec": {"payload": {"title": f"{name} edition {edition}"}}}
        await self._patch(name, self.jobs[name].namespace, patch)

    async def edit_some(self, random: Random) -> None:
        """Edit now and then one of the newest Notifications, which may be under way."""
        if self.jobs and random.random() < EDIT_SHARE:
            await self.edit(random.choice([*self.jobs][-EDITED_OF:]))

    async def redeliver_held(self) -> int:
        """Ask for everything again that is held, as a person does; return how much it was."""
        for body in await self.bodies():
            rows = rows_of(body)
            held = [row.key for row in rows if row.state == "Unknown"]
            if held:
                moment = datetime.now(UTC)
                self.asked.extend(Doubt(key=key, moment=moment) for key in held)
                failed = [row.key for row in rows if row.state == "Failed"]
                self.reopened.extend(Doubt(key=key, moment=moment) for key in failed)
                annotation = {REDELIVER: moment.isoformat()}
                found = body["metadata"]
                patch = {"metadata": {"annotations": annotation}}
                await self._patch(found["name"], found["namespace"], patch)
        return len(self.asked)

    async def _patch(self, name: str, namespace: str, patch: Object) -> None:
        change = partial(self.kubernetes.patch, "Notification", name, namespace, patch)
        await self._persist(change)

    async def finished(self, *, seconds: float) -> bool:
        """Wait until every Notification is complete; False if some are not in time."""
        end = time.monotonic() + seconds
        while True:
            self.check_alive()
            bodies = await self._persist(self.bodies)
            found = {body["metadata"]["name"] for body in bodies or () if _settled(body)}
            if found == self.jobs.keys():
                return True
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.3)

    async def add_namespace(self) -> str:
        """Make another namespace for Notifications; return its name."""
        name = f"{self.namespace}-{len(self.further_namespaces) + 1}"
        await self.kubernetes.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
        self.further_namespaces.append(name)
        return name

    async def late(self, *, namespace: str, seconds: float) -> list[str]:
        """Return what is not complete in a namespace within so many seconds, and how far it is."""
        end = time.monotonic() + seconds
        while True:
            bodies = await self._persist(self.bodies) or []
            late = [
                f"{body['metadata']['name']} ({_progress(body)})"
                for body in bodies
                if body["metadata"]["namespace"] == namespace and not _settled(body)
            ]
            if not late or time.monotonic() > end:
                return late
            await asyncio.sleep(0.3)

    async def bodies(self) -> list[Object]:
        """Return all Notifications, each with its ``slices``."""
        bodies: list[Object] = []
        slices: list[Object] = []
        for namespace in (self.namespace, *self.further_namespaces):
            bodies += await self.kubernetes.list("Notification", namespace)
            slices += await self.kubernetes.list("NotificationDeliverySlice", namespace)
        for body in bodies:
            body["slices"] = [
                item
                for item in slices
                if item["metadata"]["labels"][UID_LABEL] == body["metadata"]["uid"]
            ]
        return bodies

    async def _persist(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Ask until the API server answers; None if what was to be created exists already."""
        end = time.monotonic() + API_SECONDS
        while True:
            try:
                return await ask()
            except APIError as error:
                if error.status == 409:
                    return None  # Our own create, whose answer was lost.
                if (400 <= error.status < 500 and error.status != 429) or time.monotonic() > end:
                    raise
            except aiohttp.ClientError:
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(0.3)

    # Kills

    async def after_strike(self, *, graceful: bool) -> None:
        """Wait until nothing of the operator can arrive any more; note what is in doubt."""
        if graceful:
            await self.operator.stop(begun=False)
        else:
            await self.operator.kill()
        self.proxy.behave()
        await self.proxy.idle()
        for server in self.servers.values():
            await server.peer.wait_for_open_connections(0)
        doubts = self._new_doubts(await self._persist(self.bodies) or [], datetime.now(UTC))
        if graceful:
            self.crashes.extend(f"SIGTERM left a claim: {doubt.key}" for doubt in doubts)
        self.doubts.extend(doubts)
        self.figures.in_doubt += len(doubts)

    def _new_doubts(self, bodies: list[Object], moment: datetime) -> list[Doubt]:
        """Return the claims that were not there when the operator was killed before."""
        claims = {
            (row.key, row.holder)
            for body in bodies
            for row in rows_of(body)
            if row.state == "Claimed"
        }
        new, self.claims = claims - self.claims, claims
        return [Doubt(key=key, moment=moment) for key, _ in new]

    # The judgement

    async def finish(self, *, seconds: float) -> None:
        """Let everything come to its end, and what is held as well, as a person wants it.

        Parameters
        ----------
        seconds
            Within so many everything must be complete.
        """
        await self.finished(seconds=seconds)
        self.figures.held = await self.redeliver_held()
        await self.finished(seconds=seconds)

    async def conclude(self) -> Figures:
        """Stop the operators at rest and judge what was left; complete the figures."""
        for operator in self.operators:
            await operator.look_for_leaks()
        for operator in self.operators:
            await operator.stop()
        return await self._judge()

    async def _judge(self) -> Figures:
        evidence = self.evidence(await self.bodies())
        figures = self.figures
        figures.broken = judge(evidence)
        figures.notifications = len(self.jobs)
        figures.deliveries = len(evidence.rows)
        figures.mails = sum(mail.accepted for mail in evidence.mails)
        figures.doubles = count_doubles(evidence.mails)
        figures.ambiguous = sum(not mail.answered for mail in evidence.mails)
        figures.failed = sum(row.state == "Failed" for row in evidence.rows)
        return figures

    def evidence(self, bodies: list[Object], *, names: Mapping[str, str] | None = None) -> Evidence:
        """Return what the operator is judged by.

        Parameters
        ----------
        bodies
            The Notifications in the end, each with its ``slices``.
        names
            Names of the Notifications by what their mails call them, if that is not the name.
        """
        expected: dict[Key, Expectation] = {}
        for job in self.jobs.values():
            expected |= job.expected
        strangers: list[str] = []
        mails = [
            replace(mail, key=_renamed(mail.key, names or {}))
            for server in self.servers.values()
            for mail in server.mails(strangers)
        ]
        strangers += [str(mail.key) for mail in mails if mail.key not in expected]
        servers = self.servers.values()
        return Evidence(
            expected=expected,
            holding=frozenset(server.processor for server in servers if server.hold),
            mails=mails,
            editions=self.editions,
            doubts=self.doubts,
            asked=self.asked,
            reopened=self.reopened,
            rows=[row for body in bodies for row in rows_of(body)],
            bodies=bodies,
            refused=_by_user(servers, lambda server: server.refused),
            refused_messages=_by_user(servers, lambda server: server.refused_messages),
            interrupted=frozenset(
                (server.processor, user_of(address))
                for server in servers
                for address in server.interrupted
            ),
            orphans=self.orphans,
            overruled=self.overruled,
            held_up=self.held_up,
            strangers=strangers,
            violations=[text for server in servers for text in server.peer.ledger.violations],
            leaks=[leak for operator in self.operators for leak in operator.leaks],
            crashes=[
                *self.crashes,
                *(crash for operator in self.operators for crash in operator.crashes),
            ],
        )


@asynccontextmanager
async def stage(
    installations: Sequence[Installation],
    servers: Sequence[MailServer],
    figures: Figures,
    *,
    impatient: bool = False,
    spare_connections: int = SPARE_CONNECTIONS,
    namespace: str | None = None,
) -> AsyncIterator[Stage]:
    """Set up mail servers, their processors and ready operators; leave nothing behind.

    Parameters
    ----------
    installations
        The chart in a cluster, once for each process.
    servers
        Mail servers, not started yet.
    figures
        What is counted.
    impatient
        Cut the operator's times short; see `impatient`.
    spare_connections
        Connections to the API server that an operator at rest may have more than at its start.
    namespace
        Where Notifications are, if that is not for this campaign to make.
    """
    async with AsyncExitStack() as stack:
        kubeconfig = installations[0].cluster.kubeconfig
        kubernetes = await stack.enter_async_context(Kubernetes(kubeconfig))
        for server in servers:
            await stack.enter_async_context(server.peer)
            if server.tokens is not None:
                await stack.enter_async_context(server.tokens)
        if namespace is None:
            namespace = f"chaos-{uuid.uuid4().hex[:8]}"
            await kubernetes.create(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            )
        for server in servers:
            if (secret := server.secret_manifest(NAMESPACE)) is not None:
                await kubernetes.create(secret)
            await kubernetes.create(server.manifest(NAMESPACE))
        operators = []
        for installation in installations:
            proxy = await stack.enter_async_context(APIProxy(kubeconfig))
            installation.command = IMPATIENT if impatient else OBSERVED
            operators.append(
                Operator(
                    installation=installation,
                    proxy=proxy,
                    servers=servers,
                    spare_connections=spare_connections,
                )
            )
        one = Stage(
            operators=operators,
            kubernetes=kubernetes,
            servers={server.processor: server for server in servers},
            namespace=namespace,
            figures=figures,
        )
        started = time.monotonic()
        try:
            for operator in operators:
                await operator.start()
            for server in servers:
                await kubernetes.wait(
                    "NotificationProcessor",
                    server.processor,
                    NAMESPACE,
                    condition_is("Ready", "True"),
                )
            for operator in operators:
                await operator.measure_baseline()
            yield one
        finally:
            figures.seconds = time.monotonic() - started
            for installation in installations:
                installation.close()
            for name in (namespace, *one.further_namespaces):
                await kubernetes.delete("Namespace", name)
            for server in servers:
                await kubernetes.delete("NotificationProcessor", server.processor, NAMESPACE)
                if server.secret is not None:
                    await kubernetes.delete("Secret", server.secret, NAMESPACE)


def _by_user(
    servers: Iterable[MailServer], counted: Callable[[MailServer], Counter[str]]
) -> Counter[tuple[str, str]]:
    """Return what servers counted by address, by processor and user."""
    return Counter(
        {
            (server.processor, user_of(address)): times
            for server in servers
            for address, times in counted(server).items()
        }
    )


def _renamed(key: Key, names: Mapping[str, str]) -> Key:
    return key._replace(notification=names.get(key.notification, key.notification))


def _progress(body: Object) -> str:
    """Say how far a Notification is."""
    states = Counter(f"{row.key.processor} {row.state} {row.reason}" for row in rows_of(body))
    rows = ", ".join(f"{times} {state}" for state, times in states.items())
    return f"{body.get('status', {}).get('state')}: {rows or 'no rows'}"


def _settled(body: Object) -> bool:
    """Whether a Notification is complete, and nothing was asked for that is not handled."""
    asked = body["metadata"].get("annotations", {}).get(REDELIVER)
    return complete(body) and asked in (None, body["status"].get("lastRedeliver"))
