"""Names of objects in the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .resource import API_VERSION, ObjectMeta

NOTIFICATIONS = "notifications"
PROCESSORS = "notificationprocessors"
SLICES = "notificationdeliveryslices"

_KINDS = {
    NOTIFICATIONS: "Notification",
    PROCESSORS: "NotificationProcessor",
    SLICES: "NotificationDeliverySlice",
}


@dataclass(frozen=True, kw_only=True)
class ObjectRef:
    """One custom resource of our group."""

    plural: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, plural: str, metadata: ObjectMeta) -> ObjectRef:
        """Return the reference of an object by its metadata."""
        return cls(
            plural=plural, namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
        )

    @property
    def kind(self) -> str:
        """The object's kind."""
        return _KINDS[self.plural]

    @property
    def log_fields(self) -> dict[str, str]:
        """The reference as fields of a log line."""
        return {self.kind.lower(): f"{self.namespace}/{self.name}", "uid": self.uid}

    def to_wire(self) -> dict[str, Any]:
        """Return the object as a core/v1 ``ObjectReference``."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        }
