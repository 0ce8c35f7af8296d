"""The API server away, and the operator killed: it goes on where the ledger says."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.installation import AddProcessor, Installation
from tests.support.kubernetes import Kubernetes, complete, notification, rows
from tests.support.mail import Catcher
from tests.support.smtp import Hang, Pause, SMTPPeer, Step

pytestmark = pytest.mark.cluster


async def test_the_api_server_is_away_in_the_middle(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    """A mail that was accepted meanwhile is recorded afterwards, and not sent again."""
    cluster = installation.cluster
    async with SMTPPeer() as peer:
        processor = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port}
        )
        release = asyncio.Event()
        peer.fail(Step.END, Pause(release))
        await kubernetes.create(
            notification(
                "middle", namespace, "user:default/ada", title=title, processors=[processor]
            )
        )
        await peer.ledger.wait_for_verb("DATA")
        await asyncio.to_thread(cluster.stop_apiserver)
        release.set()
        await peer.ledger.wait_for_messages(1)
        assert installation.probe("livez") == 200
        await asyncio.to_thread(cluster.start_apiserver)
        body = await kubernetes.wait("Notification", "middle", namespace, complete, seconds=90)
        assert rows(body)["user:default/ada"]["attempts"] == 1
        assert len(peer.ledger.messages) == 1
    assert installation.process is not None and installation.process.poll() is None
    await kubernetes.create(notification("after", namespace, "user:default/ada", title=title))
    await kubernetes.wait("Notification", "after", namespace, complete, seconds=90)
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_the_api_server_is_away_at_start(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    installation.stop()
    environment = installation.prepare()
    await asyncio.to_thread(installation.cluster.stop_apiserver)
    installation.launch(environment)
    async with asyncio.timeout(60):
        while "waiting for api-server" not in installation.tail():
            await asyncio.sleep(0.1)
    assert installation.probe("livez") == 200
    assert installation.probe("readyz") == 503
    await asyncio.to_thread(installation.cluster.start_apiserver)
    await asyncio.to_thread(installation.wait_ready)
    await kubernetes.create(notification("start", namespace, "user:default/ada", title=title))
    await kubernetes.wait("Notification", "start", namespace, complete)
    assert catcher.recipients(title) == ["ada@example.com"]


@pytest.mark.parametrize("policy", ["Resend", "Hold"])
async def test_killed_after_the_server_accepted_and_before_the_record(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
    policy: str,
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port},
            onAmbiguous=policy,
            retry={"minDelay": "1s", "maxDelay": "1s"},
        )
        peer.fail(Step.END, Hang(), recorded=True)
        await kubernetes.create(
            notification(
                "killed", namespace, "user:default/ada", title=title, processors=[processor]
            )
        )
        await peer.ledger.wait_for_messages(1)
        installation.kill()
        body = await kubernetes.get("Notification", "killed", namespace)
        assert rows(body)["user:default/ada"]["state"] == "Claimed"
        installation.start()
        body = await kubernetes.wait("Notification", "killed", namespace, complete)
        row = rows(body)["user:default/ada"]
        if policy == "Hold":
            assert (row["state"], row["reason"]) == ("Unknown", "Ambiguous")
            assert len(peer.ledger.messages) == 1
        else:
            assert (row["state"], row["attempts"]) == ("Sent", 2)
            assert len(peer.ledger.messages) == 2
            assert len(set(peer.ledger.message_ids)) == 1


async def test_sigterm_lets_a_send_finish_and_records_it(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port}
        )
        release = asyncio.Event()
        peer.fail(Step.END, Pause(release))
        await kubernetes.create(
            notification("term", namespace, "user:default/ada", title=title, processors=[processor])
        )
        await peer.ledger.wait_for_verb("DATA")
        stopping = asyncio.create_task(asyncio.to_thread(installation.stop))
        while "stopping" not in installation.tail():
            await asyncio.sleep(0.05)
        release.set()
        assert await stopping == 0
        body = await kubernetes.get("Notification", "term", namespace)
        assert rows(body)["user:default/ada"]["state"] == "Sent"
        assert len(peer.ledger.messages) == 1
    installation.start()
    await asyncio.to_thread(installation.wait_ready)
