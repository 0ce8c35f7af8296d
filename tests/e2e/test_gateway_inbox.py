"""From a POST into the inbox: gateway and operator as processes, with a real API server between.

The judge is the gateway's database, read beside it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import SUBJECT, TOKEN, static, write_callers
from tests.support.gateway_installation import operator_settings
from tests.support.gateway_process import GatewayProcess
from tests.support.installation import Installation
from tests.support.kubernetes import Kubernetes, condition_is

pytestmark = pytest.mark.cluster

ADA = "user:default/ada"


def post(title: str, **payload: Any) -> dict[str, Any]:
    recipients = {"type": "entity", "entityRef": ADA}
    return {"recipients": recipients, "payload": {"title": title, **payload}}


class Stack(GatewayProcess):
    """The gateway, and what is in its inbox."""

    def rows(self) -> list[tuple[str, str]]:
        """Return recipient and title of all that is in the inbox, in order."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
            return list(
                connection.execute("SELECT recipient, title FROM notification ORDER BY 1, 2")
            )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.05)


@pytest.fixture
async def stack(
    installation: Installation, kubernetes: Kubernetes, namespace: str, tmp_path: Path
) -> AsyncIterator[Stack]:
    """Run a gateway, and the operator with its address instead of the installation's own."""
    await asyncio.to_thread(installation.stop)
    callers = tmp_path / "callers.yaml"
    write_callers(callers, [static(TOKEN, SUBJECT, broadcast=True)])
    prefix = "NOTIFICATIONS_GATEWAY_"
    gateway = Stack(
        directory=tmp_path,
        environment={
            "KUBECONFIG": str(installation.cluster.kubeconfig),
            f"{prefix}CALLERS__FILE": str(callers),
            f"{prefix}SENDING__STORE_TIMEOUT": "5",
            f"{prefix}INTERNAL__OPERATOR_NAMESPACE": installation.namespace,
            f"{prefix}INTERNAL__OPERATOR_SERVICE_ACCOUNT": installation.account,
        },
        namespace=namespace,
    )
    directory = tmp_path / "operator"
    directory.mkdir()
    operator = Installation(
        cluster=installation.cluster,
        directory=directory,
        namespace=installation.namespace,
        settings={
            **operator_settings(installation, tmp_path, gateway.internal_port),
            "NOTIFICATIONS_ORIGINS__TRUSTED_NAMESPACES": f'["{namespace}"]',
        },
    )
    try:
        await asyncio.to_thread(gateway.start)
        await asyncio.to_thread(operator.start)
        await asyncio.to_thread(operator.wait_ready)
        await kubernetes.create(
            {
                "apiVersion": "notifications.orchestrator.io/v1alpha1",
                "kind": "NotificationProcessor",
                "metadata": {"name": "inbox", "namespace": installation.namespace},
                "spec": {"type": "inbox"},
            }
        )
        ready = condition_is("Ready", "True")
        await kubernetes.wait("NotificationProcessor", "inbox", installation.namespace, ready)
        yield gateway
    finally:
        await kubernetes.delete("NotificationProcessor", "inbox", installation.namespace)
        operator.close()
        gateway.close()
        installation.start()
        await asyncio.to_thread(installation.wait_ready)


async def test_the_last_of_a_scope_stays_however_fast_they_come(
    stack: Stack, kubernetes: Kubernetes
) -> None:
    ids = set()
    for number in range(12):
        answer = await stack.post(post(f"step {number}", scope="build-1"))
        assert answer.status_code == 200, answer.text
        (row,) = answer.json()
        assert (row["origin"], row["payload"]["title"]) == (SUBJECT, f"step {number}")
        ids.add(row["id"])
    assert len(ids) == 1
    found = await kubernetes.list("Notification", stack.namespace)
    created = {body["metadata"]["creationTimestamp"] for body in found}
    assert len(created) < len(found), "some of them were made within one second"
    for body in found:
        name = body["metadata"]["name"]
        await kubernetes.wait(
            "Notification", name, stack.namespace, condition_is("Complete", "True"), seconds=60
        )
    assert stack.rows() == [(ADA, "step 11")]


async def test_no_yes_is_lost_and_none_is_there_twice_when_the_gateway_is_killed(
    stack: Stack,
) -> None:
    accepted: set[str] = set()
    started = asyncio.Event()

    async def send(number: int) -> None:
        title = f"post {number:02}"
        while title not in accepted:
            try:
                answer = await stack.post(post(title), key=title.replace(" ", "-"))
            except httpx.HTTPError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 200:
                accepted.add(title)
            else:
                assert answer.status_code in (429, 503), answer.text
                await asyncio.sleep(0.1)
            if len(accepted) >= 5:
                started.set()

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(send(number))
        await started.wait()
        stack.kill()
        await asyncio.to_thread(stack.start)
    titles = [f"post {number:02}" for number in range(30)]
    assert sorted(accepted) == titles
    await stack.until(lambda: len(stack.rows()) >= len(titles))
    assert stack.rows() == [(ADA, title) for title in titles]
