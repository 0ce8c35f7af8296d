"""What edits, re-applies, restarts and redeliveries send, and what they do not."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.installation import AddProcessor, Installation, kubectl
from tests.support.kubernetes import (
    Kubernetes,
    Object,
    complete,
    condition_is,
    notification,
    rows,
    state_is,
)
from tests.support.mail import Catcher
from tests.support.smtp import SMTPPeer, Step

pytestmark = pytest.mark.cluster

REDELIVER = "notifications.orchestrator.io/redeliver"


def revision_is(number: int) -> Callable[[Object], bool]:
    """Return a check for a completed revision."""
    return lambda body: complete(body) and body["status"]["revision"] == number


async def edit_title(kubernetes: Kubernetes, name: str, namespace: str, title: str) -> Object:
    return await kubernetes.patch(
        "Notification", name, namespace, {"spec": {"payload": {"title": title}}}
    )


async def test_an_edit_of_the_payload_sends_again_as_an_update(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    await kubernetes.create(notification("edit", namespace, "user:default/ada", title=title))
    await kubernetes.wait("Notification", "edit", namespace, complete)
    await edit_title(kubernetes, "edit", namespace, f"{title} new")
    body = await kubernetes.wait("Notification", "edit", namespace, revision_is(2))
    first, second = catcher.mails(title)
    assert body["status"]["summary"] == "1/1"
    assert first["messageId"] != second["messageId"]
    headers = dict(second["headers"])
    assert headers["References"].strip() == first["messageId"]


async def test_back_and_forth_sends_three_times(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    await kubernetes.create(notification("aba", namespace, "user:default/ada", title=f"{title} A"))
    await kubernetes.wait("Notification", "aba", namespace, complete)
    await edit_title(kubernetes, "aba", namespace, f"{title} B")
    await kubernetes.wait("Notification", "aba", namespace, revision_is(2))
    await edit_title(kubernetes, "aba", namespace, f"{title} A")
    await kubernetes.wait("Notification", "aba", namespace, revision_is(3))
    subjects = [mail["subject"] for mail in catcher.mails(title)]
    assert subjects == [f"{title} A", f"{title} B", f"{title} A"]
    assert len({mail["messageId"] for mail in catcher.mails(title)}) == 3


async def test_an_edit_of_the_recipients_reaches_the_new_ones_only(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    await kubernetes.create(notification("who", namespace, "user:default/ada", title=title))
    await kubernetes.wait("Notification", "who", namespace, complete)
    refs = {"entityRefs": ["user:default/grace"]}
    await kubernetes.patch("Notification", "who", namespace, {"spec": {"recipients": refs}})
    body = await kubernetes.wait(
        "Notification",
        "who",
        namespace,
        lambda body: complete(body) and "user:default/grace" in rows(body),
    )
    assert catcher.recipients(title) == ["ada@example.com", "grace@example.com"]
    assert {ref: row["state"] for ref, row in rows(body).items()} == {
        "user:default/ada": "Sent",
        "user:default/grace": "Sent",
    }
    assert body["status"]["revision"] == 1


async def test_what_is_not_an_edit_sends_nothing(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    """Re-apply, relabel, a field that says nothing, and a restart in between."""
    admin = installation.cluster.kubeconfig
    manifest = json.dumps(notification("same", namespace, "user:default/ada", title=title))
    kubectl(admin, "apply", "-f", "-", stdin=manifest)
    await kubernetes.wait("Notification", "same", namespace, complete)
    kubectl(admin, "apply", "-f", "-", stdin=manifest)
    kubectl(admin, "label", "ntf", "same", "--namespace", namespace, "some=label")
    installation.stop()
    installation.start()
    installation.wait_ready()
    kubectl(admin, "apply", "-f", "-", stdin=manifest)
    await kubernetes.patch(
        "Notification", "same", namespace, {"spec": {"ttlSecondsAfterFinished": 86400}}
    )
    await kubernetes.wait(
        "Notification",
        "same",
        namespace,
        lambda body: body["status"]["observedGeneration"] == 2 and complete(body),
    )
    await kubernetes.create(notification("marker", namespace, "user:default/ada", title="marker"))
    await kubernetes.wait("Notification", "marker", namespace, complete)
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_redeliver_sends_to_the_failed_and_all_sends_to_everyone(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port}
        )
        peer.fail(Step.RCPT, "550 5.1.1 no such user", recipient="grace@example.com")
        refs = ("user:default/ada", "user:default/grace")
        await kubernetes.create(
            notification("again", namespace, *refs, title=title, processors=[processor])
        )
        body = await kubernetes.wait("Notification", "again", namespace, complete)
        assert body["status"]["state"] == "PartiallyDelivered"
        failed = rows(body)["user:default/grace"]
        assert (failed["reason"], failed["code"], failed["enhancedCode"]) == (
            "RecipientRejected",
            550,
            "5.1.1",
        )

        async def redeliver(value: str) -> None:
            patch = {"metadata": {"annotations": {REDELIVER: value}}}
            await kubernetes.patch("Notification", "again", namespace, patch)
            await kubernetes.wait(
                "Notification",
                "again",
                namespace,
                lambda body: complete(body) and body["status"].get("lastRedeliver") == value,
            )

        await redeliver("one")
        assert sorted(peer.ledger.recipients) == ["ada@example.com", "grace@example.com"]
        await redeliver("all:two")
        assert sorted(peer.ledger.recipients) == sorted(
            2 * ["ada@example.com", "grace@example.com"]
        )
        assert len(set(peer.ledger.message_ids)) == 4
        assert peer.ledger.violations == []


async def test_a_redeliver_value_at_first_sight_is_only_recorded(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    manifest = notification("born", namespace, "user:default/ada", title=title)
    manifest["metadata"]["annotations"] = {REDELIVER: "all:already"}
    await kubernetes.create(manifest)
    body = await kubernetes.wait("Notification", "born", namespace, complete)
    assert body["status"]["lastRedeliver"] == "all:already"
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_delete_while_pending_cancels(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port},
            retry={"minDelay": "1s", "maxDelay": "1s"},
        )
        peer.fail(Step.RCPT, "450 4.2.1 try later", times=None)
        await kubernetes.create(
            notification(
                "doomed", namespace, "user:default/ada", title=title, processors=[processor]
            )
        )
        await kubernetes.wait(
            "Notification", "doomed", namespace, lambda body: "Retrying" in str(rows(body))
        )
        await kubernetes.delete("Notification", "doomed", namespace)
        await kubernetes.wait_gone("Notification", "doomed", namespace)
        peer.script.clear()
        # Its retry was due before this one's mail is through.
        await kubernetes.create(
            notification(
                "after", namespace, "user:default/grace", title=title, processors=[processor]
            )
        )
        await kubernetes.wait("Notification", "after", namespace, complete)
        assert peer.ledger.recipients == ["grace@example.com"]


async def test_suspend_holds_and_resume_sends(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    await kubernetes.create(
        notification("held", namespace, "user:default/ada", title=title, suspend=True)
    )
    await kubernetes.wait("Notification", "held", namespace, state_is("Suspended"))
    assert catcher.mails(title) == []
    await kubernetes.patch("Notification", "held", namespace, {"spec": {"suspend": False}})
    await kubernetes.wait("Notification", "held", namespace, complete)
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_created_after_its_own_expiry_sends_nothing(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    await kubernetes.create(
        notification(
            "late", namespace, "user:default/ada", title=title, expiresAt="2020-01-01T00:00:00Z"
        )
    )
    body = await kubernetes.wait("Notification", "late", namespace, complete)
    assert body["status"]["state"] == "Expired"
    assert condition_is("Ready", "True", "Expired")(body)
    assert catcher.mails(title) == []
