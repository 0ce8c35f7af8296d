"""Watches that end: the operator goes on, with what is under way."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.installation import Installation
from tests.support.kubernetes import Kubernetes, complete, notification
from tests.support.mail import Catcher
from tests.support.proxy import APIProxy, Fault, Read, Refuse

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("status", [404, 410])
async def test_answers_that_kopf_does_not_expect(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    status: int,
) -> None:
    """They end kopf's watches (1.45.2); the process stays, and watches again."""

    def judge(request: Read) -> Fault:
        return Refuse(status, "not now") if request.path.endswith("/notifications") else None

    await asyncio.to_thread(installation.stop)
    async with APIProxy(installation.cluster.kubeconfig) as proxy:
        installation.start(server=proxy.url)
        await asyncio.to_thread(installation.wait_ready)
        process = installation.process
        proxy.judge_read = judge
        for watch in [*proxy.watches]:
            watch.cut()
        while "a watch has ended" not in installation.tail():
            await asyncio.sleep(0.1)
        proxy.behave()
        await kubernetes.create(notification("n", namespace, "user:default/ada", title=title))
        await kubernetes.wait("Notification", "n", namespace, complete, seconds=90)
        assert catcher.recipients(title) == ["ada@example.com"]
        assert installation.process is process and process is not None
        assert process.poll() is None
        await asyncio.to_thread(installation.stop)
    installation.start()
    await asyncio.to_thread(installation.wait_ready)
