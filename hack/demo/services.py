"""Processes that a demo leaves running on this machine."""

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.cluster import processes
from hack.cluster.errors import ClusterError

_GRACE_SECONDS = 30


def start(directory: Path, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start a process that outlives the command which started it."""
    processes.spawn(name, argv, directory=directory, environment=environment)


def runs(directory: Path, name: str) -> bool:
    """Tell whether a process that was started before still runs."""
    process = processes.find(directory, name)
    return process is not None and processes.is_running(process)


def stop(directory: Path, name: str) -> None:
    """Ask a process to end, and kill it only if it does not: an operator has claims to record."""
    process = processes.find(directory, name)
    if process is None:
        return
    if processes.is_running(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        with contextlib.suppress(ClusterError):
            processes.wait_until(
                lambda: not processes.is_running(process), _GRACE_SECONDS, f"{name} to end"
            )
    processes.kill(directory, process)


def wait_for_file(directory: Path, name: str, file: Path) -> str:
    """Return what a process writes into a file once it is ready.

    Raises
    ------
    ClusterError
        If it ends before, with the end of its log.
    """
    process = processes.find(directory, name)
    processes.wait_until(
        file.exists, _GRACE_SECONDS, f"{name} to be ready", watch=[process] if process else []
    )
    return file.read_text().strip()
