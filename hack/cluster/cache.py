"""Directories shared by every run: built once, by one process, visible only when complete."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

APPLICATION = "notifications-operator"


def cache_root() -> Path:
    """Return `$XDG_CACHE_HOME/notifications-operator` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / APPLICATION


def state_root() -> Path:
    """Return `$XDG_STATE_HOME/notifications-operator`, where running clusters live."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / APPLICATION


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel releases it if this process dies.

    Whoever holds it may remove the file as the last thing: from then on others may enter.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_file(handle, path):
                continue  # Removed while we waited: others lock the next file of this name.
            yield
            return


def _is_file(handle: IO[str], path: Path) -> bool:
    """Tell whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def entry(key: str, build: Callable[[Path], None]) -> Path:
    """Return the directory of a cache entry, building it first if it is not there.

    Parameters
    ----------
    key
        Name of the entry, with the versions that decide its content.
    build
        Fills the empty directory it is given. If it raises, nothing is kept.
    """
    target = cache_root() / key
    if target.is_dir():
        return target
    with locked(cache_root() / "locks" / f"{key.replace('/', '_')}.lock"):
        if target.is_dir():
            return target
        partial = target.with_name(f".{target.name}.partial")
        # Under the lock, a directory of this name can only be a killed run's.
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            build(partial)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target
