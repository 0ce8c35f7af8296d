"""A record that cannot be stored, or whose answer is lost, never causes a second mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.installation import Installation, kubectl
from tests.support.kubernetes import Kubernetes, complete, notification, rows
from tests.support.mail import Catcher
from tests.support.proxy import APIProxy, Fault, LoseAnswer, Refuse, Write

pytestmark = pytest.mark.cluster

CRDS = Path(__file__).resolve().parents[2] / "crds"
TOO_LARGE = Refuse(500, "etcdserver: request is too large")


@pytest.fixture
async def proxy(installation: Installation) -> AsyncIterator[APIProxy]:
    """The operator restarted behind a proxy; afterwards it is as before."""
    await asyncio.to_thread(installation.stop)
    async with APIProxy(installation.cluster.kubeconfig) as proxy:
        installation.start(server=proxy.url)
        await asyncio.to_thread(installation.wait_ready)
        yield proxy
        proxy.judge = lambda write: None
        await asyncio.to_thread(installation.stop)
    installation.start()
    await asyncio.to_thread(installation.wait_ready)


def is_record(write: Write) -> bool:
    return write.path.endswith("/status") and "Sent" in write.row_states


def is_claim(write: Write) -> bool:
    return write.path.endswith("/status") and "Claimed" in write.row_states


async def test_a_refused_record_is_stored_in_its_smallest_form(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, proxy: APIProxy
) -> None:
    def judge(write: Write) -> Fault:
        full = any(row.get("message") for row in write.body["status"].get("deliveries", []))
        return TOO_LARGE if is_record(write) and full else None

    proxy.judge = lambda write: judge(write) if "status" in write.body else None
    await kubernetes.create(notification("big", namespace, "user:default/ada", title=title))
    body = await kubernetes.wait("Notification", "big", namespace, complete)
    assert rows(body)["user:default/ada"]["state"] == "Sent"
    events = await kubernetes.list("Event", namespace)
    assert [e["reason"] for e in events if e["type"] == "Warning"] == ["StatusRefused"]
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_a_record_refused_for_ever_is_no_second_mail(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, proxy: APIProxy
) -> None:
    proxy.judge = lambda write: TOO_LARGE if is_record(write) else None
    await kubernetes.create(notification("never", namespace, "user:default/ada", title=title))
    await catcher.wait(title, 1)
    # Edits of the object make the operator look at it again, each time with the same record.
    for number in range(3):
        labels = {"metadata": {"labels": {"touched": str(number)}}}
        await kubernetes.patch("Notification", "never", namespace, labels)
        await kubernetes.create(
            notification(f"m-{number}", namespace, "user:default/ada", title=f"m {number}")
        )
    records = [write for write in proxy.writes if is_record(write)]
    assert records
    body = await kubernetes.get("Notification", "never", namespace)
    assert rows(body)["user:default/ada"]["state"] == "Claimed"
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_a_lost_answer_to_the_claim_sends_once(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, proxy: APIProxy
) -> None:
    lost: list[Write] = []

    def judge(write: Write) -> Fault:
        if is_claim(write) and not lost:
            lost.append(write)
            return LoseAnswer()
        return None

    proxy.judge = judge
    await kubernetes.create(notification("claim", namespace, "user:default/ada", title=title))
    body = await kubernetes.wait("Notification", "claim", namespace, complete)
    assert lost
    assert rows(body)["user:default/ada"]["attempts"] == 1
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_a_lost_answer_to_the_record_sends_once(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, proxy: APIProxy
) -> None:
    lost: list[Write] = []

    def judge(write: Write) -> Fault:
        if is_record(write) and len(lost) < 2:
            lost.append(write)
            return LoseAnswer()
        return None

    proxy.judge = judge
    await kubernetes.create(notification("record", namespace, "user:default/ada", title=title))
    await kubernetes.wait("Notification", "record", namespace, complete)
    await kubernetes.create(notification("next", namespace, "user:default/grace", title=title))
    await kubernetes.wait("Notification", "next", namespace, complete)
    assert lost
    assert catcher.recipients(title) == ["ada@example.com", "grace@example.com"]


async def test_claims_refused_for_a_while_send_nothing_and_then_once(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, proxy: APIProxy
) -> None:
    refused: list[Write] = []

    def judge(write: Write) -> Fault:
        if is_claim(write) and len(refused) < 3:
            refused.append(write)
            return Refuse(503, "the API server is shutting down")
        return None

    proxy.judge = judge
    await kubernetes.create(notification("wait", namespace, "user:default/ada", title=title))
    await kubernetes.wait("Notification", "wait", namespace, complete)
    assert len(refused) == 3
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_with_an_older_definition_nothing_is_claimed(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
) -> None:
    """The API server prunes what the definition does not know, without a word."""
    definition: dict[str, Any] = yaml.safe_load((CRDS / "notifications.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    rows_schema = schema["properties"]["status"]["properties"]["deliveries"]["items"]
    del rows_schema["properties"]["holder"]
    admin = installation.cluster.kubeconfig
    installation.stop()
    apply = ("apply", "--server-side", "--force-conflicts", "-f")
    kubectl(admin, *apply, "-", stdin=yaml.safe_dump(definition))
    try:
        installation.start()
        async with asyncio.timeout(60):
            while installation.probe("livez") != 200:
                await asyncio.sleep(0.1)
        with pytest.raises(AssertionError):
            await asyncio.to_thread(installation.wait_ready, 5)
        await kubernetes.create(notification("old", namespace, "user:default/ada", title=title))
        await kubernetes.wait(
            "Notification", "old", namespace, lambda body: body["status"].get("revision") == 1
        )
        assert "status.deliveries[].holder" in installation.tail()
        assert catcher.mails(title) == []
    finally:
        kubectl(admin, *apply, str(CRDS / "notifications.yaml"))
    await asyncio.to_thread(installation.wait_ready)
    await kubernetes.wait("Notification", "old", namespace, complete, seconds=60)
    assert catcher.recipients(title) == ["ada@example.com"]
