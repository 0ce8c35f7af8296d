"""What is remembered of a cluster between two commands."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from hack.cluster import cache
from hack.cluster.errors import ClusterError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


class Source(StrEnum):
    """Who runs a cluster."""

    EXISTING = "existing"
    """Somebody else: the cluster `KUBECONFIG` points to."""
    KIND = "kind"
    LOCAL = "local"
    """This tool, as processes of this machine."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One cluster, kept as `cluster.json` in its directory.

    Attributes
    ----------
    api_port, etcd_port, etcd_peer_port
        TCP ports; 0 where this tool does not choose them.
    subnet
        Number of the node's subnets, or None without a node; see `hack.cluster.network`.
    existing_kubeconfig
        Of `Source.EXISTING` only.
    complete
        Whether starting it came to its end; otherwise the run that did so was killed.
    """

    name: str
    source: Source
    node: bool
    api_port: int = 0
    etcd_port: int = 0
    etcd_peer_port: int = 0
    subnet: int | None = None
    existing_kubeconfig: str | None = None
    complete: bool = False

    @property
    def directory(self) -> Path:
        """The cluster's own directory."""
        return directory_of(self.name)

    @property
    def ports(self) -> set[int]:
        """Every port promised to this cluster."""
        return {self.api_port, self.etcd_port, self.etcd_peer_port} - {0}

    def save(self) -> None:
        """Write the record; the directory is its owner's alone, for it will hold keys."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.directory / ".cluster.json"
        temporary.write_text(json.dumps(asdict(self), indent=2))
        temporary.replace(self.directory / "cluster.json")

    def delete(self) -> None:
        """Remove the cluster's directory."""
        shutil.rmtree(self.directory)


def clusters_root() -> Path:
    """Return the directory that holds one directory per cluster."""
    return cache.state_root() / "clusters"


def directory_of(name: str) -> Path:
    """Return the directory of a cluster.

    Raises
    ------
    ClusterError
        If the name is none: it becomes a part of paths and of a host name.
    """
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f"cluster name {name!r}: use at most 32 lower-case letters, digits and inner hyphens"
        )
    return clusters_root() / name


def load(name: str) -> Record | None:
    """Return the record of a cluster, or None if there is none of that name."""
    path = directory_of(name) / "cluster.json"
    if not path.exists():
        return None
    fields = json.loads(path.read_text())
    return Record(**{**fields, "source": Source(fields["source"])})


def load_all() -> Iterator[Record]:
    """Yield the record of every cluster."""
    for path in sorted(clusters_root().glob("*/cluster.json")):
        record = load(path.parent.name)
        if record is not None:
            yield record
