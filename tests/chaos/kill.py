"""The kill campaign: SIGKILL at random and at chosen instants over mixed work."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from tests.support.installation import Installation

from .figures import Figures
from .instants import INSTANTS, Instant
from .servers import MailServer
from .stage import Stage, stage
from .workload import Workload

REACH_SECONDS = 20.0
"""Longest wait for a chosen instant; then the operator is killed where it is."""

SETTLE_SECONDS = 90.0
"""Within so many seconds after the last kill everything must be complete."""


async def run(installation: Installation, *, seed: int, kills: int) -> Figures:
    """Kill the operator so many times and judge what became of the work."""
    figures = Figures(campaign="kill", seed=seed)
    random = Random(f"kill {seed}")
    servers = [
        MailServer(processor=f"resend-{seed}"),
        MailServer(processor=f"hold-{seed}", hold=True),
        MailServer(processor=f"narrow-{seed}", concurrency=1),
    ]
    async with stage([installation], servers, figures) as one:
        work = Workload(seed, namespace=one.namespace, processors=[*one.servers])
        await one.create(work.jobs(4))
        await kill_at_work(one, work, figures, random, kills=kills, most_jobs=3)
        await one.finish(seconds=SETTLE_SECONDS)
        return await one.conclude()


async def kill_at_work(
    one: Stage, work: Workload, figures: Figures, random: Random, *, kills: int, most_jobs: int
) -> None:
    """Kill the operator so many times, with up to so many new jobs and some edits before each."""
    for instant in instants(kills, random):
        await one.create(work.jobs(random.randint(1, most_jobs)))
        await one.edit_some(random)
        reached = await kill_at(one, instant, random)
        name = instant.name if reached else f"{instant.name} (not reached)"
        figures.instants[name] = figures.instants.get(name, 0) + 1
        figures.kills += not instant.graceful
        one.operator.launch()


def instants(kills: int, random: Random) -> list[Instant]:
    """Return instants with so many kills, each as often as the others."""
    order: list[Instant] = []
    while sum(not instant.graceful for instant in order) < kills:
        order += random.sample(INSTANTS, len(INSTANTS))
    while sum(not instant.graceful for instant in order) > kills:
        order.pop()
    return order


async def kill_at(one: Stage, instant: Instant, random: Random) -> bool:
    """Kill the operator at an instant; False if it was not reached in time."""
    reached = asyncio.Event()

    def strike() -> None:
        one.operator.strike(graceful=instant.graceful)
        reached.set()

    instant.arm(one, random, strike)
    with suppress(TimeoutError):
        async with asyncio.timeout(REACH_SECONDS):
            await reached.wait()
    for server in one.servers.values():
        server.peer.script.clear()
    await one.after_strike(graceful=instant.graceful)
    return reached.is_set()
