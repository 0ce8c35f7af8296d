"""What is struck in the campaign against the gateway, and how it comes back.

To add one, write a function like those below and put it into `STRIKES`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from tests.support.proxy import Fault, Hold, LoseAnswer, Withhold, Write
from tests.support.service import Service

from ..instants import INSTANTS, Instant
from .replicas import Replica
from .scene import Scene

REACH_SECONDS = 8.0
"""Longest wait for a chosen instant; then it is struck where it is."""

ABSENCE_SECONDS = (0.2, 3.0)
"""How long what was struck stays away."""

_OPERATOR_INSTANTS = {instant.name: instant for instant in INSTANTS}

Strike = Callable[[Scene], Awaitable[None]]


def _is_creation(write: Write) -> bool:
    return write.method == "POST" and write.path.endswith("/notifications")


async def _absence(scene: Scene) -> None:
    await asyncio.sleep(scene.random.uniform(*ABSENCE_SECONDS))


async def _replace(scene: Scene, *replicas: Replica) -> None:
    """Start killed gateways again after a while; they need not be ready."""
    await asyncio.gather(*(replica.end() for replica in replicas))
    scene.figures.kills += len(replicas)
    await _absence(scene)
    for replica in replicas:
        replica.gateway.launch()


async def _reached(event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(REACH_SECONDS):
            await event.wait()


async def _kill_one(scene: Scene) -> None:
    replica = scene.random.choice(scene.replicas)
    replica.strike()
    await _replace(scene, replica)


async def _kill_all(scene: Scene) -> None:
    for replica in scene.replicas:
        replica.strike()
    await _replace(scene, *scene.replicas)


def _kill_at_creation(*, stored: bool) -> Strike:
    """Kill the gateway that creates a Notification next: before that is stored, or after."""

    async def strike(scene: Scene) -> None:
        struck: list[Replica] = []
        reached = asyncio.Event()

        def arm(replica: Replica) -> Callable[[Write], Fault]:
            def hit() -> None:
                replica.strike()
                struck.append(replica)
                reached.set()

            def judge(write: Write) -> Fault:
                if struck or not _is_creation(write):
                    return None
                if stored:
                    return Withhold(hit)
                hit()
                return Hold()

            return judge

        for replica in scene.replicas:
            replica.proxy.judge = arm(replica)
        await _reached(reached)
        for replica in scene.replicas:
            replica.proxy.judge = lambda write: None
        if not struck:
            struck.append(scene.replicas[0])
            struck[0].strike()
        await _replace(scene, *dict.fromkeys(struck))

    return strike


def _kill_at_answer(address: Callable[[Scene], Service], port: Callable[[Replica], int]) -> Strike:
    """Kill a gateway that has done what it was asked, when it answers."""

    async def strike(scene: Scene) -> None:
        struck: list[Replica] = []
        reached = asyncio.Event()

        def hit(number: int) -> None:
            replica = next(item for item in scene.replicas if port(item) == number)
            replica.strike()
            struck.append(replica)
            reached.set()

        address(scene).trap = hit
        await _reached(reached)
        address(scene).trap = None
        if not struck:
            struck.append(scene.replicas[0])
            struck[0].strike()
        await _replace(scene, *struck)

    return strike


async def _stop_one(scene: Scene) -> None:
    """Ask a gateway to stop, as a rollout does: it ends in order."""
    replica = scene.random.choice(scene.replicas)
    await asyncio.to_thread(replica.gateway.wait_ready)
    await replica.stop()
    replica.gateway.launch()


def _end_database(end: str) -> Strike:
    """End PostgreSQL in one of its ways, and start it again on the same data."""

    async def strike(scene: Scene) -> None:
        await asyncio.sleep(scene.random.uniform(0, 0.5))
        await asyncio.to_thread(getattr(scene.postgres, end))
        await _absence(scene)
        await asyncio.to_thread(scene.postgres.run)
        scene.figures.kills += 1

    return strike


async def _cut_sessions(scene: Scene) -> None:
    for _ in range(3):
        await scene.ledger.cut()
        await asyncio.sleep(scene.random.uniform(0.1, 0.5))


async def _cut_connections(scene: Scene) -> None:
    """Reset what callers, people and the operator have open."""
    for _ in range(3):
        scene.public.cut()
        scene.internal.cut()
        await asyncio.sleep(scene.random.uniform(0.1, 0.5))


async def _lose_answers(scene: Scene) -> None:
    """Let the API server do what the gateways ask, and keep some answers from them."""

    def judge(write: Write) -> Fault:
        return LoseAnswer() if _is_creation(write) and scene.random.random() < 0.5 else None

    for replica in scene.replicas:
        replica.proxy.judge = judge
    await asyncio.sleep(scene.random.uniform(1, 2))
    for replica in scene.replicas:
        replica.proxy.behave()


def _kill_operator(*names: str) -> Strike:
    """Kill the operator at one of some instants."""

    async def strike(scene: Scene) -> None:
        instant: Instant = _OPERATOR_INSTANTS[scene.random.choice(names)]
        reached = asyncio.Event()

        def hit() -> None:
            scene.stage.operator.strike()
            reached.set()

        instant.arm(scene.stage, scene.random, hit)
        await _reached(reached)
        for server in scene.stage.servers.values():
            server.peer.script.clear()
        await scene.stage.after_strike(graceful=False)
        scene.figures.kills += 1
        scene.stage.operator.launch()

    return strike


async def _kill_everything(scene: Scene) -> None:
    """Kill both gateways, PostgreSQL and the operator at once."""
    for replica in scene.replicas:
        replica.strike()
    scene.stage.operator.strike()
    await asyncio.to_thread(scene.postgres.crash)
    await scene.stage.after_strike(graceful=False)
    scene.stage.operator.launch()
    await _replace(scene, *scene.replicas)
    await asyncio.to_thread(scene.postgres.run)
    scene.figures.kills += 2


STRIKES: Final[dict[str, Strike]] = {
    "a gateway killed": _kill_one,
    "both gateways killed": _kill_all,
    "a gateway killed before it stores": _kill_at_creation(stored=False),
    "a gateway killed after it stored": _kill_at_creation(stored=True),
    "a gateway killed before it answers": _kill_at_answer(
        lambda scene: scene.public, lambda replica: replica.gateway.port
    ),
    "a gateway killed before it answers the operator": _kill_at_answer(
        lambda scene: scene.internal, lambda replica: replica.gateway.internal_port
    ),
    "a gateway stopped": _stop_one,
    "PostgreSQL killed": _end_database("crash"),
    "PostgreSQL and its sessions killed": _end_database("kill"),
    "PostgreSQL stopped": _end_database("shutdown"),
    "sessions of PostgreSQL cut": _cut_sessions,
    "connections cut": _cut_connections,
    "answers of the API server lost": _lose_answers,
    "the operator killed before or after a claim": _kill_operator("before claim", "after claim"),
    "the operator killed while it sends": _kill_operator("after the final dot", "after 250"),
    "the operator killed before or after a record": _kill_operator("before record", "after record"),
    "everything killed": _kill_everything,
}
"""All strikes, each as often as the others."""
