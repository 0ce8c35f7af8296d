"""Our Kubernetes API calls: the only way to the API server, kopf's watch aside."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from ..api.errors import ExpiredError, NotFoundError
from ..api.references import NOTIFICATIONS, PROCESSORS, SLICES, ObjectRef
from ..api.resource import GROUP, VERSION
from ..api.slice import NOTIFICATION_UID_LABEL
from .transport import METADATA_ONLY, Transport

T = TypeVar("T")

FIELD_MANAGER = "notifications-operator"
"""Name under which the API server records our writes."""

CATALOG_LABEL = f"{GROUP}/catalog=true"
"""Selects the ConfigMaps that hold catalog entities."""

_PAGE = 500
"""Objects per page of a list."""


@dataclass(frozen=True, kw_only=True)
class Secret:
    """Values of a Secret, and the version they were read at."""

    data: Mapping[str, bytes]
    resource_version: str


@dataclass(frozen=True, kw_only=True)
class ConfigMapEvent:
    """A change of a ConfigMap; ``deleted`` ones carry their last content."""

    body: dict[str, Any]
    deleted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectVersion:
    """An object and the version of it that a list or a watch brought."""

    namespace: str
    name: str
    uid: str
    resource_version: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Return what an object's metadata say."""
        metadata = body["metadata"]
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        )

    @property
    def number(self) -> int:
        """The version as a number, which orders versions of one kind (KEP-5504)."""
        return int(self.resource_version)


def _whole(body: dict[str, Any]) -> dict[str, Any]:
    return body


class KubernetesClient:
    """Kubernetes API calls of the operator, by what they are for."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def version(self) -> str:
        """Return the API server's version; any authenticated client may ask."""
        return str((await self._transport.request("GET", "/version"))["gitVersion"])

    async def get_definition(self, plural: str) -> dict[str, Any]:
        """Return the installed custom resource definition of one of our kinds."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{GROUP}"
        return await self._transport.request("GET", path)

    async def get(self, ref: ObjectRef) -> dict[str, Any]:
        """Return a custom resource of our group."""
        return await self._transport.request("GET", _path(ref))

    async def create_notification(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a Notification.

        Raises
        ------
        ConflictError
            If one of that name exists.
        RejectedError
            If the API server will never store it.
        ForbiddenError
            If RBAC, a quota or a policy refuses it.
        KubernetesError
            For any other failure; with `UnavailableError` it may have been stored all the same.
        """
        path = _notifications_path(body["metadata"]["namespace"])
        query = {"fieldManager": FIELD_MANAGER}
        return await self._transport.request("POST", path, query=query, body=body)

    async def get_notification(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a Notification as it is stored, or ``None`` if it is not there."""
        try:
            return await self._transport.request("GET", f"{_notifications_path(namespace)}/{name}")
        except NotFoundError:
            return None

    async def count_notifications(
        self, namespace: str, *, field_selector: str, at_most: int
    ) -> int:
        """Return how many Notifications of a namespace a field selector chooses.

        The API server tells no number beside a selector, so that they are listed, as metadata
        alone; the listing ends at ``at_most``, which is returned then.
        """
        query = {"fieldSelector": field_selector, "limit": str(min(_PAGE, at_most))}
        path, counted = _notifications_path(namespace), 0
        while True:
            try:
                answer = await self._transport.request(
                    "GET", path, query=query, accept=METADATA_ONLY
                )
            except ExpiredError:
                counted = 0
                query.pop("continue", None)
                continue
            counted += len(answer["items"] or ())
            token = answer["metadata"].get("continue")
            if not token or counted >= at_most:
                return min(counted, at_most)
            query["continue"] = token

    async def list_processors(self, namespace: str) -> list[dict[str, Any]]:
        """Return the NotificationProcessors of a namespace."""
        items, _ = await self._list(
            f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PROCESSORS}", {}, take=_whole
        )
        return items

    async def list_versions(self, plural: str) -> list[ObjectVersion]:
        """Return which custom resources of a kind there are in all namespaces, and their versions.

        The API server is asked for metadata alone and each page is reduced at once, so that many
        objects cost little and hold nothing up.
        """
        path = f"/apis/{GROUP}/{VERSION}/{plural}"
        found, _ = await self._list(path, {}, accept=METADATA_ONLY, take=ObjectVersion.of)
        return found

    async def check_list(self, plural: str) -> None:
        """Raise what keeps the custom resources of a kind from being listed, if anything does."""
        path = f"/apis/{GROUP}/{VERSION}/{plural}"
        await self._transport.request("GET", path, query={"limit": "1"}, accept=METADATA_ONLY)

    async def patch_status(
        self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str
    ) -> dict[str, Any]:
        """Merge into the status if the object is still at one resource version.

        A merge patch that carries ``metadata.resourceVersion`` fails with 409, unlike a JSON
        patch's test, whose 422 could as well be a schema error.

        Returns
        -------
        dict
            The object as it is now, so that the caller sees what was really stored.

        Raises
        ------
        ConflictError
            If someone else has written the object since; the caller reads again and decides.
        RejectedError
            If the API server will never store this status.
        KubernetesError
            For any other failure.
        """
        return await self._transport.request(
            "PATCH",
            f"{_path(ref)}/status",
            query={"fieldManager": FIELD_MANAGER},
            body={"metadata": {"resourceVersion": resource_version}, "status": status},
            content_type="application/merge-patch+json",
        )

    async def list_slices(self, owner: ObjectRef) -> list[dict[str, Any]]:
        """Return the delivery slices of a Notification, read through to the storage."""
        items, _ = await self._list(
            f"/apis/{GROUP}/{VERSION}/namespaces/{owner.namespace}/{SLICES}",
            {"labelSelector": f"{NOTIFICATION_UID_LABEL}={owner.uid}"},
            take=_whole,
        )
        return items

    async def create_slice(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a delivery slice.

        Raises
        ------
        ConflictError
            If one of that name exists.
        KubernetesError
            For any other failure.
        """
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{body['metadata']['namespace']}/{SLICES}"
        query = {"fieldManager": FIELD_MANAGER}
        return await self._transport.request("POST", path, query=query, body=body)

    async def patch_slice(
        self, ref: ObjectRef, fields: Mapping[str, Any], *, resource_version: str
    ) -> dict[str, Any]:
        """Merge into a delivery slice if it is still at one resource version; as `patch_status`."""
        return await self._transport.request(
            "PATCH",
            _path(ref),
            query={"fieldManager": FIELD_MANAGER},
            body={**fields, "metadata": {"resourceVersion": resource_version}},
            content_type="application/merge-patch+json",
        )

    async def delete(self, ref: ObjectRef, *, uid: str, resource_version: str) -> None:
        """Delete a custom resource if it is still the one that was seen."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        await self._transport.request(
            "DELETE",
            _path(ref),
            body={
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": preconditions,
                "propagationPolicy": "Background",
            },
        )

    async def get_secret(self, namespace: str, name: str) -> Secret | None:
        """Return a Secret, or ``None`` if it is not there."""
        try:
            body = await self._transport.request(
                "GET", f"/api/v1/namespaces/{namespace}/secrets/{name}"
            )
        except NotFoundError:
            return None
        return Secret(
            data=_decode(body.get("data") or {}),
            resource_version=body["metadata"]["resourceVersion"],
        )

    async def list_catalog(self, namespace: str) -> tuple[list[dict[str, Any]], str]:
        """Return the catalog's ConfigMaps in a namespace, and the version of the list."""
        return await self._list(
            f"/api/v1/namespaces/{namespace}/configmaps",
            {"labelSelector": CATALOG_LABEL},
            take=_whole,
        )

    async def list_catalog_versions(self, namespace: str) -> tuple[list[ObjectVersion], str]:
        """Return which ConfigMaps of the catalog there are; otherwise as `list_catalog`."""
        return await self._list(
            f"/api/v1/namespaces/{namespace}/configmaps",
            {"labelSelector": CATALOG_LABEL},
            accept=METADATA_ONLY,
            take=ObjectVersion.of,
        )

    async def watch_catalog(
        self, namespace: str, resource_version: str, *, inactivity_timeout: float
    ) -> AsyncGenerator[ConfigMapEvent, None]:
        """Yield changes of the catalog's ConfigMaps after a version.

        The stream goes on over the server's regular ends, and over silences of so many seconds
        (the server sends a bookmark about once a minute), and stops with an error.

        Raises
        ------
        ExpiredError
            If the version is too old; list again.
        KubernetesError
            For any other failure.
        """
        while True:
            query = {
                "labelSelector": CATALOG_LABEL,
                "resourceVersion": resource_version,
                "allowWatchBookmarks": "true",
            }
            path = f"/api/v1/namespaces/{namespace}/configmaps"
            watch = self._transport.watch(path, query, inactivity_timeout=inactivity_timeout)
            async with aclosing(watch) as events:
                async for event in events:
                    resource_version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        deleted = event["type"] == "DELETED"
                        yield ConfigMapEvent(body=event["object"], deleted=deleted)

    async def get_lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a Lease, or ``None`` if it is not there."""
        try:
            return await self._transport.request("GET", _lease_path(namespace, name))
        except NotFoundError:
            return None

    async def list_leases(self, name: str) -> list[dict[str, Any]]:
        """Return the Leases of one name in all namespaces, read through to the storage."""
        # With this selector the right to list can be given for one name.
        query = {"fieldSelector": f"metadata.name={name}"}
        path = "/apis/coordination.k8s.io/v1/leases"
        answer = await self._transport.request("GET", path, query=query)
        return list(answer["items"])

    async def create_lease(
        self, namespace: str, name: str, *, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Create a Lease; raises `ConflictError` if somebody was faster."""
        return await self._transport.request(
            "POST",
            _lease_path(namespace),
            query={"fieldManager": FIELD_MANAGER},
            body={
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {**metadata, "name": name, "namespace": namespace},
                "spec": spec,
            },
        )

    async def patch_lease(
        self, namespace: str, name: str, *, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Merge into a Lease; ``metadata`` must hold the resource version that it still has.

        Raises
        ------
        ConflictError
            If somebody else has written it since.
        KubernetesError
            For any other failure.
        """
        return await self._transport.request(
            "PATCH",
            _lease_path(namespace, name),
            query={"fieldManager": FIELD_MANAGER},
            body={"metadata": metadata, "spec": spec},
            content_type="application/merge-patch+json",
        )

    async def wait_for_lease(self, namespace: str, name: str, resource_version: str) -> bool:
        """Return True when a Lease changes after a version, False if the watch ends before.

        Raises
        ------
        KubernetesError
            If it cannot be watched.
        """
        # With this selector the right to watch can be given for one name.
        query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": resource_version}
        async with aclosing(self._transport.watch(_lease_path(namespace), query)) as events:
            async for _ in events:
                return True
        return False

    async def create_event(self, namespace: str, body: Mapping[str, Any]) -> None:
        """Create an Event (``events.k8s.io/v1``)."""
        await self._transport.request(
            "POST", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", body=body
        )

    async def patch_event(self, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        """Merge into an Event; raises `NotFoundError` once it has expired."""
        await self._transport.request(
            "PATCH",
            f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/{name}",
            body=body,
            content_type="application/merge-patch+json",
        )

    async def _list(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str = "application/json",
        take: Callable[[dict[str, Any]], T],
    ) -> tuple[list[T], str]:
        """List page by page; an expired continuation starts anew."""
        while True:
            try:
                return await self._list_pages(path, query, accept, take)
            except ExpiredError:
                continue

    async def _list_pages(
        self,
        path: str,
        query: Mapping[str, str],
        accept: str,
        take: Callable[[dict[str, Any]], T],
    ) -> tuple[list[T], str]:
        items: list[T] = []
        page = {**query, "limit": str(_PAGE)}
        while True:
            answer = await self._transport.request("GET", path, query=page, accept=accept)
            # A list of metadata alone says null where there are none.
            items.extend(map(take, answer["items"] or ()))
            token = answer["metadata"].get("continue")
            if not token:
                return items, answer["metadata"]["resourceVersion"]
            page["continue"] = token


def _path(ref: ObjectRef) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{ref.namespace}/{ref.plural}/{ref.name}"


def _notifications_path(namespace: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{NOTIFICATIONS}"


def _lease_path(namespace: str, name: str | None = None) -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    return path if name is None else f"{path}/{name}"


def _decode(data: Mapping[str, str]) -> dict[str, bytes]:
    return {key: base64.b64decode(value or "") for key, value in data.items()}
