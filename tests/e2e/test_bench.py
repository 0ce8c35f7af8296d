"""The benchmark and the soak, in the smallest sizes: all figures come; how fast is no matter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.environment import Environment, environment
from bench.run import BENCHMARKS, run
from bench.soak import TOLERANCES, describe, soak

pytestmark = pytest.mark.cluster

SIZE = 10

NAMES = {
    "latency.apply-to-delivered",
    "latency.create",
    "latency.created-to-first-patch",
    "latency.first-patch",
    "latency.between-patches",
    "latency.second-patch",
    "latency.seen",
    "burst-10.rate",
    "burst-10.patches",
    "burst-10.events",
    "burst-10.cpu",
    "broadcast-10.rate",
    "broadcast-10.flatness",
    *(f"broadcast-10.rate.tenth-{number}" for number in range(1, 11)),
    "broadcast-10.cpu",
    "broadcast-10.memory",
    "broadcast-10.ledger-writes",
    "broadcast-10.etcd-growth",
    "catalog-10.load",
    "catalog-10.memory",
    "catalog-10.memory-peak",
    "catalog-10.resolve-10",
    "killed-10.recipients",
    "killed-10.copies",
    "killed-10.seconds",
    "takeover-10.crash",
    "takeover-10.stop",
    "inbox-10.deliver",
    "inbox-10.page-100.p50",
    "inbox-10.page-100.p99",
    "inbox-10.page-unread.p50",
    "inbox-10.page-unread.p99",
    "inbox-10.page.p50",
    "inbox-10.page.p99",
    "inbox-10.search-rare.p50",
    "inbox-10.search-rare.p99",
    "inbox-10.search.p50",
    "inbox-10.search.p99",
    "inbox-10.settings.p50",
    "inbox-10.settings.p99",
    "inbox-10.status.p50",
    "inbox-10.status.p99",
    "inbox-10.topics.p50",
    "inbox-10.topics.p99",
    *(
        f"inbox-10.http.{route}.{part}"
        for route in ("page", "search", "status", "topics")
        for part in ("p50", "p99")
    ),
    "signals-10.connect",
    "signals-10.memory",
    "signals-10.broadcast",
    "signals-10.broadcast-cpu",
    "signals-10.each",
    "posts-10.rate",
    "posts-10.p50",
    "posts-10.p99",
    "posts-10.alone.p50",
    "posts-10.alone.p99",
    "posts-10.cpu",
    "fanout-10.rate",
    "fanout-10.cpu",
    "fanout-10.gateway-cpu",
    "live.signal.p50",
    "live.signal.p99",
    "live.page.p50",
    "live.page.p99",
    "live.answer.p50",
    "live.answer.p99",
    "restart-10.patches",
    "restart-10.mails",
    "restart-10.ready",
    "restart-10.memory",
}


@pytest.fixture
async def place() -> AsyncIterator[Environment]:
    """A cluster of the benchmark's own, without an operator."""
    async with environment() as place:
        yield place


async def test_every_figure_is_produced(place: Environment) -> None:
    sizes = dict.fromkeys(BENCHMARKS, (SIZE,))
    found = [figure async for group in run(place, list(BENCHMARKS), sizes) for figure in group]
    assert {figure.figure for figure in found} == NAMES
    assert len(found) == len(NAMES)
    values = {figure.figure: figure.value for figure in found}
    assert values["restart-10.patches"] == values["restart-10.mails"] == 0
    # The limits are measured in the same run, not written down.
    peers = {figure.peer for figure in found}
    assert {"smtp-source -d -s 8 -l 2048", "bare loop, one at a time"} <= peers


async def test_a_soak_samples_everything_and_leaves_nothing_unfinished(place: Environment) -> None:
    result = await soak(place, seconds=10, interval=1, seed=1)
    assert result.unfinished == []
    assert result.created > 0
    assert result.mails > 0
    assert result.faults > 0
    assert set(result.trends) == set(TOLERANCES)
    assert all(sample.memory > 0 and sample.tasks > 0 for sample in result.samples)
    assert "second" in describe(result)


def test_an_unknown_name_is_refused() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench", "brodcast"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "no such figure: brodcast" in result.stderr
