"""Starting, finding and stopping clusters, whoever runs them."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, assert_never

from hack.cluster import binaries, cache, packages, record
from hack.cluster.errors import ClusterError
from hack.cluster.record import Record, Source
from hack.cluster.sources import existing, kind, local


class Provider(Protocol):
    """Runs one cluster, or leads to it."""

    @property
    def kubeconfig(self) -> Path: ...
    @property
    def audit_log(self) -> Path | None: ...
    @property
    def host_address(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def answers(self) -> bool: ...
    def load_image(self, archive: Path) -> None: ...
    def stop_apiserver(self) -> None: ...
    def start_apiserver(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Programs of the pinned versions, whatever is on PATH."""

    kubectl: Path
    helm: Path


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that is up.

    Attributes
    ----------
    kubeconfig
        The administrator's.
    directory
        Certificates, logs (`log/*.log`) and data; removed by `down`.
    audit_log
        JSON lines of audit.k8s.io/v1 events at level Metadata, one per request once it is
        answered; None where the cluster is not ours to configure.
    node
        Whether pods run.
    source
        Who runs it.
    """

    name: str
    kubeconfig: Path
    directory: Path
    audit_log: Path | None
    node: bool
    source: Source
    provider: Provider

    @property
    def host_address(self) -> str:
        """The address at which pods (without a node: clients) reach servers of this machine."""
        return self.provider.host_address

    def down(self) -> None:
        """Stop the cluster and remove everything of it; does nothing to an existing one."""
        down(self.name)

    def load_image(self, archive: Path) -> None:
        """Give the node an image from an archive as `docker save` writes it.

        Raises
        ------
        ClusterError
            If there is no node, or none of ours.
        """
        if not archive.is_file():
            raise ClusterError(f"no image archive {archive}; make one with: make image")
        self.provider.load_image(archive.absolute())

    def stop_apiserver(self) -> None:
        """Kill the API server: connections break, new ones are refused. Data stays.

        Raises
        ------
        ClusterError
            If this tool does not run it (`source` is not `Source.LOCAL`).
        """
        self.provider.stop_apiserver()

    def start_apiserver(self) -> None:
        """Start a stopped API server again on its port, and wait until it is ready."""
        self.provider.start_apiserver()


def up(name: str, *, node: bool = False, source: Source | None = None) -> Cluster:
    """Return a running cluster of this name, starting it if there is none.

    Parameters
    ----------
    node
        Whether pods must run in it.
    source
        Who shall run it; by default the first of: `KUBECONFIG`, kind, this tool.

    Raises
    ------
    ClusterError
        If it cannot be had. Nothing of it is left running then.
    """
    with _name_lock(name):
        known = record.load(name)
        if known is not None:
            if _serves(known, node=node, source=source):
                return _cluster(known)
            if known.source is not Source.EXISTING:
                print(f"cluster {name} does not answer; starting it anew", file=sys.stderr)
            _tear_down(known)
        reserved = _reserve(name, node=node, source=source or _choose_source())
        try:
            _provider(reserved).start()
        except BaseException:
            _tear_down(reserved)
            raise
        complete = replace(reserved, complete=True)
        complete.save()
        return _cluster(complete)


def find(name: str) -> Cluster:
    """Return a cluster that was started before.

    Raises
    ------
    ClusterError
        If there is none of this name.
    """
    known = record.load(name)
    if known is None:
        raise ClusterError(f"no cluster {name}; start it with: python -m hack.cluster up")
    return _cluster(known)


def down(name: str) -> bool:
    """Stop a cluster and remove everything of it.

    Returns
    -------
    bool
        False if there was none of this name.
    """
    with _name_lock(name):
        known = record.load(name)
        if known is not None:
            _tear_down(known)
        _lock_path(name).unlink()
        return known is not None


def find_all() -> Iterator[tuple[Cluster, bool]]:
    """Yield every cluster that was started, and whether it answers."""
    for known in record.load_all():
        cluster = _cluster(known)
        yield cluster, known.complete and cluster.provider.answers()


def tools() -> Tools:
    """Return kubectl and Helm of the pinned versions, obtaining them first if need be."""
    directory = binaries.ensure(packages.TOOLS)
    return Tools(kubectl=directory / "kubectl", helm=directory / "helm")


def _choose_source() -> Source:
    if existing.requested() is not None:
        return Source.EXISTING
    return Source.KIND if kind.docker_answers() else Source.LOCAL


def _serves(known: Record, *, node: bool, source: Source | None) -> bool:
    """Tell whether a recorded cluster is what is asked for and alive.

    Raises
    ------
    ClusterError
        If it is alive and something else: stopping it is for the user to decide.
    """
    if known.source is Source.EXISTING:
        return False  # Used as long as KUBECONFIG asks for it, and no longer: ask again.
    if not known.complete or not _provider(known).answers():
        return False
    wanted = source or (Source.EXISTING if existing.requested() else known.source)
    if wanted is not known.source:
        raise ClusterError(
            f"cluster {known.name} is run by {known.source}, not {wanted}; "
            f"stop it with: python -m hack.cluster down --name {known.name}"
        )
    if node and not known.node:
        raise ClusterError(
            f"cluster {known.name} runs without a node; take another name, "
            f"or stop it with: python -m hack.cluster down --name {known.name}"
        )
    return True


def _reserve(name: str, *, node: bool, source: Source) -> Record:
    match source:
        case Source.LOCAL:
            return local.reserve(name, node=node)
        case Source.KIND:
            return kind.reserve(name)
        case Source.EXISTING:
            return existing.reserve(name, node=node)
        case _:
            assert_never(source)


def _provider(known: Record) -> Provider:
    match known.source:
        case Source.LOCAL:
            return local.LocalProvider(known)
        case Source.KIND:
            return kind.KindProvider(known)
        case Source.EXISTING:
            return existing.ExistingProvider(known)
        case _:
            assert_never(known.source)


def _cluster(known: Record) -> Cluster:
    provider = _provider(known)
    return Cluster(
        name=known.name,
        kubeconfig=provider.kubeconfig,
        directory=known.directory,
        audit_log=provider.audit_log,
        node=known.node,
        source=known.source,
        provider=provider,
    )


def _tear_down(known: Record) -> None:
    _provider(known).stop()
    known.delete()


def _name_lock(name: str) -> AbstractContextManager[None]:
    return cache.locked(_lock_path(name))


def _lock_path(name: str) -> Path:
    directory = record.directory_of(name)
    return directory.with_name(f".{directory.name}.lock")
