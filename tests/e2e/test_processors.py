"""Processors that cannot send: what their status says, and that mail goes when they can."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.support.installation import AddProcessor, Installation, free_port
from tests.support.kubernetes import (
    Kubernetes,
    Object,
    complete,
    condition_is,
    notification,
    rows,
)
from tests.support.mail import Catcher
from tests.support.smtp import CertificateAuthority, Reply, Reset, SMTPPeer, Step, TLSMode

pytestmark = pytest.mark.cluster


def planned(body: Object) -> bool:
    return bool(body["status"].get("revision") == 1)


CANARY = "c4nary-pa55word"


def smtp(port: int, **fields: Any) -> Object:
    return {"transport": "smtp", "hostname": "127.0.0.1", "port": port, **fields}


async def ready(
    kubernetes: Kubernetes, installation: Installation, name: str, status: str, reason: str
) -> str:
    """Wait for a processor's Ready condition and return its message."""
    body = await kubernetes.wait(
        "NotificationProcessor",
        name,
        installation.namespace,
        condition_is("Ready", status, reason),
    )
    message: str = body["status"]["conditions"][0]["message"]
    return message


async def test_a_missing_secret_is_named_and_mail_goes_when_it_appears(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    catcher: Catcher,
    title: str,
    add_processor: AddProcessor,
) -> None:
    name = await add_processor(
        smtp(catcher.port, tls={"caSecretRef": {"name": "mail-ca", "key": "ca.crt"}}),
        ready=False,
        secretRef={"name": "not-yet"},
    )
    message = await ready(kubernetes, installation, name, "False", "SecretNotFound")
    assert "notifications-system/not-yet" in message
    assert "username" in message and "password" in message
    await kubernetes.create(
        notification("waits", namespace, "user:default/ada", title=title, processors=[name])
    )
    body = await kubernetes.wait(
        "Notification", "waits", namespace, lambda body: "not-yet" in str(rows(body))
    )
    assert body["status"]["state"] == "Pending"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "not-yet", "namespace": installation.namespace},
        "stringData": {"username": "my-username"},
    }
    await kubernetes.create(secret)
    try:
        body = await kubernetes.wait(
            "NotificationProcessor",
            name,
            installation.namespace,
            lambda body: "has no key 'password'" in str(body["status"]),
        )
        await kubernetes.patch(
            "Secret", "not-yet", installation.namespace, {"stringData": {"password": "my-password"}}
        )
        await kubernetes.wait("Notification", "waits", namespace, complete)
    finally:
        await kubernetes.delete("Secret", "not-yet", installation.namespace)
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_a_relay_that_wants_a_name_takes_mail_when_it_has_one(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    title: str,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer(refused_names=re.compile(r"\[127\.")) as peer:
        name = await add_processor(smtp(peer.port), ready=False)
        assert "(EHLO)" in await ready(kubernetes, installation, name, "False", "ConnectFailed")
        await kubernetes.create(
            notification("named", namespace, "user:default/ada", title=title, processors=[name])
        )
        transport = {"name": "notifications.example.com"}
        await kubernetes.patch(
            "NotificationProcessor",
            name,
            installation.namespace,
            {"spec": {"email": {"transportConfig": transport}}},
        )
        await kubernetes.wait("Notification", "named", namespace, complete)
        assert peer.ledger.recipients == ["ada@example.com"]
        assert set(peer.ledger.client_names) == {"[127.0.0.1]", "notifications.example.com"}


async def test_a_server_that_is_down_is_retried_and_costs_no_attempt(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    title: str,
    add_processor: AddProcessor,
) -> None:
    port = free_port()
    name = await add_processor(smtp(port), ready=False)
    await ready(kubernetes, installation, name, "False", "ConnectFailed")
    await kubernetes.create(
        notification("down", namespace, "user:default/ada", title=title, processors=[name])
    )
    body = await kubernetes.wait("Notification", "down", namespace, planned)
    assert rows(body)["user:default/ada"]["state"] == "Pending"
    async with SMTPPeer(port=port) as peer:
        body = await kubernetes.wait("Notification", "down", namespace, complete)
        assert peer.ledger.recipients == ["ada@example.com"]
    assert rows(body)["user:default/ada"]["attempts"] == 1
    await ready(kubernetes, installation, name, "True", "Connected")


async def test_a_server_that_breaks_later_opens_the_breaker(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    title: str,
    add_processor: AddProcessor,
) -> None:
    port = free_port()
    async with SMTPPeer(port=port):
        name = await add_processor(smtp(port))
    await kubernetes.create(
        notification("later", namespace, "user:default/ada", title=title, processors=[name])
    )
    body = await kubernetes.wait(
        "Notification", "later", namespace, lambda body: "ConnectFailed" in str(rows(body))
    )
    row = rows(body)["user:default/ada"]
    assert (row["state"], row["attempts"]) == ("Pending", 0)
    await ready(kubernetes, installation, name, "False", "ConnectFailed")
    async with SMTPPeer(port=port) as peer:
        await kubernetes.wait("Notification", "later", namespace, complete)
        assert peer.ledger.recipients == ["ada@example.com"]


async def test_credentials_are_never_sent_in_clear(
    kubernetes: Kubernetes, installation: Installation, add_processor: AddProcessor
) -> None:
    """A server without STARTTLS that offers AUTH all the same."""
    async with SMTPPeer(username="u", password=CANARY, auth_offered_in_clear=True) as peer:
        name = await add_processor(
            smtp(peer.port), ready=False, secret={"username": "u", "password": CANARY}
        )
        message = await ready(kubernetes, installation, name, "False", "TLSFailed")
        assert "STARTTLS" in message
        assert peer.ledger.clear_credentials == 0
        assert "AUTH" not in peer.ledger.verbs()


async def test_a_bad_certificate_is_refused(
    kubernetes: Kubernetes, installation: Installation, add_processor: AddProcessor
) -> None:
    authority = CertificateAuthority()
    async with SMTPPeer(
        tls=TLSMode.STARTTLS, certificate=authority.valid(), username="u", password=CANARY
    ) as peer:
        name = await add_processor(
            smtp(peer.port), ready=False, secret={"username": "u", "password": CANARY}
        )
        await ready(kubernetes, installation, name, "False", "TLSFailed")
        assert "AUTH" not in peer.ledger.verbs()


async def test_refused_credentials_are_not_hammered_and_leak_nowhere(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    title: str,
    add_processor: AddProcessor,
) -> None:
    authority = CertificateAuthority()
    async with SMTPPeer(
        tls=TLSMode.STARTTLS, certificate=authority.valid(), username="u", password="right"
    ) as peer:
        peer.fail(Step.AUTH, Reply(f"535 5.7.8 no such login u:{CANARY}"), times=None)
        name = await add_processor(
            smtp(peer.port, tls={"insecureSkipVerify": True}),
            ready=False,
            secret={"username": "u", "password": CANARY},
        )
        await ready(kubernetes, installation, name, "False", "AuthFailed")
        await kubernetes.create(
            notification("auth", namespace, "user:default/ada", title=title, processors=[name])
        )
        await kubernetes.wait("Notification", "auth", namespace, planned)
        # PLAIN, and LOGIN because there are servers on which only that works.
        assert peer.ledger.verbs().count("AUTH") == 2
        processor = await kubernetes.get("NotificationProcessor", name, installation.namespace)
        events = await kubernetes.list("Event", installation.namespace)
        assert CANARY not in str(processor) + str(events) + installation.log.read_text()
        # The right password gets through as soon as it is in the Secret.
        peer.script.clear()
        patch = {"stringData": {"password": "right"}}
        await kubernetes.patch("Secret", name, installation.namespace, patch)
        await kubernetes.wait("Notification", "auth", namespace, complete)
        assert peer.ledger.recipients == ["ada@example.com"]


async def test_a_lost_answer_is_ambiguous_and_sent_again_under_one_message_id(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer() as peer:
        name = await add_processor(smtp(peer.port), retry={"minDelay": "1s", "maxDelay": "1s"})
        peer.fail(Step.END, Reset(), recorded=True)
        await kubernetes.create(
            notification("doubt", namespace, "user:default/ada", title=title, processors=[name])
        )
        await kubernetes.wait(
            "Notification", "doubt", namespace, lambda body: "Ambiguous" in str(rows(body))
        )
        body = await kubernetes.wait("Notification", "doubt", namespace, complete)
        assert rows(body)["user:default/ada"]["attempts"] == 2
        assert len(peer.ledger.messages) == 2
        assert len(set(peer.ledger.message_ids)) == 1


async def test_a_lost_answer_can_be_held_for_a_person_to_decide(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer() as peer:
        name = await add_processor(smtp(peer.port), onAmbiguous="Hold")
        peer.fail(Step.END, Reset(), recorded=True)
        await kubernetes.create(
            notification("hold", namespace, "user:default/ada", title=title, processors=[name])
        )
        body = await kubernetes.wait("Notification", "hold", namespace, complete)
        row = rows(body)["user:default/ada"]
        assert (row["state"], row["reason"]) == ("Unknown", "Ambiguous")
        assert condition_is("Delivered", "False")(body)
        assert len(peer.ledger.messages) == 1


async def test_a_processor_that_does_not_exist_is_named_with_those_that_do(
    kubernetes: Kubernetes, namespace: str, title: str, installation: Installation
) -> None:
    await kubernetes.create(
        notification("typo", namespace, "user:default/ada", title=title, processors=["emial"])
    )
    body = await kubernetes.wait("Notification", "typo", namespace, complete)
    assert body["status"]["state"] == "Failed"
    (row,) = body["status"]["deliveries"]
    assert row["reason"] == "ProcessorNotFound"
    assert "'emial'" in row["message"] and "email" in row["message"]


async def test_without_any_processor_a_notification_says_so_and_goes_when_one_appears(
    kubernetes: Kubernetes, namespace: str, title: str, catcher: Catcher, installation: Installation
) -> None:
    own = await kubernetes.get("NotificationProcessor", "email", installation.namespace)
    await kubernetes.delete("NotificationProcessor", "email", installation.namespace)
    try:
        await kubernetes.create(
            notification("early", namespace, "user:default/ada", title=title, processors=[])
        )
        body = await kubernetes.wait(
            "Notification",
            "early",
            namespace,
            lambda body: body["status"].get("reason") == "ProcessorNotFound",
        )
        assert installation.namespace in str(body["status"]["conditions"])
        assert condition_is("RecipientsResolved", "Unknown")(body)
    finally:
        metadata = {key: own["metadata"][key] for key in ("name", "namespace", "labels")}
        metadata["annotations"] = own["metadata"].get("annotations", {})
        await kubernetes.create(
            {key: own[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
        )
    await kubernetes.wait("Notification", "early", namespace, complete)
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_deleting_a_processor_fails_what_waits_for_it(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    name = await add_processor(smtp(free_port()), ready=False)
    await kubernetes.create(
        notification("orphan", namespace, "user:default/ada", title=title, processors=[name])
    )
    await kubernetes.wait("Notification", "orphan", namespace, planned)
    await kubernetes.delete("NotificationProcessor", name, installation.namespace)
    body = await kubernetes.wait("Notification", "orphan", namespace, complete)
    assert rows(body)["user:default/ada"]["reason"] == "ProcessorNotFound"
    assert condition_is("Stalled", "True")(body)


async def test_a_processor_elsewhere_is_not_used(
    kubernetes: Kubernetes, namespace: str, installation: Installation
) -> None:
    await kubernetes.create(
        {
            "apiVersion": "notifications.orchestrator.io/v1alpha1",
            "kind": "NotificationProcessor",
            "metadata": {"name": "mine", "namespace": namespace},
            "spec": {
                "type": "email",
                "email": {"transportConfig": {"transport": "stream"}, "sender": "a@example.com"},
            },
        }
    )
    body = await kubernetes.wait(
        "NotificationProcessor", "mine", namespace, condition_is("Ready", "False", "NotAllowed")
    )
    assert installation.namespace in body["status"]["conditions"][0]["message"]


async def test_one_bad_processor_does_not_delay_another(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    broken = await add_processor(smtp(free_port()), ready=False)
    async with SMTPPeer() as peer:
        working = await add_processor(smtp(peer.port))
        await kubernetes.create(
            notification(
                "both",
                namespace,
                "user:default/ada",
                title=title,
                processors=[broken, working],
            )
        )
        body = await kubernetes.wait(
            "Notification",
            "both",
            namespace,
            lambda body: any(item["sent"] for item in body["status"].get("processors", [])),
        )
        assert peer.ledger.recipients == ["ada@example.com"]
        assert body["status"]["state"] == "Delivering"


async def test_a_sender_that_is_refused_for_good_is_tried_less_and_less(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    title: str,
    add_processor: AddProcessor,
) -> None:
    """Connecting works every time, so only the sends can tell that nothing has changed."""
    async with SMTPPeer() as peer:
        name = await add_processor(smtp(peer.port))
        peer.fail(Step.MAIL, "550 5.7.60 not allowed to send as this sender", times=None)
        await kubernetes.create(
            notification("denied", namespace, "user:default/ada", title=title, processors=[name])
        )
        await ready(kubernetes, installation, name, "False", "PolicyDenied")
        clock = asyncio.get_running_loop().time
        moments = []
        for count in (1, 2, 3):
            await peer.ledger.wait_for_verb("MAIL", count, timeout=30)
            moments.append(clock())
        assert moments[2] - moments[1] > 1.5 * (moments[1] - moments[0])
        row = rows(await kubernetes.get("Notification", "denied", namespace))["user:default/ada"]
        assert (row["state"], row["attempts"]) in (("Pending", 0), ("Claimed", 1))
        assert row.get("reason") in ("PolicyDenied", None)
