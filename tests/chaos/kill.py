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

RANDOM_SECONDS = 3.0
"""Within so many seconds of its start the operator is killed at random."""

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
    async with stage(installation, servers, figures) as one:
        work = Workload(seed, namespace=one.namespace, processors=[*one.servers])
        await one.create(work.jobs(4))
        for instant in _instants(kills, random):
            await one.create(work.jobs(random.randint(1, 3)))
            await one.edit_some(random)
            reached = await _kill_at(one, instant, random)
            name = "random" if instant is None else instant.name
            name = name if reached else f"{name} (not reached)"
            figures.instants[name] = figures.instants.get(name, 0) + 1
            figures.kills += 1
            one.launch()
        await one.finished(seconds=SETTLE_SECONDS)
        figures.held = await one.redeliver_held()
        await one.finished(seconds=SETTLE_SECONDS)
        await one.look_for_leaks()
        await one.stop()
        return await one.judge()


def _instants(kills: int, random: Random) -> list[Instant | None]:
    """Return so many instants, each as often as the others; None is one at random."""
    rounds = -(-kills // (len(INSTANTS) + 2))
    instants = [*INSTANTS, None, None] * rounds
    random.shuffle(instants)
    return instants[:kills]


async def _kill_at(one: Stage, instant: Instant | None, random: Random) -> bool:
    """Kill the operator at an instant; False if it was not reached in time."""
    reached = asyncio.Event()

    def strike() -> None:
        one.strike()
        reached.set()

    if instant is None:
        await asyncio.sleep(random.uniform(0, RANDOM_SECONDS))
        strike()
    else:
        instant.arm(one, random, strike)
        with suppress(TimeoutError):
            async with asyncio.timeout(REACH_SECONDS):
                await reached.wait()
    for server in one.servers.values():
        server.peer.script.clear()
    await one.after_kill()
    return reached.is_set()
