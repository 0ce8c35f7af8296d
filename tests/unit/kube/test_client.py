"""Every call of the client: what it asks for, and what it makes of the answer."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from notifications_operator.api.errors import (
    ConflictError,
    ExpiredError,
    ForbiddenError,
    UnavailableError,
)
from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS, ObjectRef
from notifications_operator.kube.client import KubernetesClient
from notifications_operator.kube.transport import METADATA_ONLY
from tests.unit.kube.peer import Peer, failure, peer, reply, stream

GROUP_PATH = "/apis/notifications.orchestrator.io/v1alpha1"
REF = ObjectRef(plural=NOTIFICATIONS, namespace="team", name="n", uid="u-1")
PATH = f"{GROUP_PATH}/namespaces/team/notifications/n"


@pytest.fixture
async def server() -> AsyncIterator[Peer]:
    async with peer() as made:
        yield made


@pytest.fixture
def client(server: Peer) -> KubernetesClient:
    return KubernetesClient(server.transport)


async def test_version(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"gitVersion": "v1.37.2"}))
    assert await client.version() == "v1.37.2"
    assert server.received[0].path == "/version"


async def test_definition(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"spec": {}}))
    await client.get_definition(PROCESSORS)
    assert server.received[0].path == (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
        "notificationprocessors.notifications.orchestrator.io"
    )


async def test_get(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"metadata": {"uid": "u-1"}}))
    assert await client.get(REF) == {"metadata": {"uid": "u-1"}}
    assert (server.received[0].method, server.received[0].path) == ("GET", PATH)


async def test_create_notification(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"metadata": {"uid": "u-1"}}, status=201), failure(409, "exists"))
    body = {"metadata": {"name": "n", "namespace": "team"}, "spec": {}}
    assert await client.create_notification(body) == {"metadata": {"uid": "u-1"}}
    found = server.received[0]
    assert (found.method, found.path) == ("POST", f"{GROUP_PATH}/namespaces/team/notifications")
    assert found.query == {"fieldManager": "notifications-operator"}
    assert found.body == body
    with pytest.raises(ConflictError):
        await client.create_notification(body)


async def test_get_notification(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"metadata": {}}), failure(404, "not found"), failure(403, "no"))
    assert await client.get_notification("team", "n") == {"metadata": {}}
    assert (server.received[0].method, server.received[0].path) == ("GET", PATH)
    assert await client.get_notification("team", "n") is None
    with pytest.raises(ForbiddenError):
        await client.get_notification("team", "n")


def counted(amount: int, token: str = "") -> Any:
    items: Any = [{"metadata": {}}] * amount or None
    return reply({"items": items, "metadata": {"continue": token, "resourceVersion": "7"}})


async def test_count_notifications(server: Peer, client: KubernetesClient) -> None:
    server.answer(counted(500, "a"), counted(20))
    assert (
        await client.count_notifications("team", field_selector="status.state!=A", at_most=5000)
        == 520
    )
    first, second = server.received
    assert first.path == f"{GROUP_PATH}/namespaces/team/notifications"
    assert first.query == {"fieldSelector": "status.state!=A", "limit": "500"}
    assert first.accept == METADATA_ONLY
    assert second.query == {**first.query, "continue": "a"}


async def test_counting_ends_at_the_bound(server: Peer, client: KubernetesClient) -> None:
    server.answer(counted(500, "a"), counted(500, "b"), counted(0), counted(3, "c"))
    count = client.count_notifications
    assert await count("team", field_selector="x", at_most=1000) == 1000
    assert await count("team", field_selector="x", at_most=1000) == 0
    assert await count("team", field_selector="x", at_most=3) == 3
    assert server.received[-1].query["limit"] == "3"


async def test_counting_begins_anew_when_a_page_is_too_old(
    server: Peer, client: KubernetesClient
) -> None:
    server.answer(counted(500, "a"), failure(410, "expired"), counted(2))
    count = client.count_notifications("team", field_selector="x", at_most=5000)
    assert await count == 2
    assert "continue" not in server.received[-1].query


async def test_status_patch_is_compare_and_set(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"status": {"a": 1}}), failure(409, "modified"))
    status: dict[str, Any] = {"a": 1, "gone": None}
    assert await client.patch_status(REF, status, resource_version="7") == {"status": {"a": 1}}
    found = server.received[0]
    assert (found.method, found.path) == ("PATCH", f"{PATH}/status")
    assert found.content_type == "application/merge-patch+json"
    assert found.query == {"fieldManager": "notifications-operator"}
    assert found.body == {"metadata": {"resourceVersion": "7"}, "status": status}
    with pytest.raises(ConflictError):
        await client.patch_status(REF, status, resource_version="7")


async def test_delete_has_preconditions(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({}))
    await client.delete(REF, uid="u-1", resource_version="7")
    found = server.received[0]
    assert (found.method, found.path) == ("DELETE", PATH)
    assert found.body["preconditions"] == {"uid": "u-1", "resourceVersion": "7"}
    assert found.body["propagationPolicy"] == "Background"


async def test_secret_is_decoded(server: Peer, client: KubernetesClient) -> None:
    data = {"password": base64.b64encode(b"\xffpass").decode(), "empty": "", "null": None}
    server.answer(reply({"metadata": {"resourceVersion": "9"}, "data": data}))
    secret = await client.get_secret("operator", "smtp")
    assert secret is not None
    assert dict(secret.data) == {"password": b"\xffpass", "empty": b"", "null": b""}
    assert secret.resource_version == "9"
    assert server.received[0].path == "/api/v1/namespaces/operator/secrets/smtp"


async def test_secret_without_data(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"metadata": {"resourceVersion": "9"}}))
    secret = await client.get_secret("operator", "smtp")
    assert secret is not None
    assert secret.data == {}


async def test_secret_that_is_missing_is_none_and_an_outage_is_not(
    server: Peer, client: KubernetesClient
) -> None:
    server.answer(failure(404), failure(503))
    assert await client.get_secret("operator", "smtp") is None
    with pytest.raises(UnavailableError):
        await client.get_secret("operator", "smtp")


def page(*names: str, token: str = "") -> dict[str, Any]:
    return {
        "metadata": {"resourceVersion": "42", "continue": token},
        "items": [{"metadata": {"name": name}} for name in names],
    }


async def test_list_goes_on_page_by_page(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply(page("a", "b", token="next")), reply(page("c")))
    items, version = await client.list_catalog("operator")
    assert [item["metadata"]["name"] for item in items] == ["a", "b", "c"]
    assert version == "42"
    first, second = (found.query for found in server.received)
    assert first["labelSelector"] == "notifications.orchestrator.io/catalog=true"
    assert "continue" not in first
    assert second["continue"] == "next"
    assert second["labelSelector"] == first["labelSelector"]


async def test_list_whose_token_expired_starts_anew(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply(page("a", token="next")), failure(410), reply(page("a", "b")))
    items, _ = await client.list_catalog("operator")
    assert [item["metadata"]["name"] for item in items] == ["a", "b"]
    assert "continue" not in server.received[2].query


async def test_list_of_processors(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply(page("email")))
    assert len(await client.list_processors("operator")) == 1
    (found,) = server.received
    assert found.path == f"{GROUP_PATH}/namespaces/operator/notificationprocessors"


def versions(*names: str, token: str = "") -> dict[str, Any]:
    items = [
        {"metadata": {"namespace": "team", "name": name, "uid": name, "resourceVersion": "12"}}
        for name in names
    ]
    return {"items": items, "metadata": {"resourceVersion": "100", "continue": token}}


async def test_versions_are_listed_by_their_metadata(
    server: Peer, client: KubernetesClient
) -> None:
    server.answer(reply(versions("a", token="next")), reply(versions("b")), reply(versions("c")))
    found = await client.list_versions("notifications")
    assert [(item.name, item.number) for item in found] == [("a", 12), ("b", 12)]
    server.answer(reply({"items": None, "metadata": {"resourceVersion": "100"}}))
    (config_map,), version = await client.list_catalog_versions("operator")
    assert (config_map.name, version) == ("c", "100")
    assert await client.list_versions("notifications") == []
    assert [found.path for found in server.received] == [
        f"{GROUP_PATH}/notifications",
        f"{GROUP_PATH}/notifications",
        "/api/v1/namespaces/operator/configmaps",
        f"{GROUP_PATH}/notifications",
    ]
    assert all("as=PartialObjectMetadataList" in found.accept for found in server.received)
    assert server.received[2].query["labelSelector"].endswith("/catalog=true")


async def test_silent_watch_is_begun_anew_where_it_ended(
    server: Peer, client: KubernetesClient
) -> None:
    """Whether nothing comes any more, or the watch is not even answered."""
    end = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(json.dumps(event("ADDED", "10")).encode() + b"\n")
        await end.wait()
        return response

    async def unanswered(_: web.Request) -> web.StreamResponse:
        await end.wait()
        return web.Response()

    server.answer(silent, unanswered, stream(event("DELETED", "16")), failure(410))
    seen = []
    with pytest.raises(ExpiredError):
        async for item in client.watch_catalog("operator", "9", inactivity_timeout=0.2):
            seen.append(item.deleted)  # noqa: PERF401
    end.set()
    assert seen == [False, True]
    assert [found.query["resourceVersion"] for found in server.received] == ["9", "10", "10", "16"]


def event(kind: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": "c", "resourceVersion": version}}}


async def test_watch_goes_on_where_the_server_ended_it(
    server: Peer, client: KubernetesClient
) -> None:
    server.answer(
        stream(event("ADDED", "10"), event("MODIFIED", "11")),
        stream(event("BOOKMARK", "15")),
        stream(event("DELETED", "16")),
        failure(410),
    )
    seen = []
    with pytest.raises(ExpiredError):
        async for item in client.watch_catalog("operator", "9", inactivity_timeout=60):
            seen.append((item.body["metadata"]["resourceVersion"], item.deleted))  # noqa: PERF401
    assert seen == [("10", False), ("11", False), ("16", True)]
    assert [found.query["resourceVersion"] for found in server.received] == ["9", "11", "15", "16"]
    assert server.received[0].query["allowWatchBookmarks"] == "true"


async def test_event_is_created(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({}, status=201))
    await client.create_event("team", {"kind": "Event"})
    found = server.received[0]
    assert (found.method, found.path) == (
        "POST",
        "/apis/events.k8s.io/v1/namespaces/team/events",
    )
    assert found.body == {"kind": "Event"}


LEASES = "/apis/coordination.k8s.io/v1/namespaces/operator/leases"


async def test_lease_that_is_there_or_not(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"metadata": {}}), failure(404))
    assert await client.get_lease("operator", "l") == {"metadata": {}}
    assert await client.get_lease("operator", "l") is None
    assert (server.received[0].method, server.received[0].path) == ("GET", f"{LEASES}/l")


async def test_lease_is_created(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"metadata": {}}, status=201), failure(409, "exists"))
    metadata, spec = {"annotations": {"a": "b"}}, {"holderIdentity": "a_1"}
    await client.create_lease("operator", "l", metadata=metadata, spec=spec)
    found = server.received[0]
    assert (found.method, found.path) == ("POST", LEASES)
    assert found.body["metadata"] == {**metadata, "name": "l", "namespace": "operator"}
    assert (found.body["kind"], found.body["spec"]) == ("Lease", spec)
    with pytest.raises(ConflictError):
        await client.create_lease("operator", "l", metadata=metadata, spec=spec)


async def test_lease_patch_is_compare_and_set(server: Peer, client: KubernetesClient) -> None:
    server.answer(reply({"metadata": {}}), failure(409, "modified"))
    metadata, spec = {"resourceVersion": "7"}, {"holderIdentity": ""}
    await client.patch_lease("operator", "l", metadata=metadata, spec=spec)
    found = server.received[0]
    assert (found.method, found.path) == ("PATCH", f"{LEASES}/l")
    assert found.content_type == "application/merge-patch+json"
    assert found.body == {"metadata": metadata, "spec": spec}
    with pytest.raises(ConflictError):
        await client.patch_lease("operator", "l", metadata=metadata, spec=spec)


async def test_leases_of_a_name_are_listed_in_all_namespaces(
    server: Peer, client: KubernetesClient
) -> None:
    """So that the right to list can be given for this one name."""
    server.answer(reply({"items": [{"metadata": {"namespace": "a"}}]}))
    assert await client.list_leases("l") == [{"metadata": {"namespace": "a"}}]
    [found] = server.received
    assert (found.method, found.path) == ("GET", "/apis/coordination.k8s.io/v1/leases")
    assert found.query == {"fieldSelector": "metadata.name=l"}


async def test_lease_is_watched_by_its_name(server: Peer, client: KubernetesClient) -> None:
    """So that the right to watch can be given for this one Lease."""
    event = {"type": "MODIFIED", "object": {"metadata": {}}}
    server.answer(stream(event), stream(), failure(403))
    assert await client.wait_for_lease("operator", "l", "7") is True
    assert await client.wait_for_lease("operator", "l", "7") is False
    with pytest.raises(ForbiddenError):
        await client.wait_for_lease("operator", "l", "7")
    query = server.received[0].query
    assert query["fieldSelector"] == "metadata.name=l"
    assert (query["resourceVersion"], query["watch"]) == ("7", "true")
