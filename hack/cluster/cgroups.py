"""The control groups of a node: below one of its own, so that two kubelets do not share one."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from hack.cluster.errors import ClusterError

_ROOT = Path("/sys/fs/cgroup")
_EMPTY_TIMEOUT_SECONDS = 10


def create(name: str) -> None:
    """Make a group of this name in every hierarchy; the kubelet wants its root to exist.

    Raises
    ------
    ClusterError
        If control groups cannot be written, as in most containers.
    """
    for hierarchy in _hierarchies():
        try:
            (hierarchy / name).mkdir(exist_ok=True)
        except OSError as error:
            raise ClusterError(
                f"a node needs control groups it can write: {hierarchy / name}: {error.strerror}"
            ) from error


def remove(name: str) -> None:
    """Remove a group and those below it, waiting for processes that are ending.

    Raises
    ------
    ClusterError
        If processes are left in one.
    """
    deadline = time.monotonic() + _EMPTY_TIMEOUT_SECONDS
    for hierarchy in _hierarchies():
        top = hierarchy / name
        while top.exists():
            _remove_tree(top)
            if top.exists() and time.monotonic() > deadline:
                raise ClusterError(f"processes are left in {top}")


def _hierarchies() -> Iterator[Path]:
    """Yield the root of each mounted hierarchy: one for cgroup v2, one a controller for v1."""
    if (_ROOT / "cgroup.controllers").exists():
        yield _ROOT
        return
    for path in sorted(_ROOT.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield path


def _remove_tree(top: Path) -> None:
    for directory, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):  # Busy: a process in it is still ending.
            Path(directory).rmdir()
    if top.exists():
        time.sleep(0.05)
