"""An API server that goes on refusing must not be asked as fast as it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from notifications_operator.api.errors import ConflictError, KubernetesError, RejectedError
from tests.support.cluster import Interruption
from tests.unit.delivery.harness import World, world

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


@pytest.mark.xfail(strict=True, reason="a slot granted within the step wakes its own runner")
async def test_a_refused_status_is_not_written_again_and_again() -> None:
    async with world() as w:
        async with refusing(w, RejectedError("422 invalid")) as writes:
            w.notify()
            await w.until(lambda: len(writes) == 2, "refused in both forms")
            w.annotate("n", "example.com/a", "looked at again")
            for _ in range(TURNS):
                await asyncio.sleep(0)
        assert len(writes) <= MOST_WRITES


@pytest.mark.xfail(strict=True, reason="after a conflict there is no pause, whatever it was about")
async def test_conflicts_that_do_not_end_are_waited_out() -> None:
    async with world() as w:
        async with refusing(w, ConflictError("409 modified")) as writes:
            w.notify()
            for _ in range(TURNS):
                await asyncio.sleep(0)
        assert len(writes) <= MOST_WRITES
