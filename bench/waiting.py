"""Waiting for Notifications to be delivered, without asking the API server again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.support.kubernetes import APIError, Kubernetes, Object


class BenchmarkError(Exception):
    """A figure could not be measured: something went wrong that would falsify it."""


class Deliveries:
    """Notes when the Notifications of a namespace are `Delivered`, by a watch.

    The API server filters by the state, so that nothing is transferred before the last write.
    """

    def __init__(self) -> None:
        self.moments: dict[str, float] = {}
        """When each one was seen, by its name, as ``time.perf_counter`` has it."""
        self.bodies: dict[str, Object] = {}
        self._failure = ""
        self._changed = asyncio.Condition()

    async def wait(self, count: int, *, seconds: float) -> None:
        """Wait until so many are delivered.

        Raises
        ------
        BenchmarkError
            If they are not in time.
        """
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(
                    lambda: bool(self._failure) or len(self.moments) >= count
                )
        except TimeoutError:
            pass
        if len(self.moments) < count:
            raise BenchmarkError(
                f"{len(self.moments)} of {count} Notifications were delivered within {seconds} s"
                + (f"; the watch failed: {self._failure}" if self._failure else "")
            )

    async def follow(self, kubernetes: Kubernetes, namespace: str) -> None:
        """Watch until cancelled."""
        try:
            await self._follow(kubernetes, namespace)
        except (APIError, aiohttp.ClientError, OSError, ValueError) as error:
            async with self._changed:
                self._failure = repr(error)
                self._changed.notify_all()

    async def _follow(self, kubernetes: Kubernetes, namespace: str) -> None:
        query = {"fieldSelector": "status.state=Delivered"}
        async for event in kubernetes.watch("Notification", namespace, query):
            moment = time.perf_counter()
            body = event["object"]
            async with self._changed:
                self.moments.setdefault(body["metadata"]["name"], moment)
                self.bodies[body["metadata"]["name"]] = body
                self._changed.notify_all()


@asynccontextmanager
async def deliveries(kubernetes: Kubernetes, namespace: str) -> AsyncIterator[Deliveries]:
    """Watch a namespace's Notifications."""
    found = Deliveries()
    task = asyncio.create_task(found.follow(kubernetes, namespace))
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
