"""Clusters that this tool runs itself, as processes of this machine."""

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hack.cluster import binaries, cache, packages, processes, record
from hack.cluster.controlplane import ControlPlane
from hack.cluster.errors import ClusterError
from hack.cluster.network import Network, free_subnet
from hack.cluster.node import Node
from hack.cluster.ports import free_ports
from hack.cluster.record import Record, Source

LOOPBACK = "127.0.0.1"


def reserve(name: str, *, node: bool) -> Record:
    """Choose ports, and subnets for a node, that no other cluster has, and record them.

    Raises
    ------
    ClusterError
        If this machine cannot run such a cluster.
    """
    if sys.platform != "linux":
        raise ClusterError("without Docker a cluster needs Linux: kube-apiserver is built for it")
    if node and os.geteuid() != 0:
        raise ClusterError(
            "--node needs root (namespaces, cgroups, mounts); a plain control plane does not"
        )
    with cache.locked(record.clusters_root() / ".allocation.lock"):
        others = list(record.load_all())
        taken = {port for other in others for port in other.ports}
        api_port, etcd_port, etcd_peer_port = free_ports(3, taken)
        subnets = {other.subnet for other in others if other.subnet is not None}
        reserved = Record(
            name=name,
            source=Source.LOCAL,
            node=node,
            api_port=api_port,
            etcd_port=etcd_port,
            etcd_peer_port=etcd_peer_port,
            subnet=free_subnet(subnets) if node else None,
        )
        reserved.save()
    return reserved


@dataclass(frozen=True)
class LocalProvider:
    """Runs the cluster of one record."""

    record: Record

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self._control_plane.kubeconfig

    @property
    def audit_log(self) -> Path | None:
        """JSON lines of every request."""
        return self._control_plane.audit_log

    @property
    def host_address(self) -> str:
        """The address at which pods reach this machine; loopback when there are no pods."""
        return self._network.host_address if self._network else LOOPBACK

    def start(self) -> None:
        """Start the control plane and the node; a failure leaves what runs to `stop`."""
        binaries.ensure(packages.CONTROL_PLANE + (packages.NODE if self.record.node else ()))
        authority = self._control_plane.prepare()
        self._control_plane.start()
        if self._node is not None:
            self._control_plane.start_scheduler()
            self._node.start(authority, self._control_plane)

    def stop(self) -> None:
        """Kill what was started, wait until it is gone, and remove what it left in the kernel."""
        if self._node is not None:
            self._node.stop()
        for process in processes.recorded(self.record.directory):
            processes.kill(self.record.directory, process)

    def answers(self) -> bool:
        """Tell whether every process runs and the API server is ready."""
        running = processes.recorded(self.record.directory)
        return (
            len(running) > 0
            and all(map(processes.is_running, running))
            and self._control_plane.client.found("/readyz")
        )

    def load_image(self, archive: Path) -> None:
        """Give the node an image."""
        if self._node is None:
            raise ClusterError(f"cluster {self.record.name} has no node; start it with --node")
        self._node.load_image(archive)

    def stop_apiserver(self) -> None:
        """Kill the API server and leave everything else alone."""
        self._control_plane.stop_apiserver()

    def start_apiserver(self) -> None:
        """Start the API server again, on its port and with its data."""
        self._control_plane.start_apiserver()

    @cached_property
    def _network(self) -> Network | None:
        return None if self.record.subnet is None else Network(self.record.subnet)

    @cached_property
    def _control_plane(self) -> ControlPlane:
        return ControlPlane(
            directory=self.record.directory,
            binaries=binaries.directory(),
            api_port=self.record.api_port,
            etcd_port=self.record.etcd_port,
            etcd_peer_port=self.record.etcd_peer_port,
            node_facing_address=self._network.host_address if self._network else None,
        )

    @cached_property
    def _node(self) -> Node | None:
        if self._network is None:
            return None
        return Node(
            name=f"{self.record.name}-node",
            directory=self.record.directory,
            binaries=binaries.directory(),
            network=self._network,
        )
