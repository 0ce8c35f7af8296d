"""Running other programs."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hack.cluster.errors import ClusterError


def run(argv: Sequence[str | Path], *, directory: Path | None = None) -> str:
    """Run a program to its end and return what it printed.

    Raises
    ------
    ClusterError
        With the end of its output, if it fails.
    """
    arguments = list(map(str, argv))
    result = subprocess.run(
        arguments,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        output = (result.stdout + result.stderr)[-4000:]
        raise ClusterError(f"{' '.join(arguments)} failed:\n{output}")
    return result.stdout


def report(message: str) -> None:
    """Tell the user what takes a while."""
    print(message, file=sys.stderr, flush=True)
