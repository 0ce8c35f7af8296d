"""The in-memory API server is as strict as the tests that rely on it believe."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.errors import (
    ConflictError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from notifications_operator.api.notification import Notification
from notifications_operator.api.references import NOTIFICATIONS, ObjectRef
from tests.support.cluster import (
    Interruption,
    MemoryCluster,
    apply_merge_patch,
    lost_answer,
    stored_patches,
    unavailable,
)
from tests.support.definitions import installed_definitions

MANIFEST: dict[str, Any] = {
    "kind": "Notification",
    "metadata": {"namespace": "team", "name": "n"},
    "spec": {
        "recipients": {"type": "entity", "entityRef": "user:default/ada"},
        "payload": {"title": "Hello", "metadata": {"any": {"thing": [1, None]}}},
    },
}


def make(**options: Any) -> tuple[MemoryCluster, ObjectRef, dict[str, Any]]:
    cluster = MemoryCluster(**options)
    body = cluster.create(NOTIFICATIONS, MANIFEST)
    ref = ObjectRef.of(NOTIFICATIONS, Notification.model_validate(body).metadata)
    return cluster, ref, body


def version(body: dict[str, Any]) -> str:
    return str(body["metadata"]["resourceVersion"])


async def test_new_object_has_the_defaults_of_its_definition() -> None:
    _, _, body = make()
    assert body["status"] == {"observedGeneration": -1, "state": "Pending"}
    assert body["spec"]["payload"]["severity"] == "normal"
    assert body["spec"]["suspend"] is False
    assert body["metadata"]["generation"] == 1


async def test_patch_merges_and_null_removes() -> None:
    cluster, ref, body = make()
    body = await cluster.patch_status(
        ref, {"reason": "Why", "recipients": {"users": 1}}, resource_version=version(body)
    )
    body = await cluster.patch_status(
        ref, {"reason": None, "recipients": {"users": 2}}, resource_version=version(body)
    )
    assert body["status"] == {
        "observedGeneration": -1,
        "state": "Pending",
        "recipients": {"users": 2},
    }
    assert await cluster.get(ref) == body
    assert len(stored_patches(cluster.patches, "n")) == 2


async def test_lists_are_replaced_whole() -> None:
    cluster, ref, body = make()
    for names in (["a", "b"], ["c"]):
        body = await cluster.patch_status(
            ref, {"processors": [{"name": name} for name in names]}, resource_version=version(body)
        )
    assert [item["name"] for item in body["status"]["processors"]] == ["c"]


async def test_patch_of_an_older_version_conflicts_and_changes_nothing() -> None:
    cluster, ref, body = make()
    newer = cluster.edit(
        NOTIFICATIONS, "team", "n", lambda item: item["metadata"].update(labels={"a": "b"})
    )
    with pytest.raises(ConflictError):
        await cluster.patch_status(ref, {"reason": "Why"}, resource_version=version(body))
    assert await cluster.get(ref) == newer


async def test_patch_that_changes_nothing_keeps_the_version() -> None:
    cluster, ref, body = make()
    again = await cluster.patch_status(ref, {"state": "Pending"}, resource_version=version(body))
    assert version(again) == version(body)


async def test_only_a_changed_spec_moves_the_generation() -> None:
    cluster, _, _ = make()
    labelled = cluster.edit(
        NOTIFICATIONS, "team", "n", lambda item: item["metadata"].update(labels={"a": "b"})
    )
    assert labelled["metadata"]["generation"] == 1
    reapplied = cluster.edit(
        NOTIFICATIONS, "team", "n", lambda item: item.update(spec=MANIFEST["spec"])
    )
    assert reapplied == labelled, "defaults are set before the comparison"
    edited = cluster.edit(
        NOTIFICATIONS, "team", "n", lambda item: item["spec"]["payload"].update(title="Other")
    )
    assert edited["metadata"]["generation"] == 2
    assert int(version(edited)) > int(version(labelled))


async def test_unknown_status_fields_are_pruned() -> None:
    cluster, ref, body = make()
    patch = {"reason": "Why", "sent": 1, "deliveries": [{**ROW, "colour": "red"}]}
    body = await cluster.patch_status(ref, patch, resource_version=version(body))
    assert "sent" not in body["status"]
    assert body["status"]["deliveries"] == [ROW]


async def test_older_definition_prunes_what_it_lacks() -> None:
    older = installed_definitions()[NOTIFICATIONS].without("status.deliveries.holder")
    cluster, ref, body = make(definitions={NOTIFICATIONS: older})
    patch = {"deliveries": [{**ROW, "holder": "0/pod"}]}
    body = await cluster.patch_status(ref, patch, resource_version=version(body))
    assert body["status"]["deliveries"] == [ROW]


ROW = {"processor": "email", "recipient": "user:default/ada", "state": "Claimed"}


@pytest.mark.parametrize(
    "status",
    [
        {"state": "x" * 65},
        {"revision": "one"},
        {"deliveries": [{"processor": "email"}]},
        {"deliveries": [ROW] * 1001},
        {"startTime": "yesterday"},
        {"conditions": [{"type": "Ready"}]},
    ],
)
async def test_invalid_status_is_rejected(status: dict[str, Any]) -> None:
    cluster, ref, body = make()
    with pytest.raises(RejectedError, match="422"):
        await cluster.patch_status(ref, status, resource_version=version(body))
    assert await cluster.get(ref) == body


async def test_object_at_the_size_limit_is_rejected() -> None:
    cluster, ref, body = make(object_limit=1_000)
    with pytest.raises(RejectedError, match="too large"):
        await cluster.patch_status(ref, {"deliveries": [ROW] * 9}, resource_version=version(body))


async def test_delete_checks_its_preconditions() -> None:
    cluster, ref, body = make()
    with pytest.raises(ConflictError):
        await cluster.delete(ref, uid=ref.uid, resource_version="1")
    with pytest.raises(ConflictError):
        await cluster.delete(ref, uid="other", resource_version=version(body))
    await cluster.delete(ref, uid=ref.uid, resource_version=version(body))
    with pytest.raises(NotFoundError):
        await cluster.get(ref)


async def test_interruption_before_a_request_leaves_no_trace() -> None:
    cluster, ref, body = make()
    cluster.interrupt(unavailable())
    with pytest.raises(UnavailableError):
        await cluster.patch_status(ref, {"reason": "Why"}, resource_version=version(body))
    assert await cluster.get(ref) == body


async def test_lost_answer_hides_a_request_that_was_carried_out() -> None:
    cluster, ref, body = make()
    cluster.interrupt(lost_answer(when=lambda status: "reason" in status))
    body = await cluster.patch_status(ref, {"summary": "0/1"}, resource_version=version(body))
    with pytest.raises(UnavailableError):
        await cluster.patch_status(ref, {"reason": "Why"}, resource_version=version(body))
    assert (await cluster.get(ref))["status"]["reason"] == "Why"
    assert [patch.stored for patch in cluster.patches] == [True, True]


async def test_another_client_can_be_faster() -> None:
    cluster, ref, body = make()

    def relabel() -> None:
        cluster.edit(
            NOTIFICATIONS, "team", "n", lambda item: item["metadata"].update(labels={"a": "b"})
        )

    cluster.interrupt(Interruption(before=relabel))
    with pytest.raises(ConflictError):
        await cluster.patch_status(ref, {"reason": "Why"}, resource_version=version(body))


async def test_unreachable_cluster_answers_nothing() -> None:
    cluster, ref, _ = make()
    cluster.reachable = False
    for request in (cluster.get(ref), cluster.get_secret("operator", "s")):
        with pytest.raises(UnavailableError):
            await request


async def test_watch_delivers_copies_in_order_and_can_fall_behind() -> None:
    cluster, ref, body = make()
    seen: list[tuple[str, str]] = []
    cluster.watch(lambda kind, item: seen.append((kind, version(item))))
    cluster.hold_events()
    body = await cluster.patch_status(ref, {"reason": "Why"}, resource_version=version(body))
    await asyncio.sleep(0)
    assert seen == []
    cluster.deliver_events()
    cluster.remove(NOTIFICATIONS, "team", "n")
    await asyncio.sleep(0)
    assert [kind for kind, _ in seen] == ["MODIFIED", "DELETED"]
    assert int(seen[1][1]) > int(seen[0][1])


async def test_what_is_returned_is_a_copy() -> None:
    cluster, ref, body = make()
    body["spec"]["payload"]["title"] = "changed"
    assert (await cluster.get(ref))["spec"]["payload"]["title"] == "Hello"


async def test_secrets_have_versions() -> None:
    cluster = MemoryCluster()
    assert await cluster.get_secret("operator", "s") is None
    cluster.put_secret("operator", "s", {"password": b"one"})
    first = await cluster.get_secret("operator", "s")
    cluster.put_secret("operator", "s", {"password": b"two"})
    second = await cluster.get_secret("operator", "s")
    assert first is not None
    assert second is not None
    assert (first.data, second.data) == ({"password": b"one"}, {"password": b"two"})
    assert first.resource_version != second.resource_version


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)


@given(JSON, JSON)
def test_applying_a_merge_patch_twice_is_applying_it_once(target: object, patch: object) -> None:
    once = apply_merge_patch(target, patch)
    assert apply_merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_examples_of_rfc_7386_appendix_a(target: object, patch: object, result: object) -> None:
    assert apply_merge_patch(target, patch) == result
