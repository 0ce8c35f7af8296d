"""Where a campaign plays: cluster, proxy, mail servers, and the operator between them."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

import aiohttp

from hack.cluster import Cluster, Source, up
from tests.support.installation import Installation
from tests.support.kubernetes import APIError, Kubernetes, Object, complete, condition_is
from tests.support.proxy import SLICE_STATES, APIProxy

from .evidence import Doubt, Evidence, Expectation, Key, Row
from .figures import Figures
from .judge import count_doubles, judge
from .leaks import Holdings, holdings
from .servers import MailServer, user_of
from .workload import Job, entities

NAMESPACE = "notifications-system"
"""Where the operator and its processors live."""

REST_SECONDS = 60.0
"""Seconds in which an operator without work comes to rest: unused connections to the API server
are closed after 15 to 30 s."""

SPARE_FILES = 8
"""Open files that an operator at rest may have more than at its start: kept API connections."""

SPARE_TASKS = 6
"""Tasks that an operator at rest may have more than at its start: requests of ours, for example."""

REDELIVER = "notifications.orchestrator.io/redeliver"
UID_LABEL = "notifications.orchestrator.io/notification-uid"

EDIT_SHARE = 0.3
"""How often `Stage.edit_some` edits something."""

EDITED_OF = 6
"""How many of the newest Notifications it chooses from."""

API_SECONDS = 90.0
"""Longest absence of the API server that a campaign itself outlasts."""

T = TypeVar("T")

_IMPATIENT = (sys.executable, "-m", "tests.chaos.impatient", "run")


@contextmanager
def installed(name: str, directory: Path) -> Iterator[Installation]:
    """Start a cluster of our own and install the chart in it."""
    cluster = up(name, source=Source.LOCAL)
    try:
        installation = Installation(cluster=cluster, directory=directory, namespace=NAMESPACE)
        installation.install(
            {
                "catalog": {
                    "entities": entities(),
                    "settle": 0.2,
                    "removalSettle": 0.5,
                },
                "watch": {"resyncInterval": 10},
                "delivery": {"openWait": 1, "verifyInterval": 2, "shutdownGrace": 20},
            }
        )
        yield installation
    finally:
        cluster.down()


@dataclass(kw_only=True)
class Stage:
    """One campaign's part of a cluster; see `stage`."""

    installation: Installation
    kubernetes: Kubernetes
    proxy: APIProxy
    servers: dict[str, MailServer]
    namespace: str
    figures: Figures
    jobs: dict[str, Job] = field(default_factory=dict)
    editions: dict[str, int] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    asked: list[Doubt] = field(default_factory=list)
    claims: set[tuple[Key, str | None]] = field(default_factory=set)
    crashes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    baseline: Holdings | None = None
    baseline_tasks: float = 0.0

    @property
    def cluster(self) -> Cluster:
        """The cluster, whose parts can be killed too."""
        return self.installation.cluster

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
        await self._patch(name, patch)

    async def edit_some(self, random: Random) -> None:
        """Edit now and then one of the newest Notifications, which may be under way."""
        if self.jobs and random.random() < EDIT_SHARE:
            await self.edit(random.choice([*self.jobs][-EDITED_OF:]))

    async def redeliver_held(self) -> int:
        """Ask for everything again that is held, as a person does; return how much it was."""
        for body in await self._bodies():
            held = [row.key for row in rows_of(body) if row.state == "Unknown"]
            if held:
                moment = datetime.now(UTC)
                self.asked.extend(Doubt(key=key, moment=moment) for key in held)
                annotation = {REDELIVER: moment.isoformat()}
                name = body["metadata"]["name"]
                await self._patch(name, {"metadata": {"annotations": annotation}})
        return len(self.asked)

    async def _patch(self, name: str, patch: Object) -> None:
        change = partial(self.kubernetes.patch, "Notification", name, self.namespace, patch)
        await self._persist(change)

    async def finished(self, *, seconds: float) -> bool:
        """Wait until every Notification is complete; False if some are not in time."""
        end = time.monotonic() + seconds
        while True:
            self.check_alive()
            bodies = await self._persist(self._bodies)
            found = {body["metadata"]["name"] for body in bodies or () if _settled(body)}
            if found == self.jobs.keys():
                return True
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.3)

    async def _bodies(self) -> list[Object]:
        """Return all Notifications, each with its ``slices``."""
        bodies = await self.kubernetes.list("Notification", self.namespace)
        slices = await self.kubernetes.list("NotificationDeliverySlice", self.namespace)
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

    # The operator

    def launch(self) -> None:
        """Start the operator behind the proxy; it need not be ready."""
        self.installation.launch(self.environment)

    def strike(self, *, graceful: bool = False) -> None:
        """Kill the operator, or ask it to stop, now; `after_strike` does the rest."""
        process = self.installation.process
        if process is not None:
            process.send_signal(signal.SIGTERM if graceful else signal.SIGKILL)

    async def after_strike(self, *, graceful: bool) -> None:
        """Wait until nothing of the operator can arrive any more; note what is in doubt."""
        if graceful:
            await self.stop(begun=False)
        else:
            await asyncio.to_thread(self.installation.kill)
        self.proxy.behave()
        await self.proxy.idle()
        for server in self.servers.values():
            await server.peer.wait_for_open_connections(0)
        doubts = self._new_doubts(await self._persist(self._bodies) or [], datetime.now(UTC))
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

    def check_alive(self) -> None:
        """Note it if the operator has ended, and start it again as a kubelet would."""
        process = self.installation.process
        if process is not None and process.poll() is not None:
            self.crashes.append(f"exit status {process.returncode}: {self.installation.tail()}")
            self.launch()

    async def metric(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        url = f"http://127.0.0.1:{self.installation.port}/metrics"
        text = await asyncio.to_thread(_fetch, url)
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))

    async def measure_baseline(self) -> None:
        """Note what the operator holds before there is work."""
        assert self.installation.process is not None
        self.baseline = holdings(self.installation.process.pid)
        self.baseline_tasks = await self.metric("notifications_event_loop_tasks")

    async def look_for_leaks(self) -> None:
        """Compare what the operator holds with what it held before there was work."""
        assert self.installation.process is not None and self.baseline is not None
        end = time.monotonic() + REST_SECONDS
        while problems := await self._leaks(self.installation.process.pid, self.baseline):
            if time.monotonic() > end:
                self.leaks.extend(problems)
                return
            await asyncio.sleep(0.2)

    async def _leaks(self, pid: int, baseline: Holdings) -> list[str]:
        now = await asyncio.to_thread(holdings, pid)
        ports = {server.peer.port: server for server in self.servers.values()}
        mail = sum(now.connections[port] for port in ports)
        files, most = now.files - mail, baseline.files + SPARE_FILES
        tasks = await self.metric("notifications_event_loop_tasks")
        checks = {
            f"{files} files, at its start {baseline.files}; {now.connections}": files > most,
            f"{tasks:.0f} tasks, at its start {self.baseline_tasks:.0f}": (
                tasks > self.baseline_tasks + SPARE_TASKS
            ),
            f"{now.threads} threads, at its start {baseline.threads}": (
                now.threads > baseline.threads + SPARE_FILES
            ),
        }
        for port, server in ports.items():
            count = now.connections[port]
            checks[f"{count} connections of {server.processor}"] = count > server.concurrency
        for gauge in ("notifications_unfinished", "notifications_processor_waiting"):
            value = await self.metric(gauge)
            checks[f"{gauge} {value:.0f}"] = value > 0
        return [text for text, broken in checks.items() if broken]

    async def stop(self, *, begun: bool = True) -> None:
        """Stop the operator as the kubelet does.

        Parameters
        ----------
        begun
            Whether it certainly runs by now; if not, it may not know yet how to stop in order.
        """
        try:
            status = await asyncio.to_thread(self.installation.stop)
        except subprocess.TimeoutExpired:
            self.crashes.append(f"not at SIGTERM: {self.installation.tail()}")
            await asyncio.to_thread(self.installation.kill)
            return
        if status != 0 and (begun or status != -signal.SIGTERM):
            self.crashes.append(f"exit status {status} at SIGTERM: {self.installation.tail()}")

    # The judgement

    async def judge(self) -> Figures:
        """Judge what the campaign left, and complete its figures."""
        evidence = self._evidence(await self._bodies())
        figures = self.figures
        figures.broken = judge(evidence)
        figures.notifications = len(self.jobs)
        figures.deliveries = len(evidence.rows)
        figures.mails = sum(mail.accepted for mail in evidence.mails)
        figures.doubles = count_doubles(evidence.mails)
        figures.ambiguous = sum(not mail.answered for mail in evidence.mails)
        figures.failed = sum(row.state == "Failed" for row in evidence.rows)
        return figures

    def _evidence(self, bodies: list[Object]) -> Evidence:
        expected: dict[Key, Expectation] = {}
        for job in self.jobs.values():
            expected |= job.expected
        strangers: list[str] = []
        mails = [mail for server in self.servers.values() for mail in server.mails(strangers)]
        strangers += [str(mail.key) for mail in mails if mail.key not in expected]
        servers = self.servers.values()
        return Evidence(
            expected=expected,
            holding=frozenset(server.processor for server in servers if server.hold),
            mails=mails,
            editions=self.editions,
            doubts=self.doubts,
            asked=self.asked,
            rows=[row for body in bodies for row in rows_of(body)],
            bodies=bodies,
            refused=Counter(
                {
                    (server.processor, user_of(address)): times
                    for server in servers
                    for address, times in server.refused.items()
                }
            ),
            interrupted=frozenset(
                (server.processor, user_of(address))
                for server in servers
                for address in server.interrupted
            ),
            strangers=strangers,
            violations=[text for server in servers for text in server.peer.ledger.violations],
            leaks=self.leaks,
            crashes=self.crashes,
        )


def rows_of(body: Object) -> list[Row]:
    """Return all deliveries of a Notification."""
    if (body["status"].get("ledger") or {}).get("type") == "Slices":
        committed = [item for item in body["slices"] if item["index"] < _committed(body)]
        return [row for item in committed for row in _rows_of_slice(body, item)]
    return [
        Row(
            key=_key(body, row["processor"], row["recipient"]),
            state=row["state"],
            reason=row.get("reason"),
            attempts=row.get("attempts", 0),
            holder=row.get("holder"),
        )
        for row in body["status"].get("deliveries", [])
    ]


def _committed(body: Object) -> int:
    return int(body["status"]["ledger"]["slices"])


def _rows_of_slice(body: Object, item: Object) -> Iterator[Row]:
    details = {detail["row"]: detail for detail in item.get("details", ())}
    holders = {row: claim["holder"] for claim in item.get("claims", ()) for row in claim["rows"]}
    for number, (recipient, letter) in enumerate(
        zip(item["recipients"], item["states"], strict=True)
    ):
        detail = details.get(number, {})
        yield Row(
            key=_key(body, item["processor"], recipient),
            state=SLICE_STATES[letter],
            reason=detail.get("reason"),
            attempts=detail.get("attempts", 1 if letter in "CS" else 0),
            holder=holders.get(number),
        )


def _key(body: Object, processor: str, recipient: str) -> Key:
    return Key(processor, body["metadata"]["name"], recipient.rpartition("/")[2])


@asynccontextmanager
async def stage(
    installation: Installation,
    servers: Sequence[MailServer],
    figures: Figures,
    *,
    impatient: bool = False,
) -> AsyncIterator[Stage]:
    """Set up mail servers, their processors and a ready operator; leave nothing behind.

    Parameters
    ----------
    installation
        The chart in a cluster.
    servers
        Mail servers, not started yet.
    figures
        What is counted.
    impatient
        Cut the operator's times short; see `impatient`.
    """
    async with AsyncExitStack() as stack:
        kubernetes = await stack.enter_async_context(Kubernetes(installation.cluster.kubeconfig))
        proxy = await stack.enter_async_context(APIProxy(installation.cluster.kubeconfig))
        for server in servers:
            await stack.enter_async_context(server.peer)
        namespace = f"chaos-{uuid.uuid4().hex[:8]}"
        await kubernetes.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        )
        for server in servers:
            if (secret := server.secret_manifest(NAMESPACE)) is not None:
                await kubernetes.create(secret)
            await kubernetes.create(server.manifest(NAMESPACE))
        one = Stage(
            installation=installation,
            kubernetes=kubernetes,
            proxy=proxy,
            servers={server.processor: server for server in servers},
            namespace=namespace,
            figures=figures,
        )
        one.environment = await asyncio.to_thread(installation.prepare, server=proxy.url)
        installation.command = _IMPATIENT if impatient else None
        started = time.monotonic()
        one.launch()
        try:
            await asyncio.to_thread(installation.wait_ready)
            for server in servers:
                await kubernetes.wait(
                    "NotificationProcessor",
                    server.processor,
                    NAMESPACE,
                    condition_is("Ready", "True"),
                )
            await one.measure_baseline()
            yield one
        finally:
            figures.seconds = time.monotonic() - started
            installation.close()
            await kubernetes.delete("Namespace", namespace)
            for server in servers:
                await kubernetes.delete("NotificationProcessor", server.processor, NAMESPACE)
                if server.secret is not None:
                    await kubernetes.delete("Secret", server.secret, NAMESPACE)


def _settled(body: Object) -> bool:
    """Whether a Notification is complete, and nothing was asked for that is not handled."""
    asked = body["metadata"].get("annotations", {}).get(REDELIVER)
    return complete(body) and asked in (None, body["status"].get("lastRedeliver"))


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        text: str = answer.read().decode()
        return text
