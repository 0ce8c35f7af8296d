"""Notifications to one user each: how long one takes, and how many a second a burst makes."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from bench.bare_loop import bare_loop
from bench.environment import Environment
from bench.figures import Figure
from bench.waiting import BenchmarkError, Deliveries, deliveries
from tests.support.audit import Entry
from tests.support.kubernetes import Object, notification

USERS = 100
"""Users in the catalog; each Notification goes to one of them."""

IN_FLIGHT = 50
"""Requests that the burst, and the bare loop beside it, have under way at a time."""

SECONDS = 60.0
"""Longest wait for one Notification."""

WARM_UP = "warm-up"


async def latency(environment: Environment, samples: int) -> list[Figure]:
    """Measure apply to ``Delivered``, one Notification at a time."""
    environment.log(f"latency of {samples} Notifications")
    await environment.use_catalog(USERS)
    namespace = await environment.new_namespace()
    async with bare_loop(environment.operator_kubeconfig, namespace, in_flight=1):
        peer = await _one_by_one(environment, namespace, samples)
    namespace = await environment.new_namespace()
    async with environment.operator():
        own = await _one_by_one(environment, namespace, samples)

    def figure(name: str, part: Callable[[_Times], float]) -> Figure:
        return Figure(
            figure=f"latency.{name}",
            value=median(map(part, own)) * 1000,
            unit="ms, median",
            peer="bare loop, one at a time",
            peer_value=median(map(part, peer)) * 1000,
        )

    return [
        figure("apply-to-delivered", lambda times: times.total),
        figure("create", lambda times: times.creating),
        figure("created-to-first-patch", lambda times: times.noticed),
        figure("first-patch", lambda times: times.claiming),
        figure("between-patches", lambda times: times.sending),
        figure("second-patch", lambda times: times.recording),
        figure("seen", lambda times: times.seen),
    ]


async def burst(environment: Environment, count: int) -> list[Figure]:
    """Measure many Notifications that are created at once."""
    environment.log(f"burst of {count} Notifications")
    await environment.use_catalog(USERS)
    namespace = await environment.new_namespace()
    async with bare_loop(environment.operator_kubeconfig, namespace, in_flight=IN_FLIGHT):
        peer = await _all_at_once(environment, namespace, count)
    namespace = await environment.new_namespace()
    async with environment.operator() as operator:
        cpu, mails = operator.usage.cpu, environment.sink.messages()
        own = await _all_at_once(environment, namespace, count)
        cpu, mails = operator.usage.cpu - cpu, environment.sink.messages() - mails
    created = count + 1
    if mails != created:
        raise BenchmarkError(f"{mails} mails were accepted for {created} Notifications")
    writes = environment.writes(namespace)
    return [
        Figure(
            figure=f"burst-{count}.rate",
            value=count / own,
            unit="Notifications/s",
            peer=f"bare loop, {IN_FLIGHT} at a time",
            peer_value=count / peer,
        ),
        *(
            Figure(
                figure=f"burst-{count}.{what}",
                value=writes[request] / created,
                unit=f"{what}/Notification",
                peer="bare loop",
                peer_value=peer_value,
            )
            for what, request, peer_value in (
                ("patches", "patch notifications/status", 2.0),
                ("events", "create events", 0.0),
            )
        ),
        Figure(figure=f"burst-{count}.cpu", value=cpu / created * 1000, unit="ms CPU/Notification"),
    ]


@dataclass(frozen=True, kw_only=True)
class _Times:
    """Seconds of one Notification: the total as its client saw it, parts by the audit log."""

    total: float
    creating: float
    noticed: float
    claiming: float
    sending: float
    recording: float

    @property
    def seen(self) -> float:
        """What remains: the news on its way through the watch, and the client's own work."""
        parts = self.creating + self.noticed + self.claiming + self.sending + self.recording
        return self.total - parts


async def _one_by_one(environment: Environment, namespace: str, count: int) -> Sequence[_Times]:
    totals: dict[str, float] = {}
    async with deliveries(environment.kubernetes, namespace) as delivered:
        await deliver(environment, namespace, delivered, WARM_UP, 0)
        for number in range(count):
            name = f"n-{number}"
            totals[name] = await deliver(environment, namespace, delivered, name, number)
    return _times(environment, namespace, totals)


async def deliver(
    environment: Environment, namespace: str, delivered: Deliveries, name: str, number: int
) -> float:
    """Create one Notification and return the seconds until a watch shows it as delivered."""
    expected = len(delivered.moments) + 1
    start = time.perf_counter()
    await environment.kubernetes.create(_notification(name, namespace, number))
    await delivered.wait(expected, seconds=SECONDS)
    return delivered.moments[name] - start


async def _all_at_once(environment: Environment, namespace: str, count: int) -> float:
    """Create Notifications and return the seconds until the last one is delivered."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def create(number: int) -> None:
        async with slots:
            await environment.kubernetes.create(_notification(f"n-{number}", namespace, number))

    async with deliveries(environment.kubernetes, namespace) as delivered:
        await deliver(environment, namespace, delivered, WARM_UP, 0)
        start = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(create(number))
        await delivered.wait(count + 1, seconds=SECONDS + 0.2 * count)
    return max(delivered.moments.values()) - start


def _notification(name: str, namespace: str, number: int) -> Object:
    ref = f"user:default/user-{number % USERS:06}"
    return notification(name, namespace, ref, title=f"To {ref}")


def _times(
    environment: Environment, namespace: str, totals: Mapping[str, float]
) -> Sequence[_Times]:
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in environment.requests(lambda entry: _concerns(entry, namespace)):
        entries[entry["objectRef"]["name"]].append(entry)
    found = []
    for name, total in totals.items():
        create, claim, record = sorted(entries[name], key=_received)[:3]
        found.append(
            _Times(
                total=total,
                creating=_answered(create) - _received(create),
                noticed=_received(claim) - _answered(create),
                claiming=_answered(claim) - _received(claim),
                sending=_received(record) - _answered(claim),
                recording=_answered(record) - _received(record),
            )
        )
    return found


def _concerns(entry: Entry, namespace: str) -> bool:
    reference = entry.get("objectRef", {})
    about = reference.get("namespace") == namespace and reference["resource"] == "notifications"
    return about and entry["verb"] in ("create", "patch")


def _received(entry: Entry) -> float:
    return datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp()


def _answered(entry: Entry) -> float:
    return datetime.fromisoformat(entry["stageTimestamp"]).timestamp()
