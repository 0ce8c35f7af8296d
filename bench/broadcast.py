"""Broadcasts to many users: mails a second with the ledger kept, what a mail costs, and memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

from bench.environment import Environment, Operator
from bench.figures import Figure
from bench.postfix import Sink
from bench.waiting import BenchmarkError, deliveries
from tests.support.kubernetes import notification

SECONDS_PER_MAIL = 0.05
"""Longest a mail may take on average before the figure is given up."""

SAMPLE_SECONDS = 0.02
PEER = "smtp-source -d -s 8 -l 2048"


Sample = tuple[float, int]
"""A moment in seconds, and how many mails had been accepted."""


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One broadcast, as it was seen from outside."""

    started: float
    ended: float
    cpu: float
    progress: Sequence[Sample]


async def broadcast(environment: Environment, users: int) -> list[Figure]:
    """Measure one broadcast to so many users."""
    environment.log(f"broadcast to {users} users")
    limits = [await _limit(environment, users)]
    await environment.use_catalog(users)
    async with environment.operator() as operator:
        namespace = await environment.new_namespace()
        stored = environment.etcd_bytes()
        idle = operator.usage.resident
        run = await _run(environment, operator, namespace, users)
        growth = environment.etcd_bytes() - stored
        peak = operator.usage.peak
    limits.append(await _limit(environment, users))
    writes = environment.writes(namespace)
    del writes["create events"]
    name = f"broadcast-{users}"
    rates = tenths(run.progress, users)
    per_thousand = 1000 / users
    mails = users / (run.ended - run.started)
    return [
        Figure(
            figure=f"{name}.rate", value=mails, unit="mails/s", peer=PEER, peer_value=mean(limits)
        ),
        Figure(
            figure=f"{name}.flatness",
            value=min(rates) / max(rates),
            unit="slowest/fastest tenth",
        ),
        *(
            Figure(figure=f"{name}.rate.tenth-{number}", value=rate, unit="mails/s")
            for number, rate in enumerate(rates, start=1)
        ),
        Figure(figure=f"{name}.cpu", value=run.cpu / users * 1000, unit="ms CPU/mail"),
        Figure(
            figure=f"{name}.memory",
            value=peak / 2**20,
            unit="MiB peak",
            peer="the same, idle",
            peer_value=idle / 2**20,
        ),
        Figure(
            figure=f"{name}.ledger-writes",
            value=writes.total() * per_thousand,
            unit="writes/1000 mails",
        ),
        Figure(
            figure=f"{name}.etcd-growth",
            value=growth * per_thousand / 2**20,
            unit="MiB/1000 mails",
        ),
    ]


async def _limit(environment: Environment, users: int) -> float:
    """Return the mails a second of the peer; it is asked before and after, as machines vary."""
    messages = min(max(users, 2000), 20_000)
    return await asyncio.to_thread(environment.postfix.source, environment.sink.port, messages)


async def _run(environment: Environment, operator: Operator, namespace: str, users: int) -> _Run:
    kubernetes, sink = environment.kubernetes, environment.sink
    before = sink.messages()
    progress: list[Sample] = []
    async with deliveries(kubernetes, namespace) as delivered:
        sampler = asyncio.create_task(_follow(sink, before, progress))
        cpu = operator.usage.cpu
        started = time.perf_counter()
        await kubernetes.create(notification("everybody", namespace, title="To everybody"))
        try:
            await delivered.wait(1, seconds=60 + users * SECONDS_PER_MAIL)
        except BenchmarkError as error:
            body = await kubernetes.get("Notification", "everybody", namespace)
            state, summary = body["status"]["state"], body["status"].get("summary")
            raise BenchmarkError(f"{error}: {state} {summary}") from None
        finally:
            sampler.cancel()
            await asyncio.gather(sampler, return_exceptions=True)
        ended = delivered.moments["everybody"]
        cpu = operator.usage.cpu - cpu
        summary = delivered.bodies["everybody"]["status"]["summary"]
    mails = sink.messages() - before
    if summary != f"{users}/{users}" or mails != users:
        raise BenchmarkError(f"{mails} mails were accepted; the status says {summary}")
    return _Run(started=started, ended=ended, cpu=cpu, progress=[*progress, (ended, users)])


async def _follow(sink: Sink, before: int, progress: list[Sample]) -> None:
    """Note how many mails were accepted, whenever it changed, until cancelled."""
    last = 0
    while True:
        count = sink.messages() - before
        if count != last:
            progress.append((time.perf_counter(), count))
            last = count
        await asyncio.sleep(SAMPLE_SECONDS)


def tenths(progress: Sequence[Sample], total: int) -> list[float]:
    """Return the rate in each tenth of the mails, from the first mail seen on.

    Parameters
    ----------
    progress
        Moments in seconds and counts, both rising; between two the rate is taken as even.
    total
        The last count.
    """
    moments = [_moment(progress, total * part / 10) for part in range(11)]
    return [total / 10 / max(end - start, 1e-9) for start, end in pairwise(moments)]


def _moment(progress: Sequence[Sample], count: float) -> float:
    """Return when a count was reached."""
    before = progress[0]
    for sample in progress:
        if sample[1] >= count:
            share = (count - before[1]) / (sample[1] - before[1]) if sample != before else 0.0
            return before[0] + max(share, 0.0) * (sample[0] - before[0])
        before = sample
    return before[0]
