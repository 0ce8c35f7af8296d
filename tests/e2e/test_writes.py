"""How much the operator writes: counted by the API server's own audit log."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.audit import writes
from tests.support.installation import AddProcessor, Installation
from tests.support.kubernetes import Kubernetes, complete, notification
from tests.support.mail import Catcher

pytestmark = pytest.mark.cluster

COUNT = 20


async def test_two_patches_and_one_event_per_notification(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    catcher: Catcher,
    title: str,
    add_processor: AddProcessor,
) -> None:
    processor = await add_processor(
        {
            "transport": "smtp",
            "hostname": "127.0.0.1",
            "port": catcher.port,
            "tls": {"caSecretRef": {"name": "mail-ca", "key": "ca.crt"}},
        },
        secret={"username": "my-username", "password": "my-password"},
        email={"throttleInterval": {"milliseconds": 0}},
    )
    names = [f"n-{number}" for number in range(COUNT)]
    for name in names:
        await kubernetes.create(
            notification(name, namespace, "user:default/ada", title=title, processors=[processor])
        )
    for name in names:
        body = await kubernetes.wait("Notification", name, namespace, complete)
        assert body["status"]["state"] == "Delivered"
    assert len(catcher.mails(title)) == COUNT
    assert installation.cluster.audit_log is not None
    user = f"system:serviceaccount:{installation.namespace}:{installation.account}"

    def here(reference: dict[str, Any]) -> bool:
        return bool(reference.get("namespace") == namespace)

    found = writes(installation.cluster.audit_log, user=user, about=here)
    assert found.count("patch notifications/status") == 2 * COUNT
    assert found.count("create events") <= COUNT
    assert set(found) <= {"patch notifications/status", "create events"}


async def test_nothing_is_written_for_what_is_finished(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    catcher: Catcher,
    title: str,
) -> None:
    await kubernetes.create(notification("done", namespace, "user:default/ada", title=title))
    before = await kubernetes.wait("Notification", "done", namespace, complete)
    installation.stop()
    installation.start()
    installation.wait_ready()
    # A later Notification shows that the operator has been through the list.
    await kubernetes.create(
        notification("later", namespace, "user:default/grace", title=f"{title} later")
    )
    await kubernetes.wait("Notification", "later", namespace, complete)
    after = await kubernetes.get("Notification", "done", namespace)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert catcher.recipients(title) == ["ada@example.com", "grace@example.com"]
