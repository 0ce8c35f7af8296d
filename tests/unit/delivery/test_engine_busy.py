"""An API server that goes on refusing must not be asked as fast as it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from notifications_operator.api.errors import (
    ConflictError,
    ForbiddenError,
    KubernetesError,
    RejectedError,
    UnavailableError,
)
from notifications_operator.api.references import NOTIFICATIONS, ObjectRef
from tests.support.cluster import Interruption, MemoryCluster
from tests.unit.delivery.builders import directory, manifest, users_yaml
from tests.unit.delivery.harness import World, world
from tests.unit.delivery.scripted import Script

TURNS = 3_000
"""Rounds of the event loop, in which nothing of the operator's falls due."""

MOST_WRITES = 10
"""For one Notification: in its full and in its smallest form, and again after each event."""


@asynccontextmanager
async def refusing(w: World, error: KubernetesError) -> AsyncIterator[list[int]]:
    """Refuse every write of a status; the list has one entry for each."""
    writes: list[int] = []
    refusal = Interruption(error=error, before=lambda: writes.append(1), times=100_000)
    w.cluster.interrupt(refusal)
    try:
        yield writes
    finally:
        refusal.times = 1


async def test_a_refused_status_is_not_written_again_and_again() -> None:
    async with world() as w:
        async with refusing(w, RejectedError("422 invalid")) as writes:
            w.notify()
            await w.until(lambda: len(writes) == 2, "refused in both forms")
            w.annotate("n", "example.com/a", "looked at again")
            for _ in range(TURNS):
                await asyncio.sleep(0)
        assert len(writes) <= MOST_WRITES


async def test_conflicts_that_do_not_end_are_waited_out() -> None:
    async with world() as w:
        async with refusing(w, ConflictError("409 modified")) as writes:
            w.notify()
            for _ in range(TURNS):
                await asyncio.sleep(0)
        assert len(writes) <= MOST_WRITES


class RefusingNamespace(MemoryCluster):
    """A cluster that stores no status in the namespace ``refused``."""

    def __init__(self, error: KubernetesError) -> None:
        super().__init__()
        self._error = error

    async def patch_status(
        self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str
    ) -> dict[str, Any]:
        """Store a status, unless it is in that namespace."""
        if ref.namespace == "refused":
            raise self._error
        return await super().patch_status(ref, status, resource_version=resource_version)


@pytest.mark.parametrize(
    "error",
    [
        ForbiddenError("403 admission webhook denied the request"),
        UnavailableError("500 failed calling webhook"),
        ConflictError("409 modified"),
    ],
    ids=["403", "500", "409"],
)
async def test_refused_writes_keep_no_slots_from_others(error: KubernetesError) -> None:
    names = [f"u{number:02}" for number in range(10)]
    script = Script(concurrency=2)
    cluster = RefusingNamespace(error)
    catalog = directory(users_yaml(names))
    async with world(scripts={"email": script}, cluster=cluster, catalog=catalog) as w:
        for number in range(4):
            body = manifest(f"refused-{number}", namespace="refused", to="user:default/u00")
            cluster.create(NOTIFICATIONS, body)
        for number, name in enumerate(names):
            w.notify(f"n{number}", to=f"user:default/{name}")
        await w.until(lambda: len(script.sent) == len(names), "everybody else has their mail")
