"""Clusters by kind (sigs.k8s.io/kind), where a Docker engine answers."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import binaries, versions
from hack.cluster.controlplane import AUDIT_POLICY
from hack.cluster.errors import ClusterError
from hack.cluster.record import Record, Source

_DOCKER_TIMEOUT_SECONDS = 5
_IN_NODE = "/etc/kubernetes/notifications-operator"


def docker_answers() -> bool:
    """Tell whether there is a Docker engine, within seconds."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        argv = [docker, "info", "--format={{.ServerVersion}}"]
        result = subprocess.run(
            argv, capture_output=True, timeout=_DOCKER_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def reserve(name: str) -> Record:
    """Record a cluster; it always has a node."""
    reserved = Record(name=name, source=Source.KIND, node=True)
    reserved.save()
    return reserved


@dataclass(frozen=True)
class KindProvider:
    """Runs the cluster of one record in a container."""

    record: Record

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.record.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path | None:
        """JSON lines of every request, mounted out of the container."""
        return self._mounted / "audit.log"

    @property
    def host_address(self) -> str:
        """The gateway of Docker's network `kind`."""
        output = _run("docker", "network", "inspect", "kind")
        pools = json.loads(output)[0]["IPAM"]["Config"]
        for pool in pools:
            gateway: str = pool.get("Gateway", "")
            if gateway and ":" not in gateway:
                return gateway
        raise ClusterError("Docker's network kind has no IPv4 gateway")

    def start(self) -> None:
        """Create the cluster; a failure leaves what runs to `stop`."""
        self._mounted.mkdir(exist_ok=True)
        (self._mounted / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
        # Made by the API server it would be root's, and closed to others.
        (self._mounted / "audit.log").touch()
        (self.record.directory / "kind.json").write_text(json.dumps(self._config()))
        self._kind(
            "create",
            "cluster",
            f"--config={self.record.directory / 'kind.json'}",
            f"--image={versions.KIND_NODE_IMAGE}",
            f"--kubeconfig={self.kubeconfig}",
            "--wait=2m",
        )

    def stop(self) -> None:
        """Delete the cluster."""
        self._kind("delete", "cluster", f"--kubeconfig={self.kubeconfig}")

    def answers(self) -> bool:
        """Tell whether the API server is ready."""
        kubectl = binaries.ensure(["kubectl"]) / "kubectl"
        argv = [str(kubectl), f"--kubeconfig={self.kubeconfig}", "get", "--raw=/readyz"]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def load_image(self, archive: Path) -> None:
        """Give the node an image."""
        self._kind("load", "image-archive", str(archive))

    def stop_apiserver(self) -> None:
        """Refuse: its node would only start it again."""
        raise ClusterError("kind runs this API server; ask for source=Source.LOCAL to stop it")

    start_apiserver = stop_apiserver

    @property
    def _mounted(self) -> Path:
        return self.record.directory / "node"

    def _kind(self, *arguments: str) -> None:
        _run(_kind_program(), *arguments, f"--name=ntf-{self.record.name}")

    def _config(self) -> dict[str, object]:
        """Return kind's configuration, with the audit log its documentation describes."""
        volume = {
            "name": "audit",
            "hostPath": _IN_NODE,
            "mountPath": _IN_NODE,
            "readOnly": False,
            "pathType": "Directory",
        }
        # A list, as in kubeadm.k8s.io/v1beta4; kind merges it with its own by name.
        arguments = [
            {"name": "audit-policy-file", "value": f"{_IN_NODE}/audit-policy.json"},
            {"name": "audit-log-path", "value": f"{_IN_NODE}/audit.log"},
        ]
        cluster_configuration = {
            "kind": "ClusterConfiguration",
            "apiServer": {"extraArgs": arguments, "extraVolumes": [volume]},
        }
        mount = {"hostPath": str(self._mounted), "containerPath": _IN_NODE}
        return {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": [
                {
                    "role": "control-plane",
                    "kubeadmConfigPatches": [json.dumps(cluster_configuration)],
                    "extraMounts": [mount],
                }
            ],
        }


def _kind_program() -> str:
    """Return the kind on PATH if it is the one the pinned node image was built for."""
    own = shutil.which("kind")
    if own is not None and _run(own, "version", "--quiet").strip() == versions.KIND:
        return own
    return str(binaries.ensure(["kind"]) / "kind")


def _run(*argv: str) -> str:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ClusterError(f"{' '.join(argv)} failed:\n{result.stderr[-4000:]}")
    return result.stdout
