"""No more starts in any interval than allowed, first come first served."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.delivery.dispatch.throttle import Throttle
from notifications_operator.processors.base import Limits


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            timer = heapq.nsmallest(1, self._scheduled)[0]  # type: ignore[attr-defined]
            self._now = max(self._now, timer.when())
        super()._run_once()  # type: ignore[misc]


def run_virtually(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


MOMENTS = st.integers(0, 60).map(lambda tenths: tenths / 10)


def throttle(starts: int, interval: float) -> Throttle:
    return Throttle(Limits(concurrency=1, starts=starts, interval=timedelta(seconds=interval)))


def starts_of(limit: Throttle, arrivals: list[float]) -> list[tuple[int, float]]:
    """Return who started when, for arrivals at some seconds."""
    started: list[tuple[int, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()

        async def arrive(number: int, at: float) -> None:
            await asyncio.sleep(at)
            await limit.wait()
            started.append((number, loop.time() - begin))

        async with asyncio.TaskGroup() as tasks:
            for number, at in enumerate(arrivals):
                tasks.create_task(arrive(number, at))

    run_virtually(main)
    return started


@given(
    st.integers(1, 5),
    st.sampled_from([0.1, 1.0, 7.0]),
    st.lists(MOMENTS, min_size=1, max_size=30),
)
def test_never_more_starts_in_any_interval(
    starts: int, interval: float, arrivals: list[float]
) -> None:
    found = starts_of(throttle(starts, interval), sorted(arrivals))
    times = [at for _, at in found]
    assert len(times) == len(arrivals)
    for earlier, later in zip(times, times[starts:], strict=False):
        assert later - earlier >= interval - 1e-6


@given(st.lists(MOMENTS, min_size=1, max_size=20))
def test_first_come_first_served(arrivals: list[float]) -> None:
    ordered = sorted(arrivals)
    found = starts_of(throttle(2, 1.0), ordered)
    assert [ordered[number] for number, _ in found] == ordered


@given(st.lists(MOMENTS, min_size=1, max_size=20))
def test_waits_no_longer_than_needed(arrivals: list[float]) -> None:
    """Each start is at its arrival, or exactly an interval after an earlier one."""
    ordered = sorted(arrivals)
    found = starts_of(throttle(2, 1.0), ordered)
    times = [at for _, at in found]
    for place, (number, at) in enumerate(found):
        due = max(ordered[number], times[place - 2] + 1.0 if place >= 2 else 0.0)
        assert at == pytest.approx(due, abs=1e-6)


@pytest.mark.parametrize(("starts", "interval"), [(0, 1.0), (5, 0.0), (0, 0.0)])
def test_zero_means_no_bound(starts: int, interval: float) -> None:
    found = starts_of(throttle(starts, interval), [0.0] * 100)
    assert {at for _, at in found} == {0.0}


def test_who_gives_up_takes_no_turn() -> None:
    limit = throttle(1, 10.0)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        await limit.wait()
        begin = loop.time()
        impatient = asyncio.create_task(limit.wait())
        await asyncio.sleep(1)
        impatient.cancel()
        await limit.wait()
        return loop.time() - begin

    assert run_virtually(main) == pytest.approx(10.0)
