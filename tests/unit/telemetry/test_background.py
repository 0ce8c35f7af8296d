"""Background tasks come back after a failure, and the readiness probe says so meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from notifications_operator.telemetry import background
from notifications_operator.telemetry.background import BackgroundTasks, end_tasks


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSES", (0.02, 0.03))
    monkeypatch.setattr(background, "STEADY_SECONDS", 0.05)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


class Work:
    """Fails as often as it is told, then runs until it is cancelled."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.starts = 0
        self.running = asyncio.Event()

    async def __call__(self) -> None:
        self.starts += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.running.set()
        await asyncio.Event().wait()


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_task_that_fails_is_named_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    tasks, work = BackgroundTasks(), Work(ValueError("odd"), RuntimeError("again"))
    task = tasks.keep("the catalog", work)
    await until(lambda: tasks.problem is not None)
    assert tasks.problem == "the catalog: ValueError: odd"
    await until(lambda: tasks.problem == "the catalog: RuntimeError: again")
    await work.running.wait()
    assert tasks.problem is not None, "it may fail again at once"
    await until(lambda: tasks.problem is None)
    assert work.starts == 3
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert all(record.exc_info for record in caplog.records)
    await cancel(task)


async def test_pauses_grow_and_begin_anew_after_a_steady_time() -> None:
    tasks = BackgroundTasks()
    moments: list[float] = []
    loop = asyncio.get_running_loop()

    async def work() -> None:
        moments.append(loop.time())
        if len(moments) == 3:
            await asyncio.sleep(0.06)
        raise ValueError(len(moments))

    task = tasks.keep("work", work)
    await until(lambda: len(moments) == 4)
    await cancel(task)
    first, second, third = (b - a for a, b in pairwise(moments))
    assert first >= 0.02 and second >= 0.03 and third >= 0.06 + 0.02
    assert tasks.problem is None, "who is not there any more has no problem"


async def test_one_that_returns_is_done() -> None:
    tasks = BackgroundTasks()

    async def work() -> None:
        return None

    async with asyncio.timeout(5):
        await tasks.keep("work", work)
    assert tasks.problem is None


async def test_one_of_several_fails_and_the_others_go_on() -> None:
    tasks, good, bad = BackgroundTasks(), Work(), Work(ExceptionGroup("two", [ValueError("x")]))
    task = asyncio.create_task(tasks.keep_all({"good": good, "bad": bad}))
    await until(lambda: bad.starts == 2)
    assert good.starts == 1
    assert tasks.problem is not None and tasks.problem.startswith("bad: ExceptionGroup")
    await cancel(task)
    assert not [item for item in asyncio.all_tasks() if item.get_name() in ("good", "bad")]


async def test_a_failure_of_what_is_done_once_is_shown_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = BackgroundTasks()

    async def work() -> None:
        raise KeyError("metadata")

    tasks.spawn("deletion of team/n", work())
    await until(lambda: tasks.problem == "deletion of team/n: KeyError: 'metadata'")
    await until(lambda: tasks.problem is None)
    (record,) = caplog.records
    assert record.exc_info


async def test_cancelling_is_no_failure() -> None:
    tasks = BackgroundTasks()
    kept, once = tasks.keep("kept", Work()), tasks.spawn("once", Work()())
    await asyncio.sleep(0.01)
    await cancel(kept)
    await cancel(once)
    assert tasks.problem is None


async def test_who_misses_the_first_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a loop does whose timeout expires in the moment of the cancellation."""
    monkeypatch.setattr(background, "CANCEL_AGAIN", 0.02)
    missed = 0

    async def deaf() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if missed == 2:
                    raise
                missed += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_tasks([task])
    assert task.cancelled()
    assert missed == 2
