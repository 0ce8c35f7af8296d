"""A real API server, the chart installed by real Helm, a real SMTP server, the operator."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import Cluster, up
from tests.support.helm import SEED_VALUES
from tests.support.installation import AddProcessor, Installation, kubectl
from tests.support.kubernetes import Kubernetes, Object, condition_is
from tests.support.mail import Catcher

NAMESPACE = "notifications-system"
"""Where the operator of these tests lives."""


@pytest.fixture(scope="session")
def cluster(worker_id: str) -> Iterator[Cluster]:
    """A control plane of this test process's own."""
    cluster = up(f"e2e-{worker_id}-{os.getpid()}")
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def catcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catcher]:
    """An SMTP server with STARTTLS and AUTH as a process; its ledger is the judge."""
    catcher = Catcher.start(
        tmp_path_factory.mktemp("catcher"), username="my-username", password="my-password"
    )
    yield catcher
    catcher.stop()


@pytest.fixture(scope="session")
def values(catcher: Catcher) -> Object:
    """The issue's seed values, with host and port of the mail catcher, and quick settings."""
    values: Object = yaml.safe_load(yaml.safe_dump(SEED_VALUES))
    values["notifications"]["processors"]["email"]["transportConfig"].update(
        hostname="127.0.0.1",
        port=catcher.port,
        tls={"caSecretRef": {"name": "mail-ca", "key": "ca.crt"}},
    )
    entities = yaml.safe_load_all((Path(__file__).parent / "data" / "catalog.yaml").read_text())
    values["catalog"] = {
        "entities": list(entities),
        "settle": 0.2,
        "removalSettle": 0.5,
        "unknownGrace": 4,
    }
    values["app"] = {"baseUrl": "https://portal.example.com/base"}
    values["delivery"] = {
        # Long enough that a busy machine opens nothing as Pending that has a free slot.
        "openWait": 3,
        "processorGrace": 2,
        "verifyInterval": 2,
        "shutdownGrace": 20,
    }
    values["origins"] = {"trustedNamespaces": ["trusted"]}
    values["limits"] = {"namespaces": {"limited": {"maxRecipients": 1}}}
    return values


@pytest.fixture(scope="session")
def installation(
    cluster: Cluster, catcher: Catcher, values: Object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """The chart installed with the seed values, and its operator running."""
    installation = Installation(
        cluster=cluster, directory=tmp_path_factory.mktemp("installation"), namespace=NAMESPACE
    )
    admin = cluster.kubeconfig
    kubectl(admin, "create", "namespace", NAMESPACE)
    kubectl(
        admin,
        *("create", "secret", "generic", "mail-ca", "--namespace", NAMESPACE),
        f"--from-file=ca.crt={catcher.authority}",
    )
    installation.install(values)
    installation.start()
    try:
        installation.wait_ready()
        yield installation
    finally:
        installation.close()


@pytest.fixture
async def kubernetes(cluster: Cluster) -> AsyncIterator[Kubernetes]:
    """The API server, as an administrator."""
    async with Kubernetes(cluster.kubeconfig) as client:
        yield client


@pytest.fixture
async def namespace(kubernetes: Kubernetes) -> AsyncIterator[str]:
    """A namespace of this test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    await kubernetes.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await kubernetes.delete("Namespace", name)


@pytest.fixture
def title(request: pytest.FixtureRequest) -> str:
    """A title by which this test's mails are known."""
    return f"{request.node.name} {uuid.uuid4().hex[:8]}"[:120]


@pytest.fixture
async def add_processor(
    kubernetes: Kubernetes, installation: Installation
) -> AsyncIterator[AddProcessor]:
    """Create processors that are removed after the test; returns the name once it is ready.

    Tests name them in ``spec.processors``, so that they do not meet others' Notifications.
    """
    names: list[str] = []

    async def add(
        transport: Object,
        *,
        ready: bool = True,
        email: Object | None = None,
        secret: Object | None = None,
        **spec: Any,
    ) -> str:
        name = f"p-{uuid.uuid4().hex[:8]}"
        names.append(name)
        if secret is not None:
            await kubernetes.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": name, "namespace": installation.namespace},
                    "stringData": secret,
                }
            )
            spec["secretRef"] = {"name": name}
        block = {"transportConfig": transport, "sender": "tests@example.com", **(email or {})}
        await kubernetes.create(
            {
                "apiVersion": "notifications.orchestrator.io/v1alpha1",
                "kind": "NotificationProcessor",
                "metadata": {"name": name, "namespace": installation.namespace},
                "spec": {"type": "email", "email": block, **spec},
            }
        )
        if ready:
            await kubernetes.wait(
                "NotificationProcessor",
                name,
                installation.namespace,
                condition_is("Ready", "True"),
            )
        return name

    yield add
    for name in names:
        await kubernetes.delete("NotificationProcessor", name, installation.namespace)
        await kubernetes.delete("Secret", name, installation.namespace)
