"""What the engine needs from outside, as protocols; `kube` provides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..api.references import ObjectRef


class SecretValues(Protocol):
    """Values of a Secret, and the version they were read at."""

    @property
    def data(self) -> Mapping[str, bytes]: ...

    @property
    def resource_version(self) -> str: ...


class Cluster(Protocol):
    """The API server, as far as the engine writes to it or asks it.

    Every method raises subclasses of `KubernetesError`.
    """

    async def get(self, ref: ObjectRef) -> dict[str, Any]:
        """Return a custom resource of our group."""

    async def patch_status(
        self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str
    ) -> dict[str, Any]:
        """Merge into the status if the object is still at one resource version."""

    async def list_slices(self, owner: ObjectRef) -> list[dict[str, Any]]:
        """Return the delivery slices of a Notification, read through to the storage."""

    async def create_slice(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a delivery slice; `ConflictError` if it exists."""

    async def patch_slice(
        self, ref: ObjectRef, fields: Mapping[str, Any], *, resource_version: str
    ) -> dict[str, Any]:
        """Merge into a delivery slice if it is still at one resource version."""

    async def delete(self, ref: ObjectRef, *, uid: str, resource_version: str) -> None:
        """Delete a custom resource if it is still the one that was seen."""

    async def get_secret(self, namespace: str, name: str) -> SecretValues | None:
        """Return a Secret, or ``None`` if it is not there."""


class Leadership(Protocol):
    """Whether this process leads: only the leader claims, sends, plans and deletes."""

    @property
    def epoch(self) -> int | None:
        """What this acquisition of the Lease is known by, or ``None``.

        One that has ended never comes back, so whoever remembers its epoch can tell.
        """


class Recorder(Protocol):
    """Writes Events."""

    async def record(
        self, regarding: Mapping[str, Any], *, warning: bool, reason: str, action: str, note: str
    ) -> None:
        """Write one Event about an object; failures are logged, not raised."""
