"""From ``kubectl apply`` to the mailbox: who gets the mail, and what the resource says."""

from __future__ import annotations

import pytest

from tests.support.kubernetes import Kubernetes, complete, condition_is, notification, rows
from tests.support.mail import Catcher

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installation")]

TREE = ["ada@example.com", "edsger@example.com", "grace@example.com"]


async def test_one_user_gets_one_mail(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str
) -> None:
    payload = {"description": "Line 1\n<b>Line 2</b>", "link": "/catalog", "severity": "high"}
    await kubernetes.create(
        notification("one", namespace, "user:default/ada", title=title, payload=payload)
    )
    body = await kubernetes.wait("Notification", "one", namespace, complete)
    (mail,) = catcher.mails(title)
    assert mail["rcptTo"] == ["ada@example.com"]
    assert mail["tls"] and mail["user"] == "my-username"
    assert mail["mailFrom"] == "sender@mycompany.com"
    assert "no-reply@mycompany.com" in mail["replyTo"]
    assert "https://portal.example.com/base/catalog" in mail["text"]
    assert "&lt;b&gt;Line 2&lt;/b&gt;" in mail["html"]
    assert f"namespace:{namespace}" in mail["text"]
    status = body["status"]
    assert (status["state"], status["summary"]) == ("Delivered", "1/1")
    row = rows(body)["user:default/ada"]
    assert (row["state"], row["attempts"], row["code"]) == ("Sent", 1, 250)
    for kind, expected in {"Ready": "True", "Reconciling": "False", "Stalled": "False"}.items():
        assert condition_is(kind, expected)(body)


async def test_a_group_tree_with_a_cycle_reaches_everyone_once(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str
) -> None:
    await kubernetes.create(notification("tree", namespace, "group:default/root", title=title))
    body = await kubernetes.wait("Notification", "tree", namespace, complete)
    assert catcher.recipients(title) == [
        "ada@example.com",
        "edsger@example.com",
        "grace@example.com",
    ]
    assert body["status"]["summary"] == "3/3"
    assert body["status"]["recipients"]["users"] == 3


async def test_refs_are_case_insensitive_and_name_one_recipient(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str
) -> None:
    refs = ("user:default/ada", "User:Default/ADA", "user:ada")
    await kubernetes.create(notification("case", namespace, *refs, title=title))
    await kubernetes.wait("Notification", "case", namespace, complete)
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_a_component_means_its_owner(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str
) -> None:
    await kubernetes.create(
        notification("owner", namespace, "component:default/website", title=title)
    )
    await kubernetes.wait("Notification", "owner", namespace, complete)
    # child, its child grandchild, and by the cycle root again.
    assert catcher.recipients(title) == [
        "ada@example.com",
        "edsger@example.com",
        "grace@example.com",
    ]


async def test_exclusions_prune_groups_and_drop_users(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str
) -> None:
    manifest = notification("exclude", namespace, "group:default/root", title=title)
    manifest["spec"]["recipients"]["excludeEntityRefs"] = [
        "Group:Default/Grandchild",
        "user:default/ADA",
    ]
    await kubernetes.create(manifest)
    await kubernetes.wait("Notification", "exclude", namespace, complete)
    assert catcher.recipients(title) == ["grace@example.com"]


async def test_an_empty_group_reaches_nobody_and_says_so(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str
) -> None:
    await kubernetes.create(notification("nobody", namespace, "group:default/empty", title=title))
    body = await kubernetes.wait("Notification", "nobody", namespace, complete)
    assert body["status"]["state"] == "NoRecipients"
    assert condition_is("Ready", "True")(body)
    assert catcher.mails(title) == []


async def test_bad_addresses_are_skipped_each_with_its_reason(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str
) -> None:
    names = ("ada", "silent", "twin", "injector", "spaced", "twoats")
    refs = [f"user:default/{name}" for name in names]
    await kubernetes.create(notification("bad", namespace, *refs, title=title))
    body = await kubernetes.wait("Notification", "bad", namespace, complete)
    found = {ref: (row["state"], row.get("reason")) for ref, row in rows(body).items()}
    assert found == {
        "user:default/ada": ("Sent", None),
        "user:default/silent": ("Skipped", "NoAddress"),
        "user:default/twin": ("Skipped", "DuplicateAddress"),
        "user:default/injector": ("Skipped", "InvalidAddress"),
        "user:default/spaced": ("Skipped", "InvalidAddress"),
        "user:default/twoats": ("Skipped", "InvalidAddress"),
    }
    assert catcher.recipients(title) == ["ada@example.com"]
    assert body["status"]["summary"] == "1/1"
    assert body["status"]["state"] == "Delivered"
