"""The command line: ``python -m bench``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from bench.environment import environment
from bench.figures import Figure, table
from bench.postfix import PostfixError
from bench.run import BENCHMARKS, run
from bench.waiting import BenchmarkError
from hack.cluster import ClusterError


def main() -> int:
    """Run benchmarks and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the operator on a real API server, each figure beside a peer. Prints "
        "a table and one line of JSON per figure; docs/performance.md explains them.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"what to measure: {', '.join(BENCHMARKS)} (default: all)",
    )
    parser.add_argument("--json", type=Path, help="also write the lines of JSON to a file")
    for name, benchmark in BENCHMARKS.items():
        sizes = " ".join(map(str, benchmark.sizes))
        parser.add_argument(
            f"--{name}",
            type=_size,
            nargs="+",
            metavar="N",
            help=f"{benchmark.what} of {name} (default: {sizes})",
        )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; {', '.join(BENCHMARKS)}")
    chosen = {name: given for name in BENCHMARKS if (given := getattr(arguments, name))}
    # A run that is told to end takes its cluster down, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        figures = asyncio.run(_measure(arguments.names or list(BENCHMARKS), chosen))
    except (BenchmarkError, ClusterError, PostfixError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    lines = "".join(f"{figure.to_json()}\n" for figure in figures)
    print(f"{table(figures)}\n\n{lines}", end="")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(lines)
    return 0


async def _measure(names: Collection[str], sizes: Mapping[str, Collection[int]]) -> list[Figure]:
    figures = []
    async with environment() as place:
        async for found in run(place, names, sizes):
            print(table(found), file=sys.stderr, flush=True)
            figures += found
    return figures


def _size(text: str) -> int:
    size = int(text)
    if size < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return size


if __name__ == "__main__":
    sys.exit(main())
