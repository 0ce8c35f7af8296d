"""Debian packages that a job needs: installed where we may, named where we may not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

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


def _own_lists(directory: Path) -> list[str]:
    """Return apt's options for package lists in a directory of ours."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State": directory / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": directory / "cache",
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "",
    }
    return [f"--option={name}={value}" for name, value in options.items()]


def _candidate(package: str, options: Sequence[str]) -> str | None:
    """Return the version that apt would install, or None if its lists do not know the package."""
    argv = ["apt-cache", *options, "show", "--no-all-versions", package]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    for line in result.stdout.splitlines():
        if line.startswith("Version: "):
            return line.removeprefix("Version: ")
    return None


def _apt_get(*arguments: str, directory: Path | None = None) -> None:
    result = subprocess.run(
        ["apt-get", "--quiet", *arguments],
        cwd=directory,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise ClusterError(f"apt-get {' '.join(arguments)} failed:\n{result.stderr[-2000:]}")


def unpacked(package: str) -> Path:
    """Return a directory with a Debian package's files, without installing anything.

    It is downloaded and unpacked into the cache by its version. Package lists are kept there too,
    so that neither root nor this machine's own lists are needed. What it depends on is not
    fetched: the package must get along with what every Debian has.

    Raises
    ------
    ClusterError
        If this is not Debian, or the package cannot be had.
    """
    if shutil.which("apt-get") is None:
        raise ClusterError(f"{package} is taken from Debian, and there is no apt-get here")
    options = _own_lists(cache.cache_root() / "apt")
    with cache.locked(cache.cache_root() / "locks" / "apt-lists.lock"):
        version = _candidate(package, options)
        if version is None or not (cache.cache_root() / _key(package, version)).is_dir():
            # The archive keeps the newest version only: old lists name what is gone.
            _apt_get(*options, "update")
            version = _candidate(package, options)
    if version is None:
        raise ClusterError(f"Debian's package lists have no {package}")

    def build(directory: Path) -> None:
        archives = directory / ".archives"
        archives.mkdir()
        _apt_get(*options, "download", f"{package}={version}", directory=archives)
        (archive,) = archives.glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", archive, directory], check=True)
        shutil.rmtree(archives)

    return cache.entry(_key(package, version), build)


def _key(package: str, version: str) -> str:
    return f"debian/{package}-{quote(version, safe='')}"
