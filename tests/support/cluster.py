"""An API server in memory, as strict as the real one about what the delivery engine relies on.

Modelled: resource versions and compare-and-set, generations, uids, RFC 7386 merge patches of the
status, the installed definitions' defaults, pruning and validation (the CRDs of this repository),
etcd's limit on an object's size, deletion with preconditions, Secrets, and a watch. Everything is
copied through JSON on its way in and out. Not modelled: CEL rules, admission, RBAC, field managers.

A test makes requests fail with `Interruption`: before they are carried out, or after (the answer
is lost), or it lets something else happen first.
"""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from notifications_operator.api.errors import (
    ConflictError,
    KubernetesError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from notifications_operator.api.references import SLICES, ObjectRef
from notifications_operator.api.resource import API_VERSION, format_time
from notifications_operator.api.slice import NOTIFICATION_UID_LABEL
from tests.support.definitions import Definition, installed_definitions

OBJECT_LIMIT = 1_500_000
"""Most bytes of one stored object (etcd's ``--max-request-bytes``)."""

Key = tuple[str, str, str]
Body = dict[str, Any]
Bodies = list[Body]


@dataclass(frozen=True, kw_only=True)
class Secret:
    """Values of a Secret, and the version they were read at."""

    data: Mapping[str, bytes]
    resource_version: str


@dataclass(frozen=True, kw_only=True)
class PatchRequest:
    """One request to patch a status, and the error that was answered, if any."""

    name: str
    status: Body
    error: type[KubernetesError] | None
    stored: bool


@dataclass(kw_only=True)
class Interruption:
    """Something that goes wrong with the next requests of a kind, or of any.

    ``before`` runs first, as if another client were faster. With an ``error`` the request fails:
    before it is carried out, or with ``applied`` after it, so that only the answer is lost.
    ``when`` looks at a patch's status.
    """

    operation: str = "patch_status"
    before: Callable[[], object] | None = None
    error: KubernetesError | None = None
    applied: bool = False
    times: int = 1
    when: Callable[[Mapping[str, Any]], bool] = field(default=lambda status: True)


def lost_answer(**options: Any) -> Interruption:
    """The request is carried out and its answer never arrives."""
    return Interruption(error=UnavailableError("the answer was lost"), applied=True, **options)


def unavailable(**options: Any) -> Interruption:
    """The request never arrives."""
    return Interruption(error=UnavailableError("connection refused"), **options)


class MemoryCluster:
    """The objects of our kinds and the Secrets of one cluster.

    Parameters
    ----------
    definitions
        Installed definitions by plural; those of this repository by default.
    object_limit
        Most bytes of one object.
    """

    def __init__(
        self,
        *,
        definitions: Mapping[str, Definition] | None = None,
        object_limit: int = OBJECT_LIMIT,
    ) -> None:
        self.definitions = dict(definitions or installed_definitions())
        self.object_limit = object_limit
        self.reachable = True
        self.patches: list[PatchRequest] = []
        self.slice_patches = 0
        self.changed = asyncio.Event()
        """Set at every request and change; whoever waits clears it."""
        self._objects: dict[Key, Body] = {}
        self._secrets: dict[tuple[str, str], Secret] = {}
        self._version = 1000
        self._interruptions: list[Interruption] = []
        self._watchers: list[Callable[[str, Body], None]] = []
        self._held_events: list[tuple[str, Body]] | None = None

    def interrupt(self, *interruptions: Interruption) -> None:
        """Let the next fitting requests go wrong."""
        self._interruptions.extend(interruptions)

    def create(self, plural: str, manifest: Mapping[str, Any]) -> Body:
        """Create an object, as a user does; a status in the manifest is dropped."""
        body = _json(manifest)
        metadata = body["metadata"]
        key = (plural, metadata["namespace"], metadata["name"])
        if key in self._objects:
            raise ConflictError(f"{key} exists already")
        body.pop("status", None)
        body["apiVersion"] = API_VERSION
        body["metadata"] = {
            **metadata,
            "uid": metadata.get("uid") or str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": metadata.get("creationTimestamp") or format_time(_now()),
        }
        return self._store(key, body, "ADDED")

    def edit(self, plural: str, namespace: str, name: str, change: Callable[[Body], None]) -> Body:
        """Change metadata or spec of an object in place, as a user does."""
        key = (plural, namespace, name)
        body = self._find(key)
        before = _json(body)
        change(body)
        body = self.definitions[plural].admit(body)
        if body["spec"] != before["spec"]:
            body["metadata"]["generation"] += 1
        body["status"] = before.get("status") or {}
        return self._store(key, body, "MODIFIED")

    def write_status(
        self, plural: str, namespace: str, name: str, change: Callable[[Body], None]
    ) -> Body:
        """Change the status of an object in place, as another process of the operator does."""
        key = (plural, namespace, name)
        body = self._find(key)
        change(body["status"])
        return self._store(key, body, "MODIFIED")

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object, as a user does."""
        key = (plural, namespace, name)
        body = self._find(key)
        del self._objects[key]
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._emit("DELETED", body)

    def read(self, plural: str, namespace: str, name: str) -> Body:
        """Return an object as it is stored."""
        return self._find((plural, namespace, name))

    def list(self, plural: str) -> list[Body]:
        """Return all objects of a kind."""
        return [_json(body) for key, body in self._objects.items() if key[0] == plural]

    def put_secret(self, namespace: str, name: str, data: Mapping[str, bytes] | None) -> None:
        """Create, replace or (with ``None``) delete a Secret."""
        self._version += 1
        if data is None:
            self._secrets.pop((namespace, name), None)
            return
        self._secrets[namespace, name] = Secret(
            data=dict(data), resource_version=str(self._version)
        )

    def watch(self, handler: Callable[[str, Body], None]) -> None:
        """Call ``handler`` with type and object of every change from now on, soon after it."""
        self._watchers.append(handler)

    def hold_events(self) -> None:
        """Let the watch fall behind until `deliver_events`."""
        self._held_events = []

    def deliver_events(self) -> None:
        """Deliver what the watch held back, and go on without delay."""
        held, self._held_events = self._held_events or [], None
        for kind, body in held:
            self._emit(kind, body)

    async def get(self, ref: ObjectRef) -> Body:
        """Return an object; see `ports.Cluster`."""
        if loss := await self._arrive("get", {}):
            raise loss
        return self._find((ref.plural, ref.namespace, ref.name))

    async def patch_status(
        self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str
    ) -> Body:
        """Merge into the status if the object is at a version; see `ports.Cluster`."""
        patch = _json(status)
        stored = False
        error: type[KubernetesError] | None = None
        try:
            loss = await self._arrive("patch_status", patch)
            answer = self._patch((ref.plural, ref.namespace, ref.name), patch, resource_version)
            stored = True
            if loss is not None:
                raise loss
        except KubernetesError as failure:
            error = type(failure)
            raise
        finally:
            self.patches.append(
                PatchRequest(name=ref.name, status=patch, error=error, stored=stored)
            )
            self.changed.set()
        return answer

    async def list_slices(self, owner: ObjectRef) -> Bodies:
        """Return the slices of a Notification; see `ports.Cluster`."""
        if loss := await self._arrive("list_slices", {}):
            raise loss
        return [
            body
            for body in self.list(SLICES)
            if body["metadata"]["labels"][NOTIFICATION_UID_LABEL] == owner.uid
        ]

    async def create_slice(self, body: Mapping[str, Any]) -> Body:
        """Create a slice; see `ports.Cluster`."""
        sent = _json(body)
        loss = await self._arrive("create_slice", sent)
        metadata = sent["metadata"]
        key = (SLICES, metadata["namespace"], metadata["name"])
        if key in self._objects:
            raise ConflictError(f"{key} exists already")
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": format_time(_now())}
        answer: Body = _json(self._store(key, sent, "ADDED"))
        if loss is not None:
            raise loss
        return answer

    async def patch_slice(
        self, ref: ObjectRef, fields: Mapping[str, Any], *, resource_version: str
    ) -> Body:
        """Merge into a slice if it is at a version; see `ports.Cluster`."""
        patch = _json(fields)
        loss = await self._arrive("patch_slice", patch)
        key = (ref.plural, ref.namespace, ref.name)
        body = self._find(key)
        if body["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError("the object has been modified; apply your changes to the latest")
        answer: Body = _json(self._store(key, apply_merge_patch(body, patch), "MODIFIED"))
        self.slice_patches += 1
        if loss is not None:
            raise loss
        return answer

    async def delete(self, ref: ObjectRef, *, uid: str, resource_version: str) -> None:
        """Delete an object that is still the one that was seen; see `ports.Cluster`."""
        loss = await self._arrive("delete", {})
        metadata = self._find((ref.plural, ref.namespace, ref.name))["metadata"]
        if (metadata["uid"], metadata["resourceVersion"]) != (uid, resource_version):
            raise ConflictError("a precondition of the deletion does not hold")
        self.remove(ref.plural, ref.namespace, ref.name)
        if loss is not None:
            raise loss

    async def get_secret(self, namespace: str, name: str) -> Secret | None:
        """Return a Secret; see `ports.Cluster`."""
        if loss := await self._arrive("get_secret", {}):
            raise loss
        return self._secrets.get((namespace, name))

    async def _arrive(self, operation: str, status: Mapping[str, Any]) -> KubernetesError | None:
        """Let a request arrive; return the error that shall hide its answer."""
        await asyncio.sleep(0)
        self.changed.set()
        if not self.reachable:
            raise UnavailableError("connection refused")
        for interruption in self._interruptions:
            if interruption.operation in ("any", operation) and interruption.when(status):
                interruption.times -= 1
                if interruption.times <= 0:
                    self._interruptions.remove(interruption)
                if interruption.before is not None:
                    interruption.before()
                if interruption.error is not None and not interruption.applied:
                    raise interruption.error
                return interruption.error
        return None

    def _patch(self, key: Key, patch: Body, resource_version: str) -> Body:
        body = self._find(key)
        if body["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError("the object has been modified; apply your changes to the latest")
        body["status"] = apply_merge_patch(body.get("status") or {}, patch)
        return self._store(key, body, "MODIFIED")

    def _store(self, key: Key, body: Body, event: str) -> Body:
        """Default, prune, validate and store an object; an unchanged one keeps its version."""
        body = self.definitions[key[0]].admit(body)
        if body == self._objects.get(key):
            return body
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        size = len(json.dumps(body).encode())
        if size > self.object_limit:
            raise RejectedError(f"etcdserver: request is too large: {size} bytes")
        self._objects[key] = _json(body)
        self._emit(event, body)
        return body

    def _find(self, key: Key) -> Body:
        if key not in self._objects:
            raise NotFoundError(f"{'/'.join(key)} not found")
        found: Body = _json(self._objects[key])
        return found

    def _emit(self, kind: str, body: Body) -> None:
        self.changed.set()
        if self._held_events is not None:
            self._held_events.append((kind, _json(body)))
            return
        for watcher in self._watchers:
            asyncio.get_running_loop().call_soon(watcher, kind, _json(body))


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """Apply a merge patch: the pseudo-code of RFC 7386 section 2."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply_merge_patch(merged.get(name), value)
    return merged


def stored_patches(patches: Iterable[PatchRequest], name: str) -> list[Body]:
    """Return the patches of one object that were stored, whether or not the answer arrived."""
    return [patch.status for patch in patches if patch.name == name and patch.stored]


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def _now() -> datetime:
    return datetime.now(UTC)
