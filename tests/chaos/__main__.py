"""Runs campaigns from the command line."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.support.installation import Installation

from . import api_faults, kill, oauth2, partition, smtp_faults
from .figures import Figures
from .gateway import campaign as gateway
from .stage import installed

Campaign = Callable[[Installation, int, argparse.Namespace], Coroutine[Any, Any, Figures]]

CAMPAIGNS: dict[str, Campaign] = {
    "kill": lambda place, seed, options: kill.run(place, seed=seed, kills=options.kills),
    "oauth2": lambda place, seed, options: oauth2.run(place, seed=seed, kills=options.kills),
    "api": lambda place, seed, options: api_faults.run(place, seed=seed, rounds=options.rounds),
    "partition": lambda place, seed, options: partition.run(
        place, seed=seed, rounds=options.rounds
    ),
    "gateway": lambda place, seed, options: gateway.run(place, seed=seed, rounds=options.rounds),
    "smtp": lambda place, seed, options: smtp_faults.run(place, seed=seed, rounds=options.rounds),
}


def main() -> int:
    """Run the campaigns that are asked for; the exit status says whether all laws were kept."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kill operator and gateway, cut them off, lie to them, and judge by the mails.",
    )
    parser.add_argument(
        "--campaign",
        action="append",
        choices=[*CAMPAIGNS],
        help="which; may be repeated (default: all)",
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds (default: 1)")
    parser.add_argument("--kills", type=int, default=20, help="kills for each seed (default: 20)")
    parser.add_argument(
        "--rounds", type=int, default=20, help="faults for each seed of the others (default: 20)"
    )
    parser.add_argument("--log", type=Path, help="directory to keep the operator's log in")
    options = parser.parse_args()
    broken = 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        directory = options.log or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        with installed(f"chaos-{os.getpid()}", directory) as installation:
            for name in options.campaign or CAMPAIGNS:
                for seed in range(options.seed, options.seed + options.seeds):
                    figures = asyncio.run(CAMPAIGNS[name](installation, seed, options))
                    broken += len(figures.broken)
                    _report(figures)
    return 1 if broken else 0


def _report(figures: Figures) -> None:
    sys.stdout.write(f"{figures.to_json()}\n{figures}\n")
    sys.stdout.flush()
    for law in figures.broken:
        sys.stderr.write(f"  {law}\n")


if __name__ == "__main__":
    sys.exit(main())
