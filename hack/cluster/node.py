"""A node: containerd, kubelet and kube-proxy in namespaces of their own.

The node has a network namespace, so that several kube-proxies and bridges do not meet; a mount
namespace, so that no mount is left behind; and a process namespace, so that killing its first
process kills every container with it. What it is made of is in `hack.cluster.network`.
"""

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import cgroups, debian, pause, pki, processes
from hack.cluster.controlplane import ControlPlane
from hack.cluster.errors import ClusterError
from hack.cluster.network import Network

DEBIAN_PACKAGES = ("containernetworking-plugins", "iproute2", "nftables", "util-linux")
_CNI_PLUGINS = Path("/usr/lib/cni")
_SOCKET_PATH_LIMIT = 107
"""Bytes of a Unix socket's path (unix(7)), without the final zero."""

_NETWORK_GONE_SECONDS = 60
"""The kernel takes its time over the network namespaces of pods that had connections."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """The node of one cluster in its directory."""

    name: str
    directory: Path
    binaries: Path
    network: Network

    @property
    def _cgroup(self) -> str:
        return f"ntf-{self.name}"

    @property
    def _socket(self) -> Path:
        return self.directory / "containerd.sock"

    def start(self, authority: pki.Authority, control_plane: ControlPlane) -> None:
        """Start the node and wait until pods can be scheduled to it and Services reached.

        Raises
        ------
        ClusterError
            If something it needs is missing, or a process ends or does not become ready.
        """
        self._check_machine()
        self._write_files(authority, control_plane)
        cgroups.create(self._cgroup)
        self._create_namespaces()
        self._start_containerd()
        self.load_image(pause.ensure() / "pause.tar")
        kubelet = self._spawn("kubelet", self._kubelet_flags())
        proxy = self._spawn("kube-proxy", self._kube_proxy_flags())
        path = f"/api/v1/nodes/{self.name}"
        processes.wait_until(
            lambda: _is_ready(control_plane.client.get_json(path)),
            60,
            "the node to be ready",
            watch=[kubelet, proxy],
        )
        processes.wait_until(
            self._serves_kubernetes_service,
            30,
            "kube-proxy to serve the Service kubernetes",
            watch=[proxy],
        )

    def stop(self) -> None:
        """Kill every process of the node and remove its control groups.

        Its mounts and interfaces belong to the namespaces, which end with the processes.
        """
        holder = processes.find(self.directory, "node")
        if holder is not None:
            processes.kill(self.directory, holder)
        for process in processes.recorded(self.directory):
            if process.name in ("containerd", "kubelet", "kube-proxy"):
                processes.kill(self.directory, process)
        interface = Path("/sys/class/net") / self.network.interface
        processes.wait_until(
            lambda: not interface.exists(), _NETWORK_GONE_SECONDS, f"{interface.name} to go"
        )
        cgroups.remove(self._cgroup)

    def load_image(self, archive: Path) -> None:
        """Import an image archive into containerd."""
        self._ctr("--namespace=k8s.io", "images", "import", str(archive))

    def _check_machine(self) -> None:
        debian.require(DEBIAN_PACKAGES, reason="--node")
        if not (_CNI_PLUGINS / "bridge").exists():
            raise ClusterError(f"--node needs the CNI plugins in {_CNI_PLUGINS}")
        if len(str(self._socket)) > _SOCKET_PATH_LIMIT:
            raise ClusterError(f"{self._socket} is too long for a socket; set XDG_STATE_HOME")
        for hidden in ("/var", "/run"):
            if self.directory.resolve().is_relative_to(hidden):
                raise ClusterError(
                    f"the node has a {hidden} of its own, so its directory {self.directory} "
                    "cannot be there; set XDG_STATE_HOME"
                )

    def _create_namespaces(self) -> None:
        """Start the first process of the node's namespaces and furnish them."""
        holder = processes.spawn(
            "node",
            [
                "/usr/bin/unshare",
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "--mount-proc",
                str(pause.ensure() / "pause"),
            ],
            directory=self.directory,
        )
        processes.wait_until(
            lambda: _first_process(holder.pid) is not None, 10, "namespaces", watch=[holder]
        )
        self._in_node("/bin/sh", "-euc", self._furnish_script())
        first = _first_process(holder.pid)
        link, network = self.network.interface, self.network
        for arguments in (
            f"link add {link} type veth peer name eth0 netns {first}",
            f"address add {network.host_address}/{network.link_prefix} dev {link}",
            f"link set {link} up",
            f"route add {network.pod_cidr} via {network.node_address}",
        ):
            _run(["ip", *arguments.split()])
        for arguments in (
            "link set lo up",
            f"address add {network.node_address}/{network.link_prefix} dev eth0",
            "link set eth0 up",
            f"route add default via {network.host_address}",
        ):
            self._in_node("ip", *arguments.split())

    def _furnish_script(self) -> str:
        """Return the commands that make the node's own /run and /var.

        The kubelet, containerd and the CNI plugins have paths there which no option changes. /var
        is the machine's with a layer of its own on top, in memory.
        """
        layer = shlex.quote(str(self.directory / "var"))
        return f"""
            mount --make-rshared /
            mount -t tmpfs tmpfs /run
            mount -t tmpfs tmpfs {layer}
            mkdir {layer}/upper {layer}/work
            mount -t overlay -o lowerdir=/var,upperdir={layer}/upper,workdir={layer}/work node /var
            echo 1 >/proc/sys/net/ipv4/ip_forward
        """

    def _start_containerd(self) -> None:
        containerd = self._spawn("containerd", [f"--config={self.directory / 'containerd.toml'}"])

        def answers() -> bool:
            return (
                subprocess.run(
                    [self.binaries / "ctr", f"--address={self._socket}", "version"],
                    capture_output=True,
                    check=False,
                ).returncode
                == 0
            )

        processes.wait_until(answers, 30, "containerd", watch=[containerd])

    def _serves_kubernetes_service(self) -> bool:
        rules = self._in_node("nft", "list", "ruleset")
        return "default/kubernetes/tcp/https" in rules

    def _spawn(self, program: str, flags: list[str]) -> processes.Process:
        argv = [*self._enter(), str(self.binaries / program), *flags]
        # containerd finds its shim and runc on PATH.
        path = f"{self.binaries}:/usr/sbin:/usr/bin:/sbin:/bin"
        return processes.spawn(program, argv, directory=self.directory, environment={"PATH": path})

    def _enter(self) -> list[str]:
        holder = processes.find(self.directory, "node")
        first = None if holder is None else _first_process(holder.pid)
        if first is None:
            raise ClusterError("the first process of the node's namespaces is gone")
        return ["/usr/bin/nsenter", f"--target={first}", "--net", "--mount", "--pid", "--"]

    def _in_node(self, *argv: str) -> str:
        return _run([*self._enter(), *argv])

    def _ctr(self, *arguments: str) -> None:
        _run([str(self.binaries / "ctr"), f"--address={self._socket}", *arguments])

    def _write_files(self, authority: pki.Authority, control_plane: ControlPlane) -> None:
        for name in ("var", "cni", "containerd", "kubelet", "pod-logs"):
            (self.directory / name).mkdir()
        server = f"https://{self.network.host_address}:{control_plane.api_port}"
        address = self.network.node_address
        kubelet = authority.issue(
            "kubelet",
            f"system:node:{self.name}",
            organizations=["system:nodes"],
            hosts=[self.name, address],
        )
        proxy = authority.issue("kube-proxy", "system:kube-proxy")
        for name, user in (("kubelet", kubelet), ("kube-proxy", proxy)):
            pki.write_kubeconfig(
                self.directory / f"{name}.kubeconfig",
                server=server,
                authority=authority.certificate_path,
                user=user,
            )
        (self.directory / "resolv.conf").write_text("")
        (self.directory / "cni" / "10-bridge.conflist").write_text(
            json.dumps(_cni_configuration(self.network))
        )
        (self.directory / "containerd.toml").write_text(self._containerd_configuration())
        (self.directory / "kubelet.json").write_text(
            json.dumps(self._kubelet_configuration(authority, kubelet))
        )

    def _containerd_configuration(self) -> str:
        # An oom_score_adj below that of containerd's own start may be refused in a sandbox, and
        # overlayfs cannot lie on overlayfs, as in a container.
        return f"""\
version = 3
root = "{self.directory / "containerd"}"
state = "/run/containerd"
[grpc]
  address = "{self._socket}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{"native" if _on_overlay(self.directory) else "overlayfs"}"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause.IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{_CNI_PLUGINS}"]
  conf_dir = "{self.directory / "cni"}"
"""

    def _kubelet_configuration(
        self, authority: pki.Authority, certificate: pki.KeyPair
    ) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority.certificate_path)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup}",
            # Kubernetes 1.35 gave up cgroup v1 by default (KEP-5573); machines still have it.
            "failCgroupV1": False,
            "failSwapOn": False,
            "tlsCertFile": str(certificate.certificate),
            "tlsPrivateKeyFile": str(certificate.key),
            "podLogsDir": str(self.directory / "pod-logs"),
            # No cluster DNS runs: a name is refused at once instead of after a time-out.
            "clusterDNS": ["127.0.0.1"],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self.directory / "resolv.conf"),
            # A full disk of the developer must not evict the pods of a test.
            "evictionHard": {"memory.available": "100Mi"},
            "localStorageCapacityIsolation": False,
            "imageMaximumGCAge": "0s",
            "imageGCHighThresholdPercent": 100,
        }

    def _kubelet_flags(self) -> list[str]:
        return [
            f"--config={self.directory / 'kubelet.json'}",
            f"--kubeconfig={self.directory / 'kubelet.kubeconfig'}",
            f"--root-dir={self.directory / 'kubelet'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.network.node_address}",
        ]

    def _kube_proxy_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.directory / 'kube-proxy.kubeconfig'}",
            "--proxy-mode=nftables",
            f"--cluster-cidr={self.network.pod_cidr}",
            # Limits of connection tracking are the machine's, not the namespace's.
            "--conntrack-max-per-core=0",
            f"--hostname-override={self.name}",
        ]


def _cni_configuration(network: Network) -> dict[str, object]:
    ranges = {
        "type": "host-local",
        "subnet": network.pod_cidr,
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": ranges}
    # A pod that reaches itself through its Service comes back on the port it left by.
    bridge["hairpinMode"] = True
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, {"type": "loopback"}]}


def _first_process(holder: int) -> int | None:
    """Return the process that is number 1 in the node, once it is the pause program."""
    children = Path(f"/proc/{holder}/task/{holder}/children")
    try:
        for child in map(int, children.read_text().split()):
            if Path(f"/proc/{child}/comm").read_text().strip() == "pause":
                return child
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def _is_ready(node: object) -> bool:
    match node:
        case {"status": {"conditions": [*conditions]}}:
            return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return False


def _on_overlay(directory: Path) -> bool:
    argv = ["findmnt", "--noheadings", "--output=FSTYPE", "--target", str(directory)]
    return _run(argv).strip() == "overlay"


def _run(argv: list[str]) -> str:
    environment = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    result = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    if result.returncode != 0:
        raise ClusterError(f"{shlex.join(argv)} failed:\n{result.stderr[-2000:]}")
    return result.stdout
