"""What changes while a mail is on its way: the Notification, its processors, the catalog.

In each test one mail is held up by the server after it was sent completely, and a second recipient
of the same processor waits for its turn.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from tests.support.installation import AddProcessor, Installation
from tests.support.kubernetes import (
    Kubernetes,
    Object,
    complete,
    condition_is,
    notification,
    rows,
)
from tests.support.mail import Catcher
from tests.support.smtp import CertificateAuthority, Pause, SMTPPeer, Step, TLSMode

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installation")]

ADA, GRACE, EDSGER = "user:default/ada", "user:default/grace", "user:default/edsger"
ONE_AT_A_TIME = {"concurrencyLimit": 1, "throttleInterval": {"milliseconds": 0}}
KIND = "NotificationProcessor"


def smtp(peer: SMTPPeer, **fields: Any) -> Object:
    return {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port, **fields}


@asynccontextmanager
async def on_its_way(
    kubernetes: Kubernetes, peer: SMTPPeer, manifest: Object
) -> AsyncIterator[asyncio.Event]:
    """Create a Notification and hold its first mail up until the event is set."""
    release = asyncio.Event()
    peer.fail(Step.END, Pause(release))
    await kubernetes.create(manifest)
    await peer.ledger.wait_for_verb("DATA", timeout=30)
    yield release
    release.set()


async def end_of(kubernetes: Kubernetes, namespace: str, *, revision: int = 1) -> Object:
    """Wait until the Notification has ended at a revision, and return it."""
    return await kubernetes.wait(
        "Notification",
        "moving",
        namespace,
        lambda body: complete(body) and body["status"]["revision"] == revision,
        seconds=60,
    )


async def observed(kubernetes: Kubernetes, namespace: str, patch: Object) -> Object:
    """Edit the Notification, and wait until the operator has taken the edit in."""
    body = await kubernetes.patch("Notification", "moving", namespace, patch)
    generation = body["metadata"]["generation"]
    return await kubernetes.wait(
        "Notification",
        "moving",
        namespace,
        lambda body: body["status"]["observedGeneration"] == generation,
    )


def ends(body: Object) -> dict[str, tuple[str, str | None]]:
    return {name: (row["state"], row.get("reason")) for name, row in rows(body).items()}


async def test_payload_edit(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer), email=ONE_AT_A_TIME)
        manifest = notification(
            "moving", namespace, ADA, GRACE, title=f"{title} old", processors=[processor]
        )
        async with on_its_way(kubernetes, peer, manifest) as release:
            edit = {"spec": {"payload": {"title": f"{title} new"}}}
            body = await observed(kubernetes, namespace, edit)
            assert (rows(body)[ADA]["state"], rows(body)[ADA]["revision"]) == ("Claimed", 1)
            release.set()
        body = await end_of(kubernetes, namespace, revision=2)
        assert ends(body) == {ADA: ("Sent", None), GRACE: ("Sent", None)}
        mails = [
            (message.rcpt_to[0], str(message.parsed["Subject"]).split()[-1])
            for message in peer.ledger.messages
        ]
        assert mails[0] == ("ada@example.com", "old")
        assert sorted(mails[1:]) == [("ada@example.com", "new"), ("grace@example.com", "new")]
        update = next(
            message for message in peer.ledger.messages[1:] if "ada" in message.rcpt_to[0]
        )
        assert update.parsed["References"] == peer.ledger.message_ids[0]


async def test_recipients_edit(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer), email=ONE_AT_A_TIME)
        manifest = notification(
            "moving", namespace, ADA, GRACE, title=title, processors=[processor]
        )
        async with on_its_way(kubernetes, peer, manifest) as release:
            edit = {"spec": {"recipients": {"entityRefs": [EDSGER]}}}
            body = await observed(kubernetes, namespace, edit)
            assert rows(body)[ADA]["state"] == "Claimed"
            release.set()
        body = await end_of(kubernetes, namespace)
        found = ends(body)
        assert found[ADA][0] == "Sent"
        assert found[GRACE] == ("Skipped", "Cancelled")
        assert found[EDSGER] == ("Sent", None)
        assert peer.ledger.recipients == ["ada@example.com", "edsger@example.com"]


async def test_recipients_and_payload_edit(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    """Who is removed while the old form is on its way must not get the new one."""
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer), email=ONE_AT_A_TIME)
        manifest = notification(
            "moving", namespace, ADA, GRACE, title=f"{title} old", processors=[processor]
        )
        async with on_its_way(kubernetes, peer, manifest) as release:
            edit = {
                "recipients": {"entityRefs": [GRACE]},
                "payload": {"title": f"{title} new"},
            }
            body = await observed(kubernetes, namespace, {"spec": edit})
            assert rows(body)[ADA]["state"] == "Claimed"
            release.set()
        body = await end_of(kubernetes, namespace, revision=2)
        assert ends(body) == {ADA: ("Sent", "Cancelled"), GRACE: ("Sent", None)}
        mails = [
            (message.rcpt_to[0], str(message.parsed["Subject"]).split()[-1])
            for message in peer.ledger.messages
        ]
        assert mails == [("ada@example.com", "old"), ("grace@example.com", "new")]


@pytest.mark.parametrize("edited", ["recipients", "processors"])
async def test_what_was_taken_out_on_its_way_is_not_tried_again(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
    edited: str,
) -> None:
    async with SMTPPeer() as peer:
        quick = {"minDelay": "1s", "maxDelay": "1s"}
        processor = await add_processor(smtp(peer), email=ONE_AT_A_TIME, retry=quick)
        release = asyncio.Event()
        edit: Object
        peer.fail(Step.RCPT, Pause(release), recipient="ada@example.com")
        peer.fail(Step.DATA, "451 4.3.0 try later")
        await kubernetes.create(
            notification("moving", namespace, ADA, title=title, processors=[processor])
        )
        await peer.ledger.wait_for_verb("RCPT", timeout=30)
        match edited:
            case "recipients":
                edit, why = {"recipients": {"entityRefs": [GRACE]}}, "Cancelled"
            case _:
                edit, why = {"processors": ["email"]}, "Filtered"
        body = await observed(kubernetes, namespace, {"spec": edit})
        assert "Claimed" in {row["state"] for row in body["status"]["deliveries"]}
        release.set()
        body = await end_of(kubernetes, namespace)
        (row,) = (
            row
            for row in body["status"]["deliveries"]
            if (row["processor"], row["recipient"]) == (processor, ADA)
        )
        assert (row["state"], row["reason"], row["attempts"]) == ("Skipped", why, 1)
        assert "ada@example.com" not in peer.ledger.recipients
        assert body["status"]["state"] == "Delivered"


async def test_processor_added(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    add_processor: AddProcessor,
) -> None:
    """The Notification names none, so it goes to all that there were."""
    async with SMTPPeer() as peer, SMTPPeer() as late:
        there = await add_processor(smtp(peer), email=ONE_AT_A_TIME)
        manifest = notification("moving", namespace, ADA, GRACE, title=title, processors=[])
        async with on_its_way(kubernetes, peer, manifest) as release:
            added = await add_processor(smtp(late))
            release.set()
        body = await end_of(kubernetes, namespace)
        names = [item["name"] for item in body["status"]["processors"]]
        assert there in names and added not in names
        assert peer.ledger.recipients == ["ada@example.com", "grace@example.com"]
        assert late.ledger.messages == []
        assert catcher.recipients(title) == ["ada@example.com", "grace@example.com"]


async def test_processor_removed(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer), email=ONE_AT_A_TIME)
        manifest = notification(
            "moving", namespace, ADA, GRACE, title=title, processors=[processor]
        )
        async with on_its_way(kubernetes, peer, manifest) as release:
            await kubernetes.delete(KIND, processor, installation.namespace)
            body = await kubernetes.wait(
                "Notification",
                "moving",
                namespace,
                lambda body: rows(body)[GRACE]["state"] == "Failed",
            )
            assert rows(body)[ADA]["state"] == "Claimed"
            release.set()
        body = await end_of(kubernetes, namespace)
        assert ends(body) == {ADA: ("Sent", None), GRACE: ("Failed", "ProcessorNotFound")}
        assert peer.ledger.recipients == ["ada@example.com"]


async def test_processor_removed_and_back(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    """As `kubectl replace --force` does it."""
    async with SMTPPeer() as peer:
        processor = await add_processor(smtp(peer), email=ONE_AT_A_TIME)
        own = await kubernetes.get(KIND, processor, installation.namespace)
        metadata = {"name": processor, "namespace": installation.namespace}
        again = {key: own[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
        manifest = notification(
            "moving", namespace, ADA, GRACE, title=title, processors=[processor]
        )
        async with on_its_way(kubernetes, peer, manifest) as release:
            await kubernetes.delete(KIND, processor, installation.namespace)
            await kubernetes.create(again)
            release.set()
        body = await end_of(kubernetes, namespace)
        assert ends(body) == {ADA: ("Sent", None), GRACE: ("Sent", None)}
        assert peer.ledger.recipients == ["ada@example.com", "grace@example.com"]


async def test_processor_reconfigured(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer() as peer, SMTPPeer() as other:
        processor = await add_processor(smtp(peer), email=ONE_AT_A_TIME)
        manifest = notification(
            "moving", namespace, ADA, GRACE, title=title, processors=[processor]
        )
        async with on_its_way(kubernetes, peer, manifest) as release:
            edit = {"spec": {"email": {"transportConfig": {"port": other.port}}}}
            body = await kubernetes.patch(KIND, processor, installation.namespace, edit)
            generation = body["metadata"]["generation"]
            await kubernetes.wait(
                KIND,
                processor,
                installation.namespace,
                lambda body: body["status"]["observedGeneration"] == generation,
            )
            release.set()
        body = await end_of(kubernetes, namespace)
        assert ends(body) == {ADA: ("Sent", None), GRACE: ("Sent", None)}
        assert peer.ledger.recipients == ["ada@example.com"]
        assert other.ledger.recipients == ["grace@example.com"]


async def test_processor_renamed(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    """A new name is another processor, and reaches whom the Notification names it for."""
    async with SMTPPeer() as peer, SMTPPeer() as other:
        old = await add_processor(smtp(peer), email=ONE_AT_A_TIME)
        manifest = notification("moving", namespace, ADA, GRACE, title=title, processors=[old])
        async with on_its_way(kubernetes, peer, manifest) as release:
            new = await add_processor(smtp(other))
            await observed(kubernetes, namespace, {"spec": {"processors": [new]}})
            await kubernetes.delete(KIND, old, installation.namespace)
            release.set()
        body = await end_of(kubernetes, namespace)
        found = {
            (row["processor"], row["recipient"]): (row["state"], row.get("reason"))
            for row in body["status"]["deliveries"]
        }
        assert found == {
            (old, ADA): ("Sent", None),
            (old, GRACE): ("Skipped", "Filtered"),
            (new, ADA): ("Sent", None),
            (new, GRACE): ("Sent", None),
        }
        assert peer.ledger.recipients == ["ada@example.com"]
        assert sorted(other.ledger.recipients) == ["ada@example.com", "grace@example.com"]


@pytest.mark.parametrize(
    ("cache", "reached"),
    [({"ttl": 0}, ["a", "moved"]), ({"ttl": "1h"}, ["a", "b", "c"])],
    ids=["looked-up", "remembered"],
)
async def test_catalog_changed(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
    cache: Object,
    reached: list[str],
) -> None:
    """Whom it reaches was settled; where they are reached is looked up when it is sent."""
    team = f"team-{uuid.uuid4().hex[:8]}"
    metadata = {
        "name": team,
        "namespace": installation.namespace,
        "labels": {"notifications.orchestrator.io/catalog": "true"},
    }
    before = entities(team, a="a@example.com", b="b@example.com", c="c@example.com")
    await kubernetes.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": before}}
    )
    try:
        async with SMTPPeer() as peer:
            processor = await add_processor(smtp(peer), email={**ONE_AT_A_TIME, "cache": cache})
            group = f"group:default/{team}"
            manifest = notification("moving", namespace, group, title=title, processors=[processor])
            async with on_its_way(kubernetes, peer, manifest) as release:
                after = entities(team, a="a@example.com", b="moved@example.com", d="d@example.com")
                await kubernetes.patch(
                    "ConfigMap", team, installation.namespace, {"data": {"a": after}}
                )
                await forgotten(kubernetes, namespace, f"user:default/{team}-c")
                release.set()
            body = await end_of(kubernetes, namespace)
            found = {name.rpartition("-")[2]: end for name, end in ends(body).items()}
            last = ("Sent", None) if "c" in reached else ("Failed", "UnknownEntities")
            assert found == {"a": ("Sent", None), "b": ("Sent", None), "c": last}
            assert peer.ledger.recipients == [f"{name}@example.com" for name in reached]
    finally:
        await kubernetes.delete("ConfigMap", team, installation.namespace)


async def forgotten(kubernetes: Kubernetes, namespace: str, ref: str) -> None:
    """Wait until the catalog does not know a user any more."""
    async with asyncio.timeout(30):
        for number in count():
            name = f"probe-{number}"
            await kubernetes.create(notification(name, namespace, ref, title="probe"))
            body = await kubernetes.wait(
                "Notification",
                name,
                namespace,
                lambda body: complete(body) or unknown(body),
            )
            if unknown(body):
                return


unknown = condition_is("RecipientsResolved", "False", "UnknownEntities")


def entities(team: str, **members: str) -> str:
    """Return a group and its members, each with an address."""
    names = ", ".join(f"{team}-{name}" for name in members)
    head = "apiVersion: backstage.io/v1alpha1\nkind: "
    text = f"{head}Group\nmetadata: {{name: {team}}}\n"
    text += f"spec: {{type: team, children: [], members: [{names}]}}\n"
    for name, address in members.items():
        text += f"---\n{head}User\nmetadata: {{name: {team}-{name}}}\n"
        text += f"spec: {{profile: {{email: {address}}}, memberOf: []}}\n"
    return text


async def test_secret_rotated(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    """The next mail needs a new session, and the old password is not valid any more."""
    authority = CertificateAuthority()
    async with SMTPPeer(
        tls=TLSMode.STARTTLS,
        certificate=authority.valid(),
        username="u",
        password="old",
        max_messages=1,
    ) as peer:
        processor = await add_processor(
            smtp(peer, tls={"insecureSkipVerify": True}),
            email=ONE_AT_A_TIME,
            secret={"username": "u", "password": "old"},
        )
        manifest = notification(
            "moving", namespace, ADA, GRACE, title=title, processors=[processor]
        )
        async with on_its_way(kubernetes, peer, manifest) as release:
            peer.password = "new"
            patch = {"stringData": {"password": "new"}}
            await kubernetes.patch("Secret", processor, installation.namespace, patch)
            release.set()
        body = await end_of(kubernetes, namespace)
        assert ends(body) == {ADA: ("Sent", None), GRACE: ("Sent", None)}
        assert [row["attempts"] for row in rows(body).values()] == [1, 1]
        assert peer.ledger.recipients == ["ada@example.com", "grace@example.com"]
