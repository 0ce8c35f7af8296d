"""Where figures are measured: a real API server, the chart, the operator, Postfix's sink."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.people import catalog_objects
from bench.postfix import SESSIONS, Postfix, Sink, postfix, running_sink
from bench.usage import Usage, usage
from hack.cluster import Cluster, Source, record, up
from tests.support.audit import Entry, entries, writes
from tests.support.installation import Installation
from tests.support.kubernetes import Kubernetes, Object

NAMESPACE: Final = "notifications-system"
"""The operator's own."""

_CATALOG = {"labelSelector": "notifications.orchestrator.io/catalog=true"}


@dataclass(kw_only=True)
class Environment:
    """One cluster for a run; every figure gets a new namespace and a new operator process.

    So what a figure says of memory and CPU is its own.
    """

    cluster: Cluster
    directory: Path
    kubernetes: Kubernetes
    postfix: Postfix
    sink: Sink
    installation: Installation

    def log(self, text: str) -> None:
        """Say what is being done; results go to standard output, this to standard error."""
        print(f"bench: {text}", file=sys.stderr, flush=True)

    async def new_namespace(self) -> str:
        """Create a namespace of a figure's own."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        await self.kubernetes.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
        return name

    async def use_catalog(self, users: int) -> None:
        """Replace the catalog; no operator may run, for it keeps serving what vanishes."""
        for old in await self.kubernetes.list("ConfigMap", NAMESPACE, _CATALOG):
            await self.kubernetes.delete("ConfigMap", old["metadata"]["name"], NAMESPACE)
        for new in catalog_objects(users, NAMESPACE):
            await self.kubernetes.create(new)

    @asynccontextmanager
    async def operator(self, *, server: str | None = None) -> AsyncIterator[Operator]:
        """Run the operator from when it is ready on, and stop it as the kubelet does.

        Parameters
        ----------
        server
            Address of the API server, if not the cluster's own: a proxy's.
        """
        environment = await asyncio.to_thread(lambda: self.installation.prepare(server=server))
        start = time.perf_counter()
        self.installation.launch(environment)
        try:
            await asyncio.to_thread(self.installation.wait_ready, 300)
            yield Operator(self.installation, ready_after=time.perf_counter() - start)
            await asyncio.to_thread(self.installation.stop)
        finally:
            self.installation.close()

    @property
    def operator_kubeconfig(self) -> Path:
        """The operator's ServiceAccount's, for peers that shall have its rights and its queue."""
        self.installation.prepare()
        return self.installation.directory / "operator.kubeconfig"

    def requests(self, about: Callable[[Entry], bool]) -> list[Entry]:
        """Return those of all requests to the API server that are asked for."""
        return [entry for entry in entries(self._audit_log) if about(entry)]

    def writes(self, namespace: str) -> Counter[str]:
        """Count what the operator wrote in a namespace, as ``patch notifications/status``."""
        user = f"system:serviceaccount:{NAMESPACE}:{self.installation.account}"

        def here(reference: Object) -> bool:
            return bool(reference.get("namespace") == namespace)

        return Counter(writes(self._audit_log, user=user, about=here))

    @property
    def _audit_log(self) -> Path:
        assert self.cluster.audit_log is not None
        return self.cluster.audit_log

    def etcd_bytes(self) -> int:
        """Return how many bytes of etcd's database are in use, old revisions included."""
        known = record.load(self.cluster.name)
        assert known is not None
        text = _fetch(f"http://127.0.0.1:{known.etcd_port}/metrics")
        return int(_sample(text, "etcd_mvcc_db_total_size_in_use_in_bytes"))


@dataclass(frozen=True)
class Operator:
    """A running operator.

    Attributes
    ----------
    ready_after
        Seconds from the start of the process until it was ready, Python's own start included.
    """

    installation: Installation
    ready_after: float

    @property
    def pid(self) -> int:
        """The process."""
        assert self.installation.process is not None
        return self.installation.process.pid

    @property
    def usage(self) -> Usage:
        """What it uses now."""
        return usage(self.pid)

    def metric(self, name: str) -> float:
        """Return one of its metrics, summed over labels; 0 while it has no value."""
        return _sample(_fetch(f"http://127.0.0.1:{self.installation.port}/metrics"), name)


@asynccontextmanager
async def environment() -> AsyncIterator[Environment]:
    """Start everything but the operator; leave nothing behind."""
    cluster = await asyncio.to_thread(lambda: up(f"bench-{os.getpid()}", source=Source.LOCAL))
    try:
        with tempfile.TemporaryDirectory(prefix="notifications-bench-") as name:
            directory = Path(name)
            programs = await asyncio.to_thread(postfix)
            with running_sink(programs, directory) as sink:
                async with Kubernetes(cluster.kubeconfig) as kubernetes:
                    installation = Installation(
                        cluster=cluster, directory=directory, namespace=NAMESPACE
                    )
                    await asyncio.to_thread(installation.install, values(sink.port))
                    yield Environment(
                        cluster=cluster,
                        directory=directory,
                        kubernetes=kubernetes,
                        postfix=programs,
                        sink=sink,
                        installation=installation,
                    )
    finally:
        await asyncio.to_thread(cluster.down)


def values(port: int) -> Object:
    """Return the chart's values: no throttle, and as many connections as the peer has."""
    return {
        "notifications": {
            "processors": {
                "email": {
                    "transportConfig": {
                        "transport": "smtp",
                        "hostname": "127.0.0.1",
                        "port": port,
                    },
                    "sender": "sender@example.com",
                    "broadcastConfig": {"receiver": "users"},
                    "concurrencyLimit": SESSIONS,
                    "throttleInterval": {"milliseconds": 0},
                }
            }
        }
    }


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        text: str = answer.read().decode()
        return text


def _sample(text: str, name: str) -> float:
    """Sum the samples of one metric in the text format of Prometheus."""
    found = re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))
