"""Which figures there are, and how a run goes through them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from bench.broadcast import broadcast
from bench.catalog import catalog
from bench.environment import Environment
from bench.fanout import fanout
from bench.figures import Figure
from bench.inbox import ROWS, inbox
from bench.killed import killed
from bench.live import live
from bench.posts import posts
from bench.restart import restart
from bench.signals import SOCKETS, signals
from bench.single import burst, latency
from bench.takeover import takeover

Measure = Callable[[Environment, int], Awaitable[list[Figure]]]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One program, with the sizes that it is run with unless others are given."""

    measure: Measure
    sizes: tuple[int, ...]
    what: str


BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "latency": Benchmark(measure=latency, sizes=(100,), what="samples"),
    "burst": Benchmark(measure=burst, sizes=(1000,), what="Notifications"),
    "broadcast": Benchmark(measure=broadcast, sizes=(1000, 10_000, 100_000), what="users"),
    "catalog": Benchmark(measure=catalog, sizes=(100_000,), what="users"),
    "killed": Benchmark(measure=killed, sizes=(100_000,), what="users"),
    "takeover": Benchmark(measure=takeover, sizes=(15,), what="seconds of the Lease"),
    "inbox": Benchmark(measure=inbox, sizes=(ROWS,), what="rows"),
    "signals": Benchmark(measure=signals, sizes=(SOCKETS,), what="sockets"),
    "posts": Benchmark(measure=posts, sizes=(1000,), what="POSTs"),
    "fanout": Benchmark(measure=fanout, sizes=(10_000,), what="users"),
    "live": Benchmark(measure=live, sizes=(100,), what="samples"),
    # Last, as what it leaves would be found by every later start.
    "restart": Benchmark(measure=restart, sizes=(10_000,), what="finished Notifications"),
}
"""In the order in which they run."""


async def run(
    environment: Environment,
    names: Collection[str],
    sizes: Mapping[str, Collection[int]],
) -> AsyncIterator[list[Figure]]:
    """Yield the figures of each program, as soon as they are there.

    Parameters
    ----------
    names
        Of `BENCHMARKS`.
    sizes
        Sizes for some of them, instead of their own.
    """
    for name, benchmark in BENCHMARKS.items():
        if name in names:
            for size in sizes.get(name, benchmark.sizes):
                yield await benchmark.measure(environment, size)
