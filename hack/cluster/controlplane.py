"""A control plane of plain processes: etcd, kube-apiserver, controller manager, scheduler."""

import json
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import pki, ports, processes
from hack.cluster.api import ApiClient

SERVICE_CIDR = "10.96.0.0/16"
SERVICE_IP = "10.96.0.1"
"""The first address of `SERVICE_CIDR`: what pods find in KUBERNETES_SERVICE_HOST."""

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
        {"level": "Metadata"},
    ],
}

_NO_NODE_ADDRESS = "192.0.2.1"
"""RFC 5737. An API server must advertise an address that is not loopback; without a node nobody
follows it, and a machine may have no other."""


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """The control plane of one cluster in its directory.

    Attributes
    ----------
    api_port, etcd_port, etcd_peer_port
        TCP ports of this machine.
    node_facing_address
        The address of this machine that the node and its pods reach, or None without a node: then
        everything listens on the loopback interface only.
    """

    directory: Path
    binaries: Path
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    node_facing_address: str | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """JSON lines of audit.k8s.io/v1 events at level Metadata."""
        return self.directory / "audit.log"

    @property
    def client(self) -> ApiClient:
        """Asks as the administrator."""
        admin = pki.KeyPair(self._pki / "admin.crt", self._pki / "admin.key")
        return ApiClient(self.api_port, self._pki / "ca.crt", admin)

    @property
    def _pki(self) -> Path:
        return self.directory / "pki"

    def prepare(self) -> pki.Authority:
        """Write certificates, kubeconfig and audit policy."""
        authority = pki.Authority.create(self._pki)
        kubernetes = ["kubernetes", "default", "svc", "cluster", "local"]
        hosts = ["localhost", *(".".join(kubernetes[:length]) for length in (1, 2, 3, 5))]
        hosts += ["127.0.0.1", SERVICE_IP]
        if self.node_facing_address is not None:
            hosts.append(self.node_facing_address)
        authority.issue("apiserver", "kube-apiserver", hosts=hosts)
        admin = authority.issue("admin", "admin", organizations=["system:masters"])
        pki.create_signing_key(self._pki)
        pki.write_kubeconfig(
            self.kubeconfig,
            server=f"https://127.0.0.1:{self.api_port}",
            authority=authority.certificate_path,
            user=admin,
        )
        (self.directory / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
        return authority

    def start(self) -> None:
        """Start everything but the scheduler, and wait until namespaces are usable.

        Raises
        ------
        ClusterError
            If a process ends or does not become ready.
        """
        self._spawn("etcd", self._etcd_flags())
        self.start_apiserver()
        manager = self._spawn("kube-controller-manager", self._controller_manager_flags())
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        processes.wait_until(
            lambda: self.client.found(account), 60, "the default ServiceAccount", watch=[manager]
        )

    def start_apiserver(self) -> None:
        """Start the API server and wait until it is ready."""
        # One that was killed may still hold its port: its threads end after it.
        processes.wait_until(
            lambda: ports.is_free(self.api_port), 30, f"port {self.api_port} to be free"
        )
        server = self._spawn("kube-apiserver", self._apiserver_flags())
        etcd = processes.find(self.directory, "etcd")
        processes.wait_until(
            lambda: self.client.found("/readyz"),
            60,
            "the API server",
            watch=[server, *([etcd] if etcd else [])],
        )

    def stop_apiserver(self) -> None:
        """Kill the API server: its port refuses connections and open ones break."""
        server = processes.find(self.directory, "kube-apiserver")
        if server is not None:
            processes.kill(self.directory, server)

    def start_scheduler(self) -> None:
        """Start the scheduler, which only a cluster with a node needs."""
        flags = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0"]
        self._spawn("kube-scheduler", flags)

    def _spawn(self, program: str, flags: list[str]) -> processes.Process:
        argv = [str(self.binaries / program), *flags]
        return processes.spawn(program, argv, directory=self.directory)

    def _etcd_flags(self) -> list[str]:
        client = f"http://127.0.0.1:{self.etcd_port}"
        peer = f"http://127.0.0.1:{self.etcd_peer_port}"
        return [
            f"--data-dir={self.directory / 'etcd'}",
            # A cluster that is thrown away need not survive a power cut.
            "--unsafe-no-fsync",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _apiserver_flags(self) -> list[str]:
        directory, certificates = self.directory, self._pki
        return [
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--bind-address={'0.0.0.0' if self.node_facing_address else '127.0.0.1'}",
            f"--secure-port={self.api_port}",
            f"--advertise-address={self.node_facing_address or _NO_NODE_ADDRESS}",
            f"--tls-cert-file={certificates / 'apiserver.crt'}",
            f"--tls-private-key-file={certificates / 'apiserver.key'}",
            f"--client-ca-file={certificates / 'ca.crt'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-account-key-file={certificates / 'sa.pub'}",
            f"--service-account-signing-key-file={certificates / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={certificates / 'ca.crt'}",
            f"--kubelet-client-certificate={certificates / 'admin.crt'}",
            f"--kubelet-client-key={certificates / 'admin.key'}",
            f"--audit-policy-file={directory / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=2000",
            "--profiling=false",
        ]

    def _controller_manager_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self._pki / 'sa.key'}",
            f"--root-ca-file={self._pki / 'ca.crt'}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            # By the default of 20 a second it takes 3 s longer to start all its controllers.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            # Nobody asks it anything; several may run side by side.
            "--secure-port=0",
        ]
