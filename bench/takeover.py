"""How long nobody sends after the leader is gone, with a standby beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from bench.environment import Environment
from bench.figures import Figure
from bench.waiting import BenchmarkError
from tests.support.installation import Installation

POLL_SECONDS = 0.02
PATIENCE = 60.0
"""Seconds beyond the Lease's duration after which a take-over is given up."""


async def takeover(environment: Environment, duration: int) -> list[Figure]:
    """Measure a take-over after SIGKILL and one after SIGTERM, with a Lease of some seconds."""
    environment.log(f"take-over with a Lease of {duration} s")
    settings = {
        "NOTIFICATIONS_LEADER_ELECTION__LEASE_DURATION": str(duration),
        # The longest that the duration allows, as the defaults are.
        "NOTIFICATIONS_LEADER_ELECTION__RENEW_INTERVAL": str(duration / 3),
    }
    async with _pods(environment, settings, "pod-a", "pod-b", "pod-c") as (first, second, third):
        await _leads(environment, first, PATIENCE)
        for standby in (second, third):
            standby.start()
            await asyncio.to_thread(standby.wait_ready)
        started = time.perf_counter()
        first.kill()
        survivor, other = await _either(environment, second, third, duration + PATIENCE)
        crash = time.perf_counter() - started
        stopping = asyncio.create_task(asyncio.to_thread(survivor.stop))
        started = time.perf_counter()
        await _leads(environment, other, duration + PATIENCE)
        stop = time.perf_counter() - started
        await stopping
    name = f"takeover-{duration}"
    lease = "duration of the Lease"
    return [
        Figure(
            figure=f"{name}.crash", value=crash, unit="s", peer=lease, peer_value=float(duration)
        ),
        Figure(figure=f"{name}.stop", value=stop, unit="s", peer=lease, peer_value=float(duration)),
    ]


@asynccontextmanager
async def _pods(
    environment: Environment, settings: dict[str, str], *names: str
) -> AsyncIterator[list[Installation]]:
    """Yield installations of one process each; the first one runs."""
    pods = []
    for name in names:
        directory = environment.directory / name
        directory.mkdir(exist_ok=True)
        pods.append(
            replace(environment.installation, directory=directory, pod=name, settings=settings)
        )
    try:
        pods[0].start()
        await asyncio.to_thread(pods[0].wait_ready)
        yield pods
    finally:
        for pod in pods:
            pod.close()


async def _holder(environment: Environment) -> str:
    body = await environment.kubernetes.get("Lease", "notifications-operator", "kube-system")
    return str(body["spec"].get("holderIdentity") or "")


async def _leads(environment: Environment, pod: Installation, seconds: float) -> None:
    await _either(environment, pod, pod, seconds)


async def _either(
    environment: Environment, one: Installation, other: Installation, seconds: float
) -> tuple[Installation, Installation]:
    """Wait until one of two leads; return it first."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        holder = await _holder(environment)
        for leader, standby in ((one, other), (other, one)):
            if holder.startswith(f"{leader.pod}_"):
                return leader, standby
        await asyncio.sleep(POLL_SECONDS)
    raise BenchmarkError(f"nobody took over within {seconds} s; the holder is {holder!r}")
