"""A steady mixed load with faults, and whether the operator grows: ``python -m bench.soak``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.environment import NAMESPACE, Environment, Operator, environment
from bench.figures import text_table
from bench.flatness import FEWEST, WARM_UP, Trend, trend
from bench.postfix import PostfixError
from bench.single import USERS
from bench.waiting import BenchmarkError
from hack.cluster import ClusterError
from tests.support.kubernetes import APIError, Kubernetes, Object, complete, notification
from tests.support.proxy import APIProxy, Fault, LoseAnswer, Refuse, Write
from tests.support.smtp import Drop, Reply, Reset, SMTPPeer, Step

SAMPLE_SECONDS = 10.0
LOAD_SECONDS = 0.2
"""Seconds between two Notifications."""

SETTLE_SECONDS = 120.0
"""Within so many seconds after the load everything has ended; retries come after 2 s at most."""

API_FAULTS = 0.05
"""Share of the operator's writes that fail."""

SMTP_FAULTS = 0.2
"""Share of Notifications that come with a fault of the SMTP server."""

PROCESSOR = "soak"

TOLERANCES = {"memory": 8.0, "tasks": 8.0, "sockets": 4.0, "files": 4.0}
"""Growth that is of no concern: MiB, and numbers. The load itself has some of each under way."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the operator had at one moment."""

    second: float
    memory: float
    tasks: float
    sockets: float
    files: float


@dataclass(frozen=True, kw_only=True)
class Soak:
    """What came of it.

    Attributes
    ----------
    created, mails, faults
        How many Notifications were created, mails accepted, and faults made.
    unfinished
        Names of Notifications that did not end.
    samples
        In order.
    trends
        By the name of a sample's field.
    """

    created: int
    mails: int
    faults: int
    unfinished: Sequence[str]
    samples: Sequence[Sample]
    trends: dict[str, Trend]

    @property
    def passed(self) -> bool:
        """Whether nothing grows and nothing is stuck."""
        return not self.unfinished and all(item.flat for item in self.trends.values())


async def soak(place: Environment, *, seconds: float, interval: float, seed: int) -> Soak:
    """Put load on the operator for some time, and look at it every `interval` seconds."""
    chance = random.Random(seed)
    await place.use_catalog(USERS)
    async with SMTPPeer() as peer, APIProxy(place.cluster.kubeconfig) as proxy:
        await _add_processor(place.kubernetes, peer.port)
        async with place.operator(server=proxy.url) as operator:
            load = _Load(place.kubernetes, peer, proxy, chance, await place.new_namespace())
            samples = await load.run(operator, seconds=seconds, interval=interval)
            unfinished = await load.settle()
    times = [sample.second for sample in samples]
    return Soak(
        created=load.created,
        mails=len(peer.ledger.messages),
        faults=load.faults,
        unfinished=unfinished,
        samples=samples,
        trends={
            name: trend(times, [getattr(item, name) for item in samples], tolerance=tolerance)
            for name, tolerance in TOLERANCES.items()
        },
    )


class _Load:
    """Creates, edits and deletes Notifications, and lets servers fail."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        peer: SMTPPeer,
        proxy: APIProxy,
        chance: random.Random,
        namespace: str,
    ) -> None:
        self.created = 0
        self.faults = 0
        self._kubernetes = kubernetes
        self._peer = peer
        self._proxy = proxy
        self._chance = chance
        self._namespace = namespace

    async def run(self, operator: Operator, *, seconds: float, interval: float) -> list[Sample]:
        """Go on for some time and return the samples that were taken."""
        self._proxy.judge = self._judge
        work = asyncio.create_task(self._work())
        samples = []
        start = time.monotonic()
        try:
            while (second := time.monotonic() - start) < seconds and not work.done():
                samples.append(await asyncio.to_thread(_sample, operator, second))
                await asyncio.sleep(interval)
        finally:
            work.cancel()
            outcome = (await asyncio.gather(work, return_exceptions=True))[0]
            self._proxy.judge = _pass
        if not isinstance(outcome, asyncio.CancelledError):
            raise BenchmarkError(f"the load ended: {outcome!r}")
        return samples

    async def settle(self) -> list[str]:
        """Wait until all has ended, and return the names of what has not."""
        self._peer.script.clear()
        end = time.monotonic() + SETTLE_SECONDS
        while True:
            bodies = await self._kubernetes.list("Notification", self._namespace)
            left = [body["metadata"]["name"] for body in bodies if not complete(body)]
            if not left or time.monotonic() > end:
                return left
            await asyncio.sleep(0.5)

    async def _work(self) -> None:
        while True:
            # Requests that were judged are of no interest here, and would grow without end.
            self._proxy.writes.clear()
            if self._chance.random() < SMTP_FAULTS:
                self._fail_mail()
            name = f"n-{self.created}"
            await self._kubernetes.create(self._notification(name))
            self.created += 1
            if self._chance.random() < 0.1:
                await self._disturb(f"n-{self._chance.randrange(self.created)}")
            await asyncio.sleep(LOAD_SECONDS)

    def _notification(self, name: str) -> Object:
        users = self._chance.sample(range(USERS), self._chance.choice((1, 1, 1, 1, 10)))
        refs = [f"user:default/user-{number:06}" for number in users]
        if self._chance.random() < 0.02:
            refs = ["group:default/team-0000"]
        return notification(
            name,
            self._namespace,
            *refs,
            title=f"Soak {name}",
            processors=[PROCESSOR],
            payload={"severity": self._chance.choice(("critical", "high", "normal", "low"))},
            # So that what is finished does not pile up in the cluster.
            ttlSecondsAfterFinished=5,
        )

    async def _disturb(self, name: str) -> None:
        """Edit or delete a Notification, if it is still there."""
        try:
            if self._chance.random() < 0.5:
                await self._kubernetes.delete("Notification", name, self._namespace)
            else:
                patch = {"spec": {"payload": {"title": f"Soak {name} again"}}}
                await self._kubernetes.patch("Notification", name, self._namespace, patch)
        except APIError as error:
            if error.status != 404:
                raise

    def _fail_mail(self) -> None:
        step, action, recorded = self._chance.choice(
            (
                (Step.MAIL, Reply("451 4.3.0 try again later"), False),
                (Step.RCPT, Reply("450 4.2.1 greylisted"), False),
                (Step.RCPT, Reply("550 5.1.1 no such user"), False),
                (Step.END, Reply("452 4.3.1 insufficient storage"), False),
                (Step.DATA, Reply("421 4.3.2 shutting down", close=True), False),
                (Step.DATA, Drop(), False),
                (Step.BODY, Reset(), False),
                (Step.END, Reset(), True),
            )
        )
        self._peer.fail(step, action, recorded=recorded)
        self.faults += 1

    def _judge(self, write: Write) -> Fault:
        if self._chance.random() >= API_FAULTS:
            return None
        self.faults += 1
        faults = (Refuse(409, "Conflict"), Refuse(503, "Unavailable"), LoseAnswer())
        return self._chance.choice(faults)


def _pass(_: Write) -> Fault:
    return None


async def _add_processor(kubernetes: Kubernetes, port: int) -> None:
    await kubernetes.create(
        {
            "apiVersion": "notifications.orchestrator.io/v1alpha1",
            "kind": "NotificationProcessor",
            "metadata": {"name": PROCESSOR, "namespace": NAMESPACE},
            "spec": {
                "type": "email",
                "email": {
                    "transportConfig": {
                        "transport": "smtp",
                        "hostname": "127.0.0.1",
                        "port": port,
                    },
                    "sender": "sender@example.com",
                    "concurrencyLimit": 4,
                    "throttleInterval": {"milliseconds": 0},
                },
                "retry": {"minDelay": "500ms", "maxDelay": "2s"},
            },
        }
    )


def _sample(operator: Operator, second: float) -> Sample:
    usage = operator.usage
    return Sample(
        second=second,
        memory=usage.resident / 2**20,
        tasks=operator.metric("notifications_event_loop_tasks"),
        sockets=usage.sockets,
        files=usage.files,
    )


def describe(result: Soak) -> str:
    """Return what came of a soak, for people."""
    names = tuple(TOLERANCES)
    rows = [("second", *names)]
    for sample in result.samples:
        cells = (f"{getattr(sample, name):.1f}" for name in names)
        rows.append((f"{sample.second:.0f}", *cells))
    trends = [
        f"{name}: {item.growth:+.1f} by the line, noise {item.noise:.1f}: "
        + ("flat" if item.flat else "GROWS")
        for name, item in result.trends.items()
    ]
    stuck = ", ".join(result.unfinished[:10]) or "none"
    counts = f"{result.created} Notifications, {result.mails} mails, {result.faults} faults"
    return "\n".join([text_table(rows), "", *trends, f"unfinished: {stuck}", counts])


def main() -> int:
    """Run a soak and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=20, help="(default: %(default)s)")
    length.add_argument("--seconds", type=float, help="instead of minutes")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    seconds = arguments.seconds or arguments.minutes * 60
    print(f"soak: {seconds:.0f} s, --seed {arguments.seed}", file=sys.stderr, flush=True)
    # The proxy's way to lose an answer is an exception, which is no news here.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    interval = min(SAMPLE_SECONDS, seconds * (1 - WARM_UP) / (FEWEST + 2))
    try:
        result = asyncio.run(_run(seconds, interval, arguments.seed))
    except (BenchmarkError, ClusterError, PostfixError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print(describe(result))
    return 0 if result.passed else 1


async def _run(seconds: float, interval: float, seed: int) -> Soak:
    async with environment() as place:
        return await soak(place, seconds=seconds, interval=interval, seed=seed)


if __name__ == "__main__":
    sys.exit(main())
