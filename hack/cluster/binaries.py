"""Makes programs available: from the cache, else downloaded, else built from source."""

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from hack.cluster import cache
from hack.cluster.packages import CONTROL_PLANE, NODE, TOOLS, Package, package
from hack.cluster.sources import gobuild, release


def ensure(names: Iterable[str]) -> Path:
    """Make programs available.

    Parameters
    ----------
    names
        Names of packages; see `package`.

    Returns
    -------
    Path
        A directory that holds these programs, and those ensured before, under their own names.

    Raises
    ------
    ClusterError
        If one can neither be downloaded nor built.
    """
    links = directory()
    for wanted in map(package, names):
        source = _ensure_package(wanted)
        for file in wanted.files:
            _link(links / file, source / file)
    return links


def _ensure_package(wanted: Package) -> Path:
    def obtain(directory: Path) -> None:
        if not release.download(wanted, directory):
            gobuild.build(wanted, directory)

    return cache.entry(wanted.key, obtain)


def directory() -> Path:
    """Return where programs are linked: keyed by every version, so that versions never mix."""
    keys = [package(name).key for name in (*TOOLS, *CONTROL_PLANE, *NODE, "kind")]
    digest = sha256("\n".join(keys).encode()).hexdigest()
    links = cache.cache_root() / "bin" / digest[:12]
    links.mkdir(parents=True, exist_ok=True)
    return links


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.replace(link)
