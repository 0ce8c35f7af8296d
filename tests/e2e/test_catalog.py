"""The catalog in ConfigMaps: unknown refs, broken documents, large ones, changes."""

from __future__ import annotations

import base64
import gzip
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.kubernetes import (
    Kubernetes,
    Object,
    complete,
    condition_is,
    notification,
    rows,
)
from tests.support.mail import Catcher

pytestmark = pytest.mark.cluster

AddEntities = Callable[..., Awaitable[str]]


def user(name: str, address: str, *groups: str) -> str:
    member_of = ", ".join(groups)
    return (
        "---\napiVersion: backstage.io/v1alpha1\nkind: User\n"
        f"metadata: {{name: {name}}}\n"
        f"spec: {{profile: {{email: {address}}}, memberOf: [{member_of}]}}\n"
    )


@pytest.fixture
async def add_entities(
    kubernetes: Kubernetes, installation: Installation
) -> AsyncIterator[AddEntities]:
    """Create catalog ConfigMaps that are removed after the test."""
    names: list[str] = []

    async def add(**content: Any) -> str:
        name = f"catalog-{uuid.uuid4().hex[:8]}"
        names.append(name)
        labels = {"notifications.orchestrator.io/catalog": "true"}
        metadata = {"name": name, "namespace": installation.namespace, "labels": labels}
        await kubernetes.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **content}
        )
        return name

    yield add
    for name in names:
        await kubernetes.delete("ConfigMap", name, installation.namespace)


async def events_about(kubernetes: Kubernetes, namespace: str, name: str) -> list[Object]:
    events = await kubernetes.list("Event", namespace)
    return [event for event in events if event.get("regarding", {}).get("name") == name]


async def test_an_unknown_user_waits_by_name_and_gets_mail_when_the_catalog_knows(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    add_entities: AddEntities,
) -> None:
    name = f"late-{uuid.uuid4().hex[:8]}"
    await kubernetes.create(notification("late", namespace, f"user:default/{name}", title=title))
    body = await kubernetes.wait(
        "Notification",
        "late",
        namespace,
        condition_is("RecipientsResolved", "False", "UnknownEntities"),
    )
    assert body["status"]["state"] == "Pending"
    assert name in str(body["status"]["recipients"]["unresolved"])
    await add_entities(data={"a.yaml": user(name, "late@example.com")})
    await kubernetes.wait("Notification", "late", namespace, complete)
    assert catcher.recipients(title) == ["late@example.com"]


async def test_the_rest_is_sent_and_the_unknown_fail_after_the_grace(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    refs = ("user:default/ada", "group:default/no-such-group")
    await kubernetes.create(notification("part", namespace, *refs, title=title))
    await catcher.wait(title, 1)
    body = await kubernetes.wait(
        "Notification", "part", namespace, lambda body: body["status"].get("summary") == "1/1"
    )
    assert condition_is("Complete", "False")(body)
    body = await kubernetes.wait("Notification", "part", namespace, complete)
    assert body["status"]["state"] == "PartiallyDelivered"
    assert rows(body)["group:default/no-such-group"]["reason"] == "UnknownEntities"
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_a_broken_document_is_reported_and_the_rest_served(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    add_entities: AddEntities,
) -> None:
    good, other = f"good-{uuid.uuid4().hex[:8]}", f"other-{uuid.uuid4().hex[:8]}"
    text = (
        user(good, "good@example.com")
        + "---\nkind: User\nmetadata: {name: [broken\n"
        + "---\napiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {name: 'a b'}\n"
        + user(other, "other@example.com")
    )
    name = await add_entities(data={"team.yaml": text})
    refs = (f"user:default/{good}", f"user:default/{other}")
    await kubernetes.create(notification("rest", namespace, *refs, title=title))
    await kubernetes.wait("Notification", "rest", namespace, complete)
    assert catcher.recipients(title) == ["good@example.com", "other@example.com"]
    (event,) = await events_about(kubernetes, installation.namespace, name)
    assert event["type"] == "Warning" and event["reason"] == "InvalidEntities"
    assert "team.yaml" in event["note"]


async def test_kinds_of_ones_own_mean_their_owners(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    add_entities: AddEntities,
) -> None:
    """The file is as people write it who extend Backstage, on Windows."""
    team = f"maps-{uuid.uuid4().hex[:8]}"
    text = (
        "\ufeff# ours\n---\n"
        f"apiVersion: example.org/v1alpha1\nkind: Function\nmetadata: {{name: {team}}}\n"
        f"spec: {{owner: group:default/{team}}}\n"
        f"---\napiVersion: our.very.own/v1\nkind: System\nmetadata: {{name: {team}}}\n"
        f'relations: [{{type: ownedBy, targetRef: "group:default/{team}"}}]\n'
        f"---\napiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {{name: {team}}}\n"
        f"spec: {{type: team, children: [], members: [{team}]}}\n"
        + user(team, "mapper@example.com")
    ).replace("\n", "\r\n")
    name = await add_entities(data={"team.yaml": text})
    for kind in ("function", "system"):
        await kubernetes.create(
            notification(kind, namespace, f"{kind}:default/{team}", title=title)
        )
        await kubernetes.wait("Notification", kind, namespace, complete)
    assert catcher.recipients(title) == ["mapper@example.com"] * 2
    assert await events_about(kubernetes, installation.namespace, name) == []


async def test_members_without_an_entity_are_no_silent_success(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    add_entities: AddEntities,
) -> None:
    team = f"team-{uuid.uuid4().hex[:8]}"
    await add_entities(
        data={
            "team.yaml": "apiVersion: backstage.io/v1alpha1\nkind: Group\n"
            f"metadata: {{name: {team}}}\n"
            f"spec: {{type: team, children: [], members: [{team}-A, {team}-b]}}\n"
        }
    )
    refs = (f"group:default/{team}", "user:default/ada")
    await kubernetes.create(notification("alone", namespace, refs[0], title=title))
    await kubernetes.create(notification("beside", namespace, *refs, title=title))
    members = [f"user:default/{team}-a", f"user:default/{team}-b"]
    body = await kubernetes.wait("Notification", "beside", namespace, complete)
    assert body["status"]["state"] == "Delivered"
    ends = {ref: (row["state"], row["reason"]) for ref, row in rows(body).items() if ref in members}
    assert ends == dict.fromkeys(members, ("Skipped", "UnknownEntities"))
    body = await kubernetes.wait("Notification", "alone", namespace, complete)
    assert condition_is("Stalled", "True", "UnknownEntities")(body)
    assert {row["state"] for row in rows(body).values()} == {"Failed"}
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_ten_thousand_entities_in_one_compressed_config_map(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    add_entities: AddEntities,
) -> None:
    group = f"crowd-{uuid.uuid4().hex[:8]}"
    text = "".join(user(f"{group}-{number}", f"u{number}@example.com") for number in range(10_000))
    text += (
        "---\napiVersion: backstage.io/v1alpha1\nkind: Group\n"
        f"metadata: {{name: {group}}}\n"
        f"spec: {{type: team, children: [], members: [{group}-7, {group}-9999]}}\n"
    )
    packed = base64.b64encode(gzip.compress(text.encode())).decode()
    await kubernetes.create(notification("crowd", namespace, f"group:default/{group}", title=title))
    name = await add_entities(binaryData={"all.yaml.gz": packed})
    await kubernetes.wait("Notification", "crowd", namespace, complete)
    assert catcher.recipients(title) == ["u7@example.com", "u9999@example.com"]
    assert installation.probe("livez") == 200
    assert await events_about(kubernetes, installation.namespace, name) == []


async def test_a_megabyte_of_rubbish_holds_nothing_up(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    add_entities: AddEntities,
) -> None:
    name = await add_entities(data={"rubbish": "[" * 1_000_000})
    await kubernetes.create(notification("calm", namespace, "user:default/ada", title=title))
    await kubernetes.wait("Notification", "calm", namespace, complete)
    assert catcher.recipients(title) == ["ada@example.com"]
    config_map = await kubernetes.get("ConfigMap", name, installation.namespace)
    assert config_map["data"]["rubbish"].startswith("[")
    assert installation.probe("livez") == 200


async def test_a_catalog_entity_that_changes_is_used_without_a_restart(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
    add_entities: AddEntities,
) -> None:
    group = f"team-{uuid.uuid4().hex[:8]}"
    member = f"{group}-x"

    def team(members: str) -> str:
        return (
            "apiVersion: backstage.io/v1alpha1\nkind: Group\n"
            f"metadata: {{name: {group}}}\n"
            f"spec: {{type: team, children: [], members: [{members}]}}\n"
        )

    name = await add_entities(data={"a.yaml": team("ada")})
    await kubernetes.create(notification("one", namespace, f"group:default/{group}", title=title))
    await kubernetes.wait("Notification", "one", namespace, complete)
    content = {"data": {"a.yaml": team(f"ada, {member}") + user(member, "x@example.com")}}
    await kubernetes.patch("ConfigMap", name, installation.namespace, content)
    await kubernetes.create(notification("two", namespace, f"user:default/{member}", title=title))
    await kubernetes.wait("Notification", "two", namespace, complete)
    assert catcher.recipients(title) == ["ada@example.com", "x@example.com"]
