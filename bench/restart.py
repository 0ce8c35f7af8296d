"""A restart among many Notifications that are finished: it must cost reading them, and no more."""

from __future__ import annotations

import asyncio
import time

from bench.bare_loop import status
from bench.environment import Environment
from bench.figures import Figure
from bench.single import IN_FLIGHT, USERS, deliver
from bench.waiting import deliveries
from tests.support.kubernetes import notification


async def restart(environment: Environment, count: int) -> list[Figure]:
    """Measure the start of an operator that finds so many finished Notifications."""
    environment.log(f"restart with {count} finished Notifications")
    await environment.use_catalog(USERS)
    async with environment.operator() as operator:
        alone, memory_alone = operator.ready_after, operator.usage.peak
    namespace = await environment.new_namespace()
    await _finish(environment, namespace, count)
    listing = await _list_all(environment)
    mails = environment.sink.messages()
    async with environment.operator() as operator:
        ready_after, usage = operator.ready_after, operator.usage
        await _pass_through(environment)
    writes = environment.writes(namespace)
    name = f"restart-{count}"
    return [
        Figure(figure=f"{name}.patches", value=writes.total(), unit="writes"),
        Figure(figure=f"{name}.mails", value=environment.sink.messages() - mails - 1, unit="mails"),
        Figure(
            figure=f"{name}.ready",
            value=ready_after,
            unit="s",
            peer="start without any, and a bare list",
            peer_value=alone + listing,
        ),
        Figure(
            figure=f"{name}.memory",
            value=usage.peak / 2**20,
            unit="MiB peak",
            peer="start without any",
            peer_value=memory_alone / 2**20,
        ),
    ]


async def _finish(environment: Environment, namespace: str, count: int) -> None:
    """Create Notifications that are delivered, as a run of the operator would leave them."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def finish(number: int) -> None:
        name, ref = f"n-{number}", f"user:default/user-{number % USERS:06}"
        kubernetes = environment.kubernetes
        async with slots:
            await kubernetes.create(notification(name, namespace, ref, title=f"To {ref}"))
            patch = {"status": status(finished=True)}
            await kubernetes.patch("Notification", name, namespace, patch, subresource="status")

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(finish(number))


async def _pass_through(environment: Environment) -> None:
    """Let a later Notification be delivered: all that was there before has been looked at."""
    namespace = await environment.new_namespace()
    async with deliveries(environment.kubernetes, namespace) as delivered:
        await deliver(environment, namespace, delivered, "later", 0)


async def _list_all(environment: Environment) -> float:
    """Return the seconds in which all Notifications can be read."""
    start = time.perf_counter()
    await environment.kubernetes.list("Notification")
    return time.perf_counter() - start
