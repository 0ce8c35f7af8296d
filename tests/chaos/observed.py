"""The operator with a metric more: its tasks by what they run, so that a leak can be named.

Run as ``python -m tests.chaos.observed run``.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from notifications_operator import cli

METRIC = "chaos_tasks"
"""Tasks of the event loop, by the qualified name of their coroutine."""


class TaskCollector(Collector):
    """Counts the tasks of the event loop in which the metrics are rendered."""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the metric without an event loop, for the registry."""
        yield _family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count the tasks."""
        family = _family()
        names = (_coroutine(task) for task in asyncio.all_tasks())
        for name, count in Counter(names).items():
            family.add_metric([name], count)
        yield family


def observe() -> None:
    """Show the tasks among the metrics of this process."""
    REGISTRY.register(TaskCollector())


def _family() -> GaugeMetricFamily:
    return GaugeMetricFamily(METRIC, "Tasks by their coroutine.", labels=["coroutine"])


def _coroutine(task: asyncio.Task[object]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", type(coroutine).__qualname__)


if __name__ == "__main__":
    observe()
    sys.exit(cli.main())
