"""Debian packages that a job needs: installed where we may, named where we may not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence

from hack.cluster import cache
from hack.cluster.errors import ClusterError


def missing(packages: Iterable[str]) -> list[str]:
    """Return those Debian packages that are not installed."""
    return [name for name in packages if not _installed(name)]


def require(packages: Sequence[str], *, reason: str) -> None:
    """Install the missing ones of some Debian packages, as root on Debian.

    Raises
    ------
    ClusterError
        Naming what is missing, when it cannot be installed from here.
    """
    if shutil.which("dpkg-query") is None:
        # Another distribution: it has the programs under package names we do not know, and what is
        # really missing will be named by the step that needs it.
        return
    lacking = missing(packages)
    if not lacking:
        return
    if os.geteuid() != 0:
        names = " ".join(lacking)
        raise ClusterError(f"{reason} needs Debian packages; as root: apt-get install {names}")
    print(f"installing {' '.join(lacking)}", file=sys.stderr, flush=True)
    with cache.locked(cache.cache_root() / "locks" / "apt.lock"):
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *lacking)


def _installed(package: str) -> bool:
    argv = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    return result.returncode == 0 and result.stdout == "installed"


def _apt_get(*arguments: str) -> None:
    result = subprocess.run(
        ["apt-get", "--quiet", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise ClusterError(f"apt-get {' '.join(arguments)} failed:\n{result.stderr[-2000:]}")
