"""The guarded verbs, asked for by the API server: a tenant with the example Roles tries all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.installation import Installation, kubectl
from tests.support.kubernetes import APIError, Kubernetes, Object, notification

pytestmark = pytest.mark.cluster

EXAMPLES = Path(__file__).parents[2] / "examples" / "rbac"
RESOURCE = "notifications.notifications.orchestrator.io"
REDELIVER = "notifications.orchestrator.io/redeliver"

Grant = Callable[..., Awaitable[Kubernetes]]


@pytest.fixture
async def grant(installation: Installation, namespace: str) -> AsyncIterator[Grant]:
    """Give a user of this test the Roles of examples; returns the API server as that user."""
    kubeconfig = installation.cluster.kubeconfig

    async def give(user: str, *examples: str) -> Kubernetes:
        name = f"{user}-{namespace}"
        documents = [
            document
            for example in examples
            for document in yaml.safe_load_all((EXAMPLES / f"{example}.yaml").read_text())
        ]
        for document in documents:
            document["metadata"]["namespace"] = namespace
            if document["kind"] == "RoleBinding":
                document["metadata"]["name"] += f"-{user}"
                group = "rbac.authorization.k8s.io"
                document["subjects"] = [{"apiGroup": group, "kind": "User", "name": name}]
        kubectl(kubeconfig, "apply", "-f", "-", stdin=yaml.safe_dump_all(documents))
        for document in documents:
            if document["kind"] == "Role":
                await _until_allowed(kubeconfig, document["rules"][0]["verbs"][0], namespace, name)
        client: Kubernetes = await stack.enter_async_context(
            Kubernetes(kubeconfig, impersonate=name)
        )
        return client

    async with AsyncExitStack() as stack:
        yield give


@pytest.fixture
async def author(grant: Grant, namespace: str) -> Kubernetes:
    """May write Notifications, and no more; the policy is known to be in force."""
    client = await grant("author", "author")
    await _until_enforced(client, namespace)
    return client


async def _until_allowed(kubeconfig: Path, verb: str, namespace: str, user: str) -> None:
    end = time.monotonic() + 10
    question = ("auth", "can-i", verb, RESOURCE, "-n", namespace, "--as", user)
    while kubectl(kubeconfig, *question, check=False).stdout.strip() != "yes":
        assert time.monotonic() < end, f"{user} did not get {verb}"
        await asyncio.sleep(0.05)


async def _until_enforced(client: Kubernetes, namespace: str) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            await client.create(broadcast("probe", namespace), dry_run=True)
        except APIError:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the admission policy is not in force")


def broadcast(name: str, namespace: str) -> Object:
    """Return a broadcast that is not sent; what is asked for is the same."""
    return notification(name, namespace, title=name, suspend=True)


def entity(name: str, namespace: str, **spec: Any) -> Object:
    """Return a Notification to one user that is not sent."""
    return notification(name, namespace, "user:default/ada", title=name, suspend=True, **spec)


def redelivery(value: str | None) -> Object:
    return {"metadata": {"annotations": {REDELIVER: value}}}


async def refused(attempt: Awaitable[object], verb: str) -> str:
    """Return the message of an attempt that the policy refuses."""
    with pytest.raises(APIError) as refusal:
        await attempt
    assert refusal.value.status == 403
    assert "'verbs.notifications.orchestrator.io'" in refusal.value.message
    assert f'needs the verb "{verb}"' in refusal.value.message
    return refusal.value.message


async def test_an_author_may_write_to_entities(author: Kubernetes, namespace: str) -> None:
    await author.create(entity("mine", namespace))
    await author.patch("Notification", "mine", namespace, {"spec": {"payload": {"title": "New"}}})
    await author.patch("Notification", "mine", namespace, redelivery("1"))
    await author.delete("Notification", "mine", namespace)


async def test_a_broadcast_needs_its_verb(author: Kubernetes, grant: Grant, namespace: str) -> None:
    message = await refused(author.create(broadcast("all", namespace)), "broadcast")
    assert f"in namespace {namespace}, which author-{namespace} does not have" in message
    assert "name the recipients (type: entity)" in message
    broadcaster = await grant("broadcaster", "author", "broadcaster")
    await broadcaster.create(broadcast("all", namespace))


async def test_an_origin_needs_its_verb(author: Kubernetes, grant: Grant, namespace: str) -> None:
    claimed = entity("claimed", namespace, origin="plugin:security")
    assert "leave it out" in await refused(author.create(claimed), "set-origin")
    setter = await grant("setter", "author", "set-origin")
    await setter.create(claimed)


async def test_one_verb_is_not_the_other(author: Kubernetes, grant: Grant, namespace: str) -> None:
    broadcaster = await grant("broadcaster", "author", "broadcaster")
    setter = await grant("setter", "author", "set-origin")
    claimed = entity("claimed", namespace, origin="plugin:security")
    await refused(broadcaster.create(claimed), "set-origin")
    await refused(setter.create(broadcast("all", namespace)), "broadcast")


async def test_a_verb_counts_in_its_namespace_only(
    author: Kubernetes, grant: Grant, namespace: str, installation: Installation
) -> None:
    broadcaster = await grant("broadcaster", "author", "broadcaster")
    with pytest.raises(APIError, match="cannot create resource"):
        await broadcaster.create(broadcast("all", "default"))
    kubeconfig, user = installation.cluster.kubeconfig, f"author-{namespace}"
    binding = ("rolebinding", f"elsewhere-{namespace}", "-n", "default")
    kubectl(kubeconfig, "create", *binding, "--clusterrole=cluster-admin", f"--user={user}")
    try:
        await _until_allowed(kubeconfig, "broadcast", "default", user)
        await refused(author.create(broadcast("all", namespace)), "broadcast")
    finally:
        kubectl(kubeconfig, "delete", *binding)


async def test_a_notification_cannot_become_what_its_author_may_not_send(
    author: Kubernetes, namespace: str
) -> None:
    await author.create(entity("mine", namespace))
    to_all = {"spec": {"recipients": {"type": "broadcast", "entityRefs": None}}}
    await refused(author.patch("Notification", "mine", namespace, to_all), "broadcast")
    claim = {"spec": {"origin": "plugin:security"}}
    await refused(author.patch("Notification", "mine", namespace, claim), "set-origin")


@pytest.mark.parametrize("server_side", [True, False])
async def test_applying_is_asked_about_too(
    author: Kubernetes, installation: Installation, namespace: str, server_side: bool
) -> None:
    result = kubectl(
        installation.cluster.kubeconfig,
        *("apply", "--as", f"author-{namespace}", f"--server-side={server_side}", "-f", "-"),
        stdin=yaml.safe_dump(broadcast("all", namespace)),
        check=False,
    )
    assert result.returncode != 0
    assert 'needs the verb "broadcast"' in result.stderr


class TestBroadcastOfSomebodyElse:
    @pytest.fixture(autouse=True)
    async def sent(self, author: Kubernetes, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(broadcast("all", namespace))

    async def test_cannot_be_edited(self, author: Kubernetes, namespace: str) -> None:
        for payload in ({"title": "Other"}, {"metadata": {"any": {"depth": [1]}}}):
            edit = {"spec": {"payload": payload}}
            await refused(author.patch("Notification", "all", namespace, edit), "broadcast")
        wake = {"spec": {"suspend": False}}
        await refused(author.patch("Notification", "all", namespace, wake), "broadcast")

    async def test_cannot_be_redelivered(
        self, author: Kubernetes, kubernetes: Kubernetes, namespace: str
    ) -> None:
        again = author.patch("Notification", "all", namespace, redelivery("1"))
        await refused(again, "broadcast")
        await kubernetes.patch("Notification", "all", namespace, redelivery("1"))
        for value in ("2", "all:1", "", None):
            again = author.patch("Notification", "all", namespace, redelivery(value))
            await refused(again, "broadcast")

    async def test_can_be_labelled(self, author: Kubernetes, namespace: str) -> None:
        harmless = {"metadata": {"labels": {"seen": "yes"}, "annotations": {"note": "yes"}}}
        await author.patch("Notification", "all", namespace, harmless)
        unchanged = {"spec": {"suspend": True}}
        await author.patch("Notification", "all", namespace, unchanged)

    async def test_can_be_deleted_in_the_foreground(
        self, author: Kubernetes, kubernetes: Kubernetes, namespace: str
    ) -> None:
        """The garbage collector ends it by an update, and has no such verb."""
        await author.delete("Notification", "all", namespace, propagation="Foreground")
        await kubernetes.wait_gone("Notification", "all", namespace)

    async def test_leaves_its_finalizers_to_others(
        self, author: Kubernetes, kubernetes: Kubernetes, namespace: str
    ) -> None:
        hold = {"metadata": {"finalizers": ["example.com/hold"]}}
        await kubernetes.patch("Notification", "all", namespace, hold)
        await kubernetes.delete("Notification", "all", namespace)
        release = {"metadata": {"finalizers": None}}
        await author.patch("Notification", "all", namespace, release)
        await kubernetes.wait_gone("Notification", "all", namespace)
