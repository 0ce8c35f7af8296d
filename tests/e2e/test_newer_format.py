"""Ledgers of a newer release on a real API server: left alone, and sent once when it is back.

The tests write to status and slices as a newer release would; the mail server is the judge.
"""

from __future__ import annotations

import copy
import time
import urllib.request
from collections import Counter

import pytest

from tests.support.installation import AddProcessor, Installation
from tests.support.kubernetes import (
    Kubernetes,
    Object,
    complete,
    condition_is,
    notification,
    state_is,
)
from tests.support.smtp import SMTPPeer

pytestmark = pytest.mark.cluster

LEFT_ALONE = condition_is("Delivered", "Unknown", "NewerFormat")


def addresses(count: int) -> list[str]:
    return [f"u{number:04}@example.com" for number in range(count)]


def received(peer: SMTPPeer) -> Counter[str]:
    return Counter(message.rcpt_to[0] for message in peer.ledger.messages)


class Channel:
    """A processor of the test's own, which can be suspended."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, name: str) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self.name = name

    async def suspend(self, value: bool) -> None:
        """Let it send, or not."""
        kind = "NotificationProcessor"
        patch = {"spec": {"suspend": value}}
        await self._kubernetes.patch(kind, self.name, self._namespace, patch)
        ready = condition_is("Ready", "False" if value else "True")
        await self._kubernetes.wait(kind, self.name, self._namespace, ready)


async def add(
    add_processor: AddProcessor,
    kubernetes: Kubernetes,
    installation: Installation,
    peer: SMTPPeer,
    count: int,
) -> Channel:
    """Create a processor whose broadcasts go to so many addresses."""
    name = await add_processor(
        {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port},
        email={
            "broadcastConfig": {"receiver": "config", "receiverEmails": addresses(count)},
            "throttleInterval": {"milliseconds": 0},
        },
        retry={"minDelay": "1s", "maxDelay": "1s"},
    )
    return Channel(kubernetes, installation.namespace, name)


async def planned(kubernetes: Kubernetes, namespace: str, count: int) -> Object:
    """Wait until all deliveries are in the ledger, and none is sent."""

    def is_planned(body: Object) -> bool:
        return bool(body["status"].get("summary") == f"0/{count}" and state_is("Pending")(body))

    return await kubernetes.wait("Notification", "n", namespace, is_planned)


async def others_go_on(
    kubernetes: Kubernetes, namespace: str, title: str, channel: Channel, peer: SMTPPeer, count: int
) -> None:
    """Another Notification of the same processor is sent: so it was not this one's turn only."""
    other = notification("other", namespace, title=f"other {title}", processors=[channel.name])
    await kubernetes.create(other)
    await kubernetes.wait("Notification", "other", namespace, complete, seconds=60)
    assert received(peer) == dict.fromkeys(addresses(count), 1)


def readiness(installation: Installation) -> tuple[int, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{installation.port}/readyz") as answer:
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("change", [{"ledger": {"format": 99}}, {"ledger": {"type": "Table"}}])
@pytest.mark.parametrize("count", [2, 150])
async def test_a_pending_notification_is_left_alone_and_sent_once(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
    count: int,
    change: Object,
) -> None:
    async with SMTPPeer() as peer:
        channel = await add(add_processor, kubernetes, installation, peer, count)
        await channel.suspend(True)
        await kubernetes.create(
            notification("n", namespace, title=title, processors=[channel.name])
        )
        before = await planned(kubernetes, namespace, count)
        here = ("Notification", "n", namespace)
        await kubernetes.patch(*here, {"status": change}, subresource="status")
        body = await kubernetes.wait(*here, LEFT_ALONE)
        await channel.suspend(False)
        await others_go_on(kubernetes, namespace, title, channel, peer, count)
        now = await kubernetes.get(*here)
        assert now["status"] == body["status"]
        expected = copy.deepcopy(before["status"])
        expected["ledger"].update(change["ledger"])
        del now["status"]["conditions"], expected["conditions"]
        assert now["status"] == expected
        status, text = readiness(installation)
        assert (status, f"{namespace}/n" in text) == (200, True)
        assert installation.metric("notifications_newer_format") == 1
        query = {"fieldSelector": "reason=NewerFormat"}
        (event,) = await kubernetes.list("Event", namespace, query)
        assert (event["type"], event["regarding"]["name"]) == ("Warning", "n")

        back = {"ledger": {name: before["status"]["ledger"][name] for name in change["ledger"]}}
        await kubernetes.patch(*here, {"status": back}, subresource="status")
        done = await kubernetes.wait(*here, complete, seconds=60)
        assert done["status"]["summary"] == f"{count}/{count}"
        assert condition_is("Delivered", "True")(done)
        assert received(peer) == dict.fromkeys(addresses(count), 2), "the other's and its own"
        assert installation.metric("notifications_newer_format") == 0


async def test_one_slice_of_a_newer_format_is_enough(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer() as peer:
        channel = await add(add_processor, kubernetes, installation, peer, 300)
        await channel.suspend(True)
        await kubernetes.create(
            notification("n", namespace, title=title, processors=[channel.name])
        )
        await planned(kubernetes, namespace, 300)
        kind = "NotificationDeliverySlice"
        found = sorted(await kubernetes.list(kind, namespace), key=lambda item: int(item["index"]))
        name = found[1]["metadata"]["name"]
        installation.kill()
        await kubernetes.patch(kind, name, namespace, {"format": 99})
        installation.start()
        body = await kubernetes.wait("Notification", "n", namespace, LEFT_ALONE)
        assert name in str(body["status"]["conditions"])
        await channel.suspend(False)
        await others_go_on(kubernetes, namespace, title, channel, peer, 300)
        await kubernetes.patch(kind, name, namespace, {"format": 1})
        done = await kubernetes.wait("Notification", "n", namespace, complete, seconds=60)
        assert done["status"]["summary"] == "300/300"
        assert received(peer) == dict.fromkeys(addresses(300), 2), "the other's and its own"


async def test_it_can_be_deleted_and_its_time_does_not_end_it(
    kubernetes: Kubernetes, namespace: str, title: str, installation: Installation
) -> None:
    """A finished one is not touched: its TTL is for a release that can read it."""
    here = ("Notification", "n", namespace)
    await kubernetes.create(
        notification("n", namespace, "user:default/ada", title=title, ttlSecondsAfterFinished=3)
    )
    await kubernetes.wait(*here, complete)
    changed = await kubernetes.patch(
        *here, {"status": {"ledger": {"format": 99}}}, subresource="status"
    )
    end = time.monotonic() + 5
    await kubernetes.wait(*here, lambda _: time.monotonic() > end)
    assert await kubernetes.get(*here) == changed
    await kubernetes.delete(*here)
    await kubernetes.wait_gone(*here)
