"""Notifications that services post: how many a second the gateway stores, and how long one takes.

An answer of 200 says that the Notification is in the cluster, so the peer is the API server itself,
asked by the same ServiceAccount to create the same objects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from bench.environment import Environment
from bench.figures import Figure, percentiles
from bench.gateway import INBOX, SUBJECT, Gateway, gateway
from bench.single import IN_FLIGHT, USERS
from bench.waiting import BenchmarkError
from tests.support.kubernetes import Kubernetes, Object

_ALONE: Final = 100
"""Most samples of a single one at a time."""
_WARM: Final = 10

Send = Callable[[int], Awaitable[object]]
"""Sends the notification of a number."""


async def posts(environment: Environment, count: int) -> list[Figure]:
    """Measure so many POSTs, beside as many objects that are created directly."""
    environment.log(f"{count} POSTs")
    async with gateway(environment) as place:
        async with Kubernetes(place.kubeconfig) as kubernetes:
            peer = await _measure(lambda number: kubernetes.create(_manifest(number)), count)
        before = len(await place.posted())
        own = await _measure(lambda number: place.post(_body(number), wait=False), count, place)
        stored = len(await place.posted()) - before
    if stored != own.sent:
        raise BenchmarkError(f"{stored} Notifications were stored of {own.sent} POSTs")
    loaded, alone = f"create, {IN_FLIGHT} at a time", "create, one at a time"
    name = f"posts-{count}"
    rows = (
        ("rate", own.rate, peer.rate, "POST/s", loaded),
        ("p50", own.loaded[0], peer.loaded[0], "ms", loaded),
        ("p99", own.loaded[1], peer.loaded[1], "ms", loaded),
        ("alone.p50", own.alone[0], peer.alone[0], "ms", alone),
        ("alone.p99", own.alone[1], peer.alone[1], "ms", alone),
    )
    return [
        *(
            Figure(figure=f"{name}.{part}", value=value, unit=unit, peer=of, peer_value=other)
            for part, value, other, unit, of in rows
        ),
        Figure(figure=f"{name}.cpu", value=own.cpu, unit="ms CPU/POST"),
    ]


@dataclass(frozen=True, kw_only=True)
class _Result:
    """What it took: with many at a time, and alone; median and 99th percentile in milliseconds."""

    sent: int
    rate: float
    loaded: tuple[float, float]
    alone: tuple[float, float]
    cpu: float


async def _measure(send: Send, count: int, place: Gateway | None = None) -> _Result:
    for number in range(_WARM):
        await send(number)
    single = [await _timed(send, number) for number in range(min(count, _ALONE))]
    cpu = place.usage.cpu if place else 0.0
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> float:
        async with places:
            return await _timed(send, number)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        sent = [tasks.create_task(one(number)) for number in range(count)]
    seconds = time.perf_counter() - start
    return _Result(
        sent=_WARM + len(single) + count,
        rate=count / seconds,
        loaded=percentiles([task.result() for task in sent]),
        alone=percentiles(single),
        cpu=((place.usage.cpu if place else 0.0) - cpu) / count * 1000,
    )


async def _timed(send: Send, number: int) -> float:
    start = time.perf_counter()
    await send(number)
    return (time.perf_counter() - start) * 1000


def _body(number: int) -> dict[str, Any]:
    """Return what is posted: to one user each."""
    return {
        "recipients": {"type": "entity", "entityRef": f"user:default/user-{number % USERS:06}"},
        "payload": {
            "title": f"Build {number} of the pipeline has ended",
            "description": "See the log for what led to it and whom to ask. " * 4,
            "link": f"https://builds.example.com/{number}",
            "severity": "high",
            "topic": "builds",
        },
    }


def _manifest(number: int) -> Object:
    """Return the same as an object."""
    return {
        "apiVersion": "notifications.orchestrator.io/v1alpha1",
        "kind": "Notification",
        "metadata": {"generateName": "bare-", "namespace": INBOX},
        "spec": {**_body(number), "origin": SUBJECT, "ttlSecondsAfterFinished": 86_400},
    }
