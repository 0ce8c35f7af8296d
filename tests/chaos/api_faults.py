"""The campaign of API faults: one process under every trouble an API server can make.

The process lives throughout, so nothing is ever in doubt: every mail exactly once.
"""

from __future__ import annotations

import asyncio
from random import Random

from tests.support.installation import Installation

from .figures import Figures
from .rounds import order
from .servers import MailServer
from .stage import stage
from .troubles import TROUBLES
from .workload import Workload

SETTLE_SECONDS = 120.0
"""Within so many seconds after the last trouble everything must be complete."""

ELSEWHERE = 5001
"""Number of the first Notification in the other namespace."""

LONGEST_TROUBLE = 4.0
"""Seconds."""


async def run(
    installation: Installation, *, seed: int, rounds: int, longest: float = LONGEST_TROUBLE
) -> Figures:
    """Make trouble so many times and judge what became of the work.

    Parameters
    ----------
    installation
        The chart in a cluster.
    seed, rounds
        Which troubles, and how many.
    longest
        Most seconds that one lasts.
    """
    figures = Figures(campaign="api", seed=seed)
    random = Random(f"api {seed}")
    servers = [
        MailServer(processor=f"resend-{seed}"),
        MailServer(processor=f"hold-{seed}", hold=True),
        MailServer(processor=f"narrow-{seed}", concurrency=1),
    ]
    async with stage([installation], servers, figures, impatient=True) as one:
        work = Workload(seed, namespace=one.namespace, processors=[*one.servers])
        elsewhere = Workload(
            seed,
            namespace=await one.add_namespace(),
            processors=[*one.servers],
            first=ELSEWHERE,
        )
        for name in order([*TROUBLES], rounds, random):
            await one.create(work.jobs(random.randint(1, 2)))
            async with TROUBLES[name](one, random):
                jobs = [*work.jobs(random.randint(1, 2)), *elsewhere.jobs(1)]
                creating = asyncio.create_task(one.create(jobs))
                editing = asyncio.create_task(one.edit_some(random))
                await asyncio.sleep(random.uniform(0.5, longest))
            one.proxy.behave()
            await asyncio.gather(creating, editing)
            one.check_alive()
            figures.instants[name] = figures.instants.get(name, 0) + 1
        await one.finish(seconds=SETTLE_SECONDS)
        return await one.conclude()
