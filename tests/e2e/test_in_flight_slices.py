"""What changes while a broadcast is on its way whose ledger is in slices.

One mail in the middle is held up by the server, so that what came before is sent and recorded, and
what comes after waits.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.installation import AddProcessor, Installation
from tests.support.kubernetes import Kubernetes, Object, complete, notification, state_is
from tests.support.smtp import Pause, SMTPPeer, Step

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installation")]

COUNT = 300
ADDRESSES = [f"u{number:03}@example.com" for number in range(COUNT)]
HELD = 120
"""Index of the recipient whose mail is held up."""

KIND = "NotificationProcessor"
ONE_AT_A_TIME = {"concurrencyLimit": 1, "throttleInterval": {"milliseconds": 0}}

AddBroadcaster = Callable[[SMTPPeer], Awaitable[str]]


@pytest.fixture
def add_broadcaster(add_processor: AddProcessor) -> AddBroadcaster:
    """Create a processor whose broadcasts go to all addresses, one after the other."""

    async def add(peer: SMTPPeer) -> str:
        receivers = {"receiver": "config", "receiverEmails": ADDRESSES}
        return await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port},
            email={"broadcastConfig": receivers, **ONE_AT_A_TIME},
        )

    return add


@asynccontextmanager
async def half_way(
    kubernetes: Kubernetes, peer: SMTPPeer, manifest: Object
) -> AsyncIterator[asyncio.Event]:
    """Create a Notification and hold it up in the middle until the event is set."""
    release = asyncio.Event()
    peer.fail(Step.END, Pause(release), recipient=ADDRESSES[HELD])
    await kubernetes.create(manifest)
    await peer.ledger.wait_for_messages(HELD, timeout=60)
    await peer.ledger.wait_for_verb("DATA", HELD + 1)
    yield release
    release.set()


async def end_of(kubernetes: Kubernetes, namespace: str) -> Object:
    return await kubernetes.wait("Notification", "many", namespace, complete, seconds=90)


async def states(kubernetes: Kubernetes, namespace: str) -> dict[str, str]:
    """Return the letter of every recipient's state."""
    found: dict[str, str] = {}
    for item in await kubernetes.list("NotificationDeliverySlice", namespace):
        found.update(zip(item["recipients"], item["states"], strict=True))
    return found


def received(peer: SMTPPeer) -> Counter[str]:
    return Counter(peer.ledger.recipients)


async def test_suspended_and_resumed(
    kubernetes: Kubernetes, namespace: str, title: str, add_broadcaster: AddBroadcaster
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_broadcaster(peer)
        manifest = notification("many", namespace, title=title, processors=[processor])
        async with half_way(kubernetes, peer, manifest) as release:
            await kubernetes.patch("Notification", "many", namespace, {"spec": {"suspend": True}})
            await kubernetes.wait("Notification", "many", namespace, state_is("Suspended"))
            release.set()
            # What was claimed is sent and recorded; then there is rest.
            await kubernetes.wait(
                "Notification",
                "many",
                namespace,
                lambda body: body["status"]["summary"].startswith(f"{len(peer.ledger.messages)}/"),
            )
            async with asyncio.timeout(30):
                while "C" in (await states(kubernetes, namespace)).values():
                    await asyncio.sleep(0.05)
            counts = Counter((await states(kubernetes, namespace)).values())
            assert counts == {"S": len(peer.ledger.messages), "P": COUNT - counts["S"]}
            assert counts["P"] > 0
        await kubernetes.patch("Notification", "many", namespace, {"spec": {"suspend": False}})
        body = await end_of(kubernetes, namespace)
        assert body["status"]["summary"] == f"{COUNT}/{COUNT}"
        assert received(peer) == dict.fromkeys(ADDRESSES, 1)


async def test_expired(
    kubernetes: Kubernetes, namespace: str, title: str, add_broadcaster: AddBroadcaster
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_broadcaster(peer)
        manifest = notification("many", namespace, title=title, processors=[processor])
        async with half_way(kubernetes, peer, manifest) as release:
            soon = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            await kubernetes.patch("Notification", "many", namespace, {"spec": {"expiresAt": soon}})
            async with asyncio.timeout(30):
                while "P" in (await states(kubernetes, namespace)).values():
                    await asyncio.sleep(0.05)
            release.set()
        body = await end_of(kubernetes, namespace)
        assert (body["status"]["state"], body["status"]["reason"]) == (
            "PartiallyDelivered",
            "Expired",
        )
        await agrees(kubernetes, namespace, peer, letter="F")


async def agrees(kubernetes: Kubernetes, namespace: str, peer: SMTPPeer, *, letter: str) -> None:
    """Check that those who got a mail got one and are `Sent`, and all others are not."""
    times = received(peer)
    assert set(times.values()) == {1}
    assert HELD < len(times) < COUNT
    assert await states(kubernetes, namespace) == {
        address: "S" if address in times else letter for address in ADDRESSES
    }


async def test_processor_removed(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_broadcaster: AddBroadcaster,
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_broadcaster(peer)
        manifest = notification("many", namespace, title=title, processors=[processor])
        async with half_way(kubernetes, peer, manifest) as release:
            await kubernetes.delete(KIND, processor, installation.namespace)
            async with asyncio.timeout(30):
                while "P" in (await states(kubernetes, namespace)).values():
                    await asyncio.sleep(0.05)
            release.set()
        body = await end_of(kubernetes, namespace)
        assert body["status"]["reason"] == "ProcessorNotFound"
        await agrees(kubernetes, namespace, peer, letter="F")


async def test_processor_reconfigured(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_broadcaster: AddBroadcaster,
) -> None:
    """Another server, and one more receiver, who is not among those that were settled."""
    async with SMTPPeer() as peer, SMTPPeer() as other:
        processor = await add_broadcaster(peer)
        manifest = notification("many", namespace, title=title, processors=[processor])
        async with half_way(kubernetes, peer, manifest) as release:
            receivers = {"receiverEmails": [*ADDRESSES, "late@example.com"]}
            edit = {"transportConfig": {"port": other.port}, "broadcastConfig": receivers}
            body = await kubernetes.patch(
                KIND, processor, installation.namespace, {"spec": {"email": edit}}
            )
            generation = body["metadata"]["generation"]
            await kubernetes.wait(
                KIND,
                processor,
                installation.namespace,
                lambda body: body["status"]["observedGeneration"] == generation,
            )
            release.set()
        body = await end_of(kubernetes, namespace)
        assert body["status"]["summary"] == f"{COUNT}/{COUNT}"
        assert received(peer) + received(other) == dict.fromkeys(ADDRESSES, 1)
        assert received(peer)[ADDRESSES[HELD]] == 1
        assert other.ledger.messages


async def test_processor_renamed(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_broadcaster: AddBroadcaster,
) -> None:
    async with SMTPPeer() as peer, SMTPPeer() as other:
        old = await add_broadcaster(peer)
        manifest = notification("many", namespace, title=title, processors=[old])
        async with half_way(kubernetes, peer, manifest) as release:
            new = await add_broadcaster(other)
            edit = {"spec": {"processors": [new]}}
            await kubernetes.patch("Notification", "many", namespace, edit)
            await other.ledger.wait_for_messages(1, timeout=60)
            await kubernetes.delete(KIND, old, installation.namespace)
            release.set()
        body = await end_of(kubernetes, namespace)
        assert body["status"]["state"] == "Delivered"
        counts = {item["name"]: item for item in body["status"]["processors"]}
        assert counts[new]["sent"] == COUNT
        assert counts[old]["sent"] == len(peer.ledger.messages)
        assert counts[old]["skipped"] == COUNT - counts[old]["sent"] > 0
        assert received(other) == dict.fromkeys(ADDRESSES, 1)


async def test_deleted(
    kubernetes: Kubernetes, namespace: str, title: str, add_broadcaster: AddBroadcaster
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_broadcaster(peer)
        manifest = notification("many", namespace, title=title, processors=[processor])
        async with half_way(kubernetes, peer, manifest) as release:
            await kubernetes.delete("Notification", "many", namespace)
            await kubernetes.wait_gone("Notification", "many", namespace)
            release.set()
        await kubernetes.create(
            notification(
                "after", namespace, "user:default/ada", title=title, processors=[processor]
            )
        )
        await kubernetes.wait("Notification", "after", namespace, complete)
        times = received(peer)
        assert times.pop("ada@example.com") == 1
        assert set(times.values()) == {1}
        assert HELD < len(times) < COUNT


async def test_recipients_edited(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    """A group's members, of whom an edit takes every third out, and lets one more in."""
    team = f"team-{uuid.uuid4().hex[:8]}"
    # More than are sent and claimed by then, however fast the machine is: the window has 128.
    refs = {f"user:default/{team}-{n:03}": f"u{n:03}@example.com" for n in range(400)}
    metadata = {
        "name": team,
        "namespace": installation.namespace,
        "labels": {"notifications.orchestrator.io/catalog": "true"},
    }
    catalog = {"a": entities(team, refs)}
    await kubernetes.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": catalog}
    )
    out = [*refs][::3]
    try:
        async with SMTPPeer() as peer:
            processor = await add_processor(
                {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port},
                email=ONE_AT_A_TIME,
            )
            group = f"group:default/{team}"
            manifest = notification("many", namespace, group, title=title, processors=[processor])
            async with half_way(kubernetes, peer, manifest) as release:
                edit: dict[str, Any] = {
                    "entityRefs": [group, "user:default/ada"],
                    "excludeEntityRefs": out,
                }
                body = await kubernetes.patch(
                    "Notification", "many", namespace, {"spec": {"recipients": edit}}
                )
                generation = body["metadata"]["generation"]
                await kubernetes.wait(
                    "Notification",
                    "many",
                    namespace,
                    lambda body: body["status"]["observedGeneration"] == generation,
                )
                claimed = {
                    ref
                    for ref, letter in (await states(kubernetes, namespace)).items()
                    if letter == "C"
                }
                release.set()
            await end_of(kubernetes, namespace)
            times = received(peer)
            assert set(times.values()) == {1}
            assert times.pop("ada@example.com") == 1
            found = await states(kubernetes, namespace)
            assert found.pop("user:default/ada") == "S"
            assert found == {ref: "S" if refs[ref] in times else "K" for ref in refs}
            assert {ref for ref in refs if found[ref] == "K"} <= set(out)
            late = {ref for ref in out if refs[ref] > ADDRESSES[HELD] and found[ref] == "S"}
            assert late <= claimed
            assert [ref for ref in out if found[ref] == "K"]
    finally:
        await kubernetes.delete("ConfigMap", team, installation.namespace)


def entities(team: str, refs: dict[str, str]) -> str:
    """Return a group and its members with their addresses."""
    head = "apiVersion: backstage.io/v1alpha1\nkind: "
    names = {ref.rpartition("/")[2]: address for ref, address in refs.items()}
    text = f"{head}Group\nmetadata: {{name: {team}}}\n"
    text += f"spec: {{type: team, children: [], members: [{', '.join(names)}]}}\n"
    for name, address in names.items():
        text += f"---\n{head}User\nmetadata: {{name: {name}}}\n"
        text += f"spec: {{profile: {{email: {address}}}, memberOf: []}}\n"
    return text
