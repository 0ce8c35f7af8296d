"""npm packages that tests run: installed by their lock, outside the checkout."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from hack.cluster import cache

_FILES = ("package.json", "package-lock.json")


class NodePackagesError(Exception):
    """Packages cannot be installed; the message says what is missing."""


def installed(source: Path) -> Path:
    """Return a directory with the ``node_modules`` that a lock names.

    It is kept in the cache by the lock's hash, so that a lock is installed once on a machine.
    Nothing of the packages runs while they are installed.

    Parameters
    ----------
    source
        Directory with ``package.json`` and ``package-lock.json``.

    Raises
    ------
    NodePackagesError
        If npm is missing or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NodePackagesError("Node.js with npm is needed")
    digest = hashlib.sha256()
    for name in _FILES:
        digest.update((source / name).read_bytes())

    def build(directory: Path) -> None:
        for name in _FILES:
            shutil.copy(source / name, directory)
        result = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise NodePackagesError(f"npm ci failed:\n{result.stderr[-2000:]}")

    return cache.entry(f"npm/{source.name}-{digest.hexdigest()[:16]}", build)
