"""Large fan-outs on a real API server: the ledger in NotificationDeliverySlices."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.audit import writes
from tests.support.installation import AddProcessor, Installation, kubectl
from tests.support.kubernetes import Kubernetes, Object, complete, notification
from tests.support.smtp import SMTPPeer

pytestmark = pytest.mark.cluster

ADDRESSES = [f"u{number:04}@example.com" for number in range(1000)]

AddMany = Callable[..., Awaitable[str]]


@pytest.fixture
def add_many(add_processor: AddProcessor) -> AddMany:
    """Create a processor whose broadcasts go to many addresses, as fast as they can."""

    async def add(peer: SMTPPeer, count: int, **email: Any) -> str:
        return await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port},
            email={
                "broadcastConfig": {"receiver": "config", "receiverEmails": ADDRESSES[:count]},
                "concurrencyLimit": 8,
                "throttleInterval": {"milliseconds": 0},
                **email,
            },
            retry={"minDelay": "1s", "maxDelay": "1s"},
        )

    return add


def received(peer: SMTPPeer) -> Counter[str]:
    return Counter(message.rcpt_to[0] for message in peer.ledger.messages)


async def slices(kubernetes: Kubernetes, namespace: str) -> list[Object]:
    found = await kubernetes.list("NotificationDeliverySlice", namespace)
    return sorted(found, key=lambda body: int(body["index"]))


async def test_thousand_recipients(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_many: AddMany,
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_many(peer, 1000)
        await kubernetes.create(
            notification("many", namespace, title=title, processors=[processor])
        )
        body = await kubernetes.wait("Notification", "many", namespace, complete, seconds=120)
        assert received(peer) == dict.fromkeys(ADDRESSES, 1)
    assert (body["status"]["state"], body["status"]["summary"]) == ("Delivered", "1000/1000")
    ledger = {"format": 1, "type": "Slices", "revision": 1, "slices": 4}
    assert body["status"]["ledger"] == ledger
    found = await slices(kubernetes, namespace)
    assert "".join(item["states"] for item in found) == "S" * 1000
    account = f"system:serviceaccount:{installation.namespace}:{installation.account}"
    assert installation.cluster.audit_log is not None
    made = writes(
        installation.cluster.audit_log,
        user=account,
        about=lambda ref: ref.get("namespace") == namespace,
    )
    del made[made.index("create events")]
    assert len(made) <= 40, Counter(made)
    shown = kubectl(installation.cluster.kubeconfig, "get", "ntfds", "-n", namespace).stdout
    assert "DELIVERED" in shown and "256/256" in shown
    await kubernetes.delete("Notification", "many", namespace)
    for item in found:
        name = item["metadata"]["name"]
        await kubernetes.wait_gone("NotificationDeliverySlice", name, namespace, seconds=60)


async def test_killed_on_the_way(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_many: AddMany,
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_many(peer, 600)
        await kubernetes.create(
            notification("many", namespace, title=title, processors=[processor])
        )
        doubtful: Counter[str] = Counter()
        for _ in range(3):
            await peer.ledger.wait_for_messages(len(peer.ledger.messages) + 100)
            installation.kill()
            for item in await slices(kubernetes, namespace):
                claimed = [row for claim in item.get("claims", ()) for row in claim["rows"]]
                doubtful.update(item["recipients"][row] for row in claimed)
            installation.start()
            await asyncio.to_thread(installation.wait_ready)
        body = await kubernetes.wait("Notification", "many", namespace, complete, seconds=120)
        assert body["status"]["summary"] == "600/600"
        times = received(peer)
        assert set(times) == set(ADDRESSES[:600])
        assert all(amount <= 1 + doubtful[address] for address, amount in times.items())
        assert len(set(peer.ledger.message_ids)) == 600, "a copy is the same message"


async def test_payload_edit_on_the_way(
    kubernetes: Kubernetes, namespace: str, title: str, add_many: AddMany
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_many(peer, 400)
        await kubernetes.create(
            notification("many", namespace, title=title, processors=[processor])
        )
        await peer.ledger.wait_for_messages(100)
        edit = {"spec": {"payload": {"title": f"{title} news"}}}
        await kubernetes.patch("Notification", "many", namespace, edit)
        body = await kubernetes.wait(
            "Notification",
            "many",
            namespace,
            lambda found: complete(found) and found["status"]["revision"] == 2,
            seconds=120,
        )
        assert body["status"]["summary"] == "400/400"
        news = Counter(
            message.rcpt_to[0]
            for message in peer.ledger.messages
            if str(message.parsed["Subject"]).endswith("news")
        )
        assert news == dict.fromkeys(ADDRESSES[:400], 1)
        assert max(Counter(peer.ledger.message_ids).values()) == 1
