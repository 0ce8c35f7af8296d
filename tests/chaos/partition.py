"""The campaign of two operators: what comes between them, and what both then do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import permutations
from random import Random

from tests.support.installation import Installation

from .figures import Figures
from .history import History
from .operators import Operator
from .rivals import DURATION, RIVALRIES, Duel
from .rounds import order
from .servers import MailServer
from .stage import stage
from .workload import Workload

SETTLE_SECONDS = 120.0
"""Within so many seconds after the last rivalry everything must be complete."""

LEADER_SECONDS = 30.0
"""Within so many seconds after a rivalry somebody must lead."""

SPARE_CONNECTIONS = 60
"""aiohttp keeps a connection for 15 s and uses the one again that was unused for longest, so that
as many stay open as requests come in that time: with this Lease up to four a second."""

_ELECTION = {
    "NOTIFICATIONS_LEADER_ELECTION__LEASE_DURATION": str(DURATION),
    "NOTIFICATIONS_LEADER_ELECTION__RENEW_INTERVAL": "1",
    "NOTIFICATIONS_LEADER_ELECTION__RETRY_PERIOD": "0.5",
}


async def run(installation: Installation, *, seed: int, rounds: int) -> Figures:
    """Come between two operators so many times and judge what became of the work."""
    figures = Figures(campaign="partition", seed=seed)
    random = Random(f"partition {seed}")
    servers = [
        MailServer(processor=f"resend-{seed}"),
        MailServer(processor=f"hold-{seed}", hold=True),
        MailServer(processor=f"narrow-{seed}", concurrency=1),
    ]
    replicas = [_replica(installation, f"pod-{name}") for name in ("a", "b")]
    async with stage(
        replicas, servers, figures, impatient=True, spare_connections=SPARE_CONNECTIONS
    ) as one:
        history = History(one)
        work = Workload(seed, namespace=one.namespace, processors=[*one.servers])
        async with history.followed():
            for name in order([*RIVALRIES], rounds, random):
                # Many claims at once for the processor whose mails tell who sent them.
                crowd = work.job("group:default/crowd", processors=[servers[1].processor])
                await one.create([crowd, *work.jobs(random.randint(1, 2))])
                leader, rival = await _roles(history, one.operators)
                duel = Duel(leader=leader, rival=rival, stage=one, history=history, random=random)
                async with asyncio.TaskGroup() as meanwhile:
                    meanwhile.create_task(one.create(work.jobs(random.randint(1, 3))))
                    meanwhile.create_task(one.edit_some(random))
                    await RIVALRIES[name](duel)
                one.check_alive()
                figures.instants[name] = figures.instants.get(name, 0) + 1
            await one.finish(seconds=SETTLE_SECONDS)
        figures.takeovers = history.takeovers
        figures.in_doubt = len(one.orphans)
        return await one.conclude()


def _replica(installation: Installation, pod: str) -> Installation:
    """Return another process of an installation, in a pod of its own."""
    directory = installation.directory / pod
    directory.mkdir(exist_ok=True)
    return Installation(
        cluster=installation.cluster,
        directory=directory,
        namespace=installation.namespace,
        pod=pod,
        settings=_ELECTION,
    )


async def _roles(history: History, operators: Sequence[Operator]) -> tuple[Operator, Operator]:
    """Wait until one of two operators leads; return it and the other."""
    async with asyncio.timeout(LEADER_SECONDS):
        while True:
            for leader, rival in permutations(operators):
                if await history.is_led_by(leader):
                    return leader, rival
            await asyncio.sleep(0.05)
