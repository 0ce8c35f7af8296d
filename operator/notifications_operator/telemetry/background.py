"""Background tasks: started again when they fail, while the readiness probe says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from .redaction import redact

logger = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a task is started again after its first failure, its second and so on."""

STEADY_SECONDS = 5.0
"""Seconds for which a task must run again until its last failure counts no more."""

_SHOWN = 5
"""Failures that are named at a time."""

_TEXT = 256
"""Characters of an error that are repeated."""

CANCEL_AGAIN = 5.0
"""Seconds after which a task that was cancelled and goes on is cancelled once more; what a task
does at its end, such as closing its connections, takes less."""

Work = Callable[[], Awaitable[object]]
"""Does what a task is for; it may be called again after it has raised."""


@dataclass
class _Failure:
    """The last failure of a task, and since when the task runs again, if it does."""

    text: str
    running_since: float | None = None


class BackgroundTasks:
    """Runs tasks that nobody awaits.

    An exception in such a task is a fault of the program. It is logged with its traceback, it is
    a `problem` for the readiness probe, and the task is started again after a pause. A task that
    returns is done.
    """

    def __init__(self) -> None:
        self._failures: dict[str, _Failure] = {}
        self._once: set[asyncio.Task[None]] = set()

    @property
    def problem(self) -> str | None:
        """The first tasks that have failed and do not run steadily again, with their errors."""
        self._forget_steady()
        failures = sorted(self._failures.items())
        texts = [f"{name}: {failure.text}" for name, failure in failures[:_SHOWN]]
        if len(failures) > _SHOWN:
            texts.append(f"and {len(failures) - _SHOWN} more")
        return "; ".join(texts) or None

    def keep(self, name: str, work: Work) -> asyncio.Task[None]:
        """Return a task that does some work until it is done or the task is cancelled."""
        return asyncio.create_task(self._keep(name, work), name=name)

    async def keep_all(self, works: Mapping[str, Work]) -> None:
        """Do several works at the same time until all are done."""
        tasks = [self.keep(name, work) for name, work in works.items()]
        try:
            await asyncio.wait(tasks)
        finally:
            await end_tasks(tasks)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Return a task that does some work once, and whose failure is reported."""
        task = asyncio.create_task(work, name=name)
        self._once.add(task)
        task.add_done_callback(self._ended)
        return task

    def report(
        self, name: str, error: BaseException, *, extra: Mapping[str, str] | None = None
    ) -> None:
        """Note a failure of a task that is not started again here; it counts for `STEADY_SECONDS`.

        Parameters
        ----------
        extra
            Fields of the line in the log.
        """
        logger.error("a background task has failed: %s", name, exc_info=error, extra=extra)
        self._forget_steady()
        self._failures[name] = _Failure(_describe(error), running_since=_now())

    async def _keep(self, name: str, work: Work) -> None:
        tries = 0
        try:
            while True:
                begun = _now()
                try:
                    await work()
                except Exception as error:
                    tries = 0 if _now() - begun >= STEADY_SECONDS else tries
                    pause = PAUSES[min(tries, len(PAUSES) - 1)]
                    tries += 1
                    self._failures[name] = failure = _Failure(_describe(error))
                    logger.exception(
                        "a background task has failed: %s; starting it again in %g s", name, pause
                    )
                else:
                    return
                await asyncio.sleep(pause)
                failure.running_since = _now()
        finally:
            self._failures.pop(name, None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._once.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.report(task.get_name(), error)

    def _forget_steady(self) -> None:
        horizon = _now() - STEADY_SECONDS
        for name, failure in list(self._failures.items()):
            if failure.running_since is not None and failure.running_since <= horizon:
                del self._failures[name]


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended, whatever they end with.

    One request may not be enough: where it meets with a timeout that expires at the same moment,
    the task sees only the timeout (python/cpython#86296), and its loop goes on. Before Python 3.13
    the same holds for a `asyncio.TaskGroup` one of whose tasks fails at that moment.
    """
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=CANCEL_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _describe(error: BaseException) -> str:
    return redact(f"{type(error).__name__}: {error}")[:_TEXT]
