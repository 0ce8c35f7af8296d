"""Every reason that a delivery or a processor can have, said by a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.installation import AddProcessor, Installation, kubectl
from tests.support.kubernetes import (
    Kubernetes,
    Object,
    complete,
    condition_is,
    notification,
    rows,
)
from tests.support.mail import Catcher
from tests.support.smtp import Reset, SMTPPeer, Step
from tests.support.smtp.script import Action

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installation")]

ANSWERS: dict[str, tuple[Step, Action | str, str, str]] = {
    "unknown@example.com": (Step.RCPT, "550 5.1.1 no such user", "Failed", "RecipientRejected"),
    "syntax@example.com": (Step.RCPT, "501 5.1.3 bad address", "Failed", "InvalidAddress"),
    "denied@example.com": (Step.RCPT, "550 5.7.1 relaying denied", "Failed", "PolicyDenied"),
    "spam@example.com": (Step.END, "554 5.5.0 refused", "Failed", "ContentRejected"),
    "large@example.com": (Step.END, "552 5.2.3 too large", "Failed", "TooLarge"),
    "full@example.com": (Step.RCPT, "452 4.2.2 mailbox full", "Retrying", "MailboxFull"),
    "grey@example.com": (Step.RCPT, "451 4.7.1 greylisted", "Retrying", "Greylisted"),
    "fast@example.com": (Step.RCPT, "450 4.7.0 slow down", "Retrying", "RateLimited"),
    "busy@example.com": (Step.RCPT, "451 4.3.0 local error", "Retrying", "ServerBusy"),
    "cut@example.com": (Step.DATA, Reset(), "Retrying", "ConnectFailed"),
    "doubt@example.com": (Step.END, Reset(), "Retrying", "Ambiguous"),
}
"""What the server does to one address, and what becomes of its delivery."""


async def test_each_answer_has_its_reason_and_concerns_one_recipient(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as peer:
        processor = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port},
            email={
                "broadcastConfig": {
                    "receiver": "config",
                    "receiverEmails": ["fine@example.com", "listed@example.com", *ANSWERS],
                },
                "denylistEmailAddresses": ["listed@example.com"],
                "throttleInterval": {"milliseconds": 0},
            },
        )
        for address, (step, action, _, _) in ANSWERS.items():
            peer.fail(step, action, times=None, recipient=address)
        await kubernetes.create(
            notification("answers", namespace, title=title, processors=[processor])
        )
        # What does not say whose fault it is fails once somebody else was accepted after it.
        await kubernetes.wait("Notification", "answers", namespace, are_tried)
        await kubernetes.create(
            notification("other", namespace, "user:default/ada", title="o", processors=[processor])
        )
        expected: dict[str, tuple[str, str | None]] = {
            address: (state, why) for address, (_, _, state, why) in ANSWERS.items()
        }
        expected["listed@example.com"] = ("Skipped", "Blocked")
        expected["fine@example.com"] = ("Sent", None)
        body = await kubernetes.wait(
            "Notification", "answers", namespace, lambda body: found(body) == expected
        )
        assert sorted(peer.ledger.recipients) == ["ada@example.com", "fine@example.com"]
        assert peer.ledger.violations == []
    for address, row in rows(body).items():
        assert ("nextAttemptTime" in row) == (expected[address][0] == "Retrying"), address
    assert body["status"]["state"] == "Delivering"
    (counts,) = body["status"]["processors"]
    numbers = {name: counts[name] for name in ("sent", "failed", "skipped", "retrying")}
    assert numbers == {"sent": 1, "failed": 5, "skipped": 1, "retrying": 6}


def are_tried(body: Object) -> bool:
    """Whether every delivery was tried or left out."""
    states = {row["state"] for row in rows(body).values()}
    return bool(states) and states.isdisjoint({"Pending", "Claimed"})


def found(body: Object) -> dict[str, tuple[str, str | None]]:
    return {name: (row["state"], row.get("reason")) for name, row in rows(body).items()}


@pytest.fixture
async def sendmail(installation: Installation, tmp_path: Path) -> AsyncIterator[Path]:
    """The operator restarted with a program of this test's as sendmail."""
    program = tmp_path / "sendmail"
    program.write_text("#!/bin/sh\ncat > /dev/null\nexit 99\n")
    program.chmod(0o755)
    await asyncio.to_thread(installation.stop)
    before = dict(installation.settings)
    installation.settings["NOTIFICATIONS_SENDMAIL_PATHS"] = json.dumps([str(program)])
    try:
        installation.start()
        await asyncio.to_thread(installation.wait_ready)
        yield program
        await asyncio.to_thread(installation.stop)
    finally:
        installation.settings = before
    installation.start()
    await asyncio.to_thread(installation.wait_ready)


async def test_what_has_no_reason_of_its_own_is_unknown(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    add_processor: AddProcessor,
    sendmail: Path,
) -> None:
    processor = await add_processor(
        {"transport": "sendmail", "path": str(sendmail)}, retry={"maxAttempts": 1}
    )
    await kubernetes.create(
        notification("odd", namespace, "user:default/ada", title=title, processors=[processor])
    )
    body = await kubernetes.wait("Notification", "odd", namespace, complete)
    row = rows(body)["user:default/ada"]
    assert (row["state"], row["reason"], row["code"]) == ("Failed", "Unknown", 99)


@contextlib.contextmanager
def unanswered_port() -> Iterator[int]:
    """A port whose queue of connections is full, so that the kernel answers no further one."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port: int = server.getsockname()[1]
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(("127.0.0.1", port))
        yield port


async def test_each_trouble_of_a_processor_has_its_reason_there_and_on_its_rows(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    with unanswered_port() as silent:
        async with SMTPPeer() as peer:
            troubles = {
                "Timeout": {"hostname": "127.0.0.1", "port": silent},
                "DNSFailed": {"hostname": "nobody.invalid", "port": 25},
                "TLSFailed": {"hostname": "127.0.0.1", "port": peer.port, "requireTls": True},
                "InvalidConfig": {"hostname": "two..dots", "port": 25},
            }
            for reason, transport in troubles.items():
                name = await add_processor({"transport": "smtp", **transport}, ready=False)
                troubles[reason] = {"name": name}
                await kubernetes.create(
                    notification(
                        reason.lower(),
                        namespace,
                        "user:default/ada",
                        title=title,
                        processors=[name],
                    )
                )
            for reason, processor in troubles.items():
                name = str(processor["name"])
                seen = condition_is("Ready", "False", reason)
                await kubernetes.wait(
                    "NotificationProcessor", name, installation.namespace, seen, seconds=90
                )
                body = await kubernetes.wait(
                    "Notification", reason.lower(), namespace, blames(reason)
                )
                assert body["status"]["state"] == "Pending"
                assert all(row["attempts"] == 0 for row in rows(body).values())
            assert peer.ledger.messages == []


def blames(reason: str) -> Callable[[Object], bool]:
    """Return a check that all rows are pending for a reason."""
    return lambda body: set(found(body).values()) == {("Pending", reason)}


async def test_a_sender_that_is_refused_is_a_configuration_that_cannot_work(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    async with SMTPPeer() as peer:
        name = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port}
        )
        peer.fail(Step.MAIL, "553 5.1.8 sender address rejected", times=None)
        await kubernetes.create(
            notification("sender", namespace, "user:default/ada", title=title, processors=[name])
        )
        await kubernetes.wait(
            "NotificationProcessor",
            name,
            installation.namespace,
            condition_is("Ready", "False", "InvalidConfig"),
        )
        await kubernetes.wait("Notification", "sender", namespace, blames("InvalidConfig"))
        peer.script.clear()
        await kubernetes.wait("Notification", "sender", namespace, complete, seconds=60)
        assert peer.ledger.recipients == ["ada@example.com"]


async def test_credentials_that_are_refused_are_blamed_on_the_rows(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    """The server asks for them in the middle, though it took the session without."""
    async with SMTPPeer() as peer:
        name = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port}
        )
        peer.fail(Step.MAIL, "530 5.7.0 authentication required", times=None)
        await kubernetes.create(
            notification("auth", namespace, "user:default/ada", title=title, processors=[name])
        )
        await kubernetes.wait("Notification", "auth", namespace, blames("AuthFailed"))
        assert peer.ledger.messages == []


@pytest.fixture
async def no_secrets(
    kubernetes: Kubernetes, installation: Installation
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The operator may not read Secrets; calling what this yields lets it again."""
    where = installation.namespace
    roles = [
        role
        for role in await kubernetes.list("Role", where)
        if any("secrets" in rule["resources"] for rule in role["rules"])
    ]
    assert roles

    async def give_back() -> None:
        for role in roles:
            patch = {"rules": role["rules"]}
            await kubernetes.patch("Role", role["metadata"]["name"], where, patch)

    try:
        for role in roles:
            rules = [rule for rule in role["rules"] if "secrets" not in rule["resources"]]
            await kubernetes.patch("Role", role["metadata"]["name"], where, {"rules": rules})
        account = f"system:serviceaccount:{where}:{installation.account}"
        question = ("auth", "can-i", "get", "secrets", "-n", where, f"--as={account}")
        async with asyncio.timeout(30):
            while kubectl(
                installation.cluster.kubeconfig, *question, check=False
            ).stdout.startswith("yes"):
                await asyncio.sleep(0.1)
        yield give_back
    finally:
        await give_back()


async def test_a_processor_whose_secret_cannot_be_read_is_connecting(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
    no_secrets: Callable[[], Awaitable[None]],
) -> None:
    name = await add_processor(
        {
            "transport": "smtp",
            "hostname": "127.0.0.1",
            "port": catcher.port,
            "tls": {"caSecretRef": {"name": "mail-ca", "key": "ca.crt"}},
        },
        ready=False,
        secret={"username": "my-username", "password": "my-password"},
    )
    await kubernetes.create(
        notification("early", namespace, "user:default/ada", title=title, processors=[name])
    )
    body = await kubernetes.wait(
        "NotificationProcessor",
        name,
        installation.namespace,
        condition_is("Ready", "False", "Connecting"),
    )
    assert "could not read Secrets" in body["status"]["conditions"][0]["message"]
    await no_secrets()
    await kubernetes.wait("Notification", "early", namespace, complete, seconds=60)
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_a_broadcast_waits_for_the_first_user_of_the_catalog(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    label = "notifications.orchestrator.io/catalog"
    where = installation.namespace
    catalogs = [
        item["metadata"]["name"]
        for item in await kubernetes.list("ConfigMap", where)
        if item["metadata"].get("labels", {}).get(label) == "true"
    ]
    assert catalogs

    async def show(value: str | None) -> None:
        patch = {"metadata": {"labels": {label: value}}}
        for name in catalogs:
            await kubernetes.patch("ConfigMap", name, where, patch)

    await show(None)
    try:
        async with asyncio.timeout(30):
            while installation.metric("notifications_catalog_users"):
                await asyncio.sleep(0.05)
        await kubernetes.create(notification("all", namespace, title=title))
        body = await kubernetes.wait(
            "Notification",
            "all",
            namespace,
            condition_is("RecipientsResolved", "False", "CatalogEmpty"),
        )
        assert body["status"]["state"] == "Pending"
        assert catcher.mails(title) == []
    finally:
        await show("true")
    body = await kubernetes.wait("Notification", "all", namespace, complete)
    assert body["status"]["state"] == "Delivered"
    assert "ada@example.com" in catcher.recipients(title)
