"""The cluster `KUBECONFIG` points to: used, never started, stopped or changed."""

import json
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hack.cluster import binaries, record
from hack.cluster.errors import ClusterError
from hack.cluster.record import Record, Source


def requested() -> Path | None:
    """Return the kubeconfig the user asks for by `KUBECONFIG`, if any.

    A kubeconfig of a cluster of ours does not count: people export it to go on with kubectl.

    Raises
    ------
    ClusterError
        If there is no such file.
    """
    value = os.environ.get("KUBECONFIG")
    if not value:
        return None
    path = Path(value).absolute()
    if path.is_relative_to(record.clusters_root().absolute()):
        return None
    if not path.is_file():
        raise ClusterError(
            f"KUBECONFIG={value}: no such file (one file, no list; unset it to get a new cluster)"
        )
    return path


def reserve(name: str, *, node: bool) -> Record:
    """Record the cluster the user asks for, after a look whether it has what is needed.

    Raises
    ------
    ClusterError
        If none is asked for, or it does not answer, or it has no node though one is wanted.
    """
    kubeconfig = requested()
    if kubeconfig is None:
        raise ClusterError("KUBECONFIG is not set, so there is no existing cluster to use")
    has_node = bool(_kubectl(kubeconfig, "get", "nodes", "--output=name"))
    if node and not has_node:
        raise ClusterError(f"cluster of KUBECONFIG={kubeconfig} has no node to run pods on")
    reserved = Record(
        name=name, source=Source.EXISTING, node=has_node, existing_kubeconfig=str(kubeconfig)
    )
    reserved.save()
    return reserved


@dataclass(frozen=True)
class ExistingProvider:
    """Leads to a cluster that somebody else runs."""

    record: Record

    @property
    def kubeconfig(self) -> Path:
        """The user's."""
        return Path(self.record.existing_kubeconfig or "")

    @property
    def audit_log(self) -> Path | None:
        """Not ours to read."""
        return None

    @property
    def host_address(self) -> str:
        """The address from which this machine reaches the cluster: its pods may reach it there."""
        view = json.loads(_kubectl(self.kubeconfig, "config", "view", "--minify", "--output=json"))
        server = urlsplit(view["clusters"][0]["cluster"]["server"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((server.hostname, server.port or 443))  # Sends nothing: UDP.
            address: str = probe.getsockname()[0]
        return address

    def start(self) -> None:
        """Check that it answers."""
        _kubectl(self.kubeconfig, "get", "--raw=/readyz")

    def stop(self) -> None:
        """Leave it alone."""

    def answers(self) -> bool:
        """Tell whether its API server is ready."""
        try:
            self.start()
        except ClusterError:
            return False
        return True

    def load_image(self, archive: Path) -> None:
        """Refuse: only its owner knows how."""
        raise ClusterError(f"cannot load {archive} into a cluster this tool does not run")

    def stop_apiserver(self) -> None:
        """Refuse."""
        raise ClusterError("this tool does not run the API server of this cluster")

    start_apiserver = stop_apiserver


def _kubectl(kubeconfig: Path, *arguments: str) -> str:
    kubectl = binaries.ensure(["kubectl"]) / "kubectl"
    argv = [str(kubectl), f"--kubeconfig={kubeconfig}", "--request-timeout=5s", *arguments]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ClusterError(f"cluster of KUBECONFIG={kubeconfig}: {result.stderr.strip()}")
    return result.stdout
