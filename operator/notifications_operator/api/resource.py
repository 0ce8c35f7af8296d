"""What every custom resource of this group shares: group, version, metadata, timestamps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

GROUP = "notifications.orchestrator.io"
"""API group of all our kinds; also the prefix of our labels and annotations."""

VERSION = "v1alpha1"
"""The served and stored version."""

API_VERSION = f"{GROUP}/{VERSION}"


def format_time(value: datetime) -> str:
    """Format a moment as the API server does (``metav1.Time``: RFC 3339, UTC, whole seconds)."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[datetime, PlainSerializer(format_time, return_type=str, when_used="json")]
"""A moment, in UTC with whole seconds on the wire."""


class KubernetesModel(BaseModel):
    """Base of everything read from the API server: camelCase there, snake_case here.

    Unknown fields are ignored, because a newer API server or custom resource definition may
    serve fields this release does not know.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the camelCase JSON form, without the fields that are unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _empty_if_null(value: object) -> object:
    return {} if value is None else value


class ObjectMeta(KubernetesModel):
    """The part of ``metav1.ObjectMeta`` that the operator uses."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: Annotated[dict[str, str], BeforeValidator(_empty_if_null)] = Field(
        default_factory=dict
    )
    annotations: Annotated[dict[str, str], BeforeValidator(_empty_if_null)] = Field(
        default_factory=dict
    )


class Resource(KubernetesModel):
    """A custom resource: its metadata; the spec and status belong to the kind."""

    metadata: ObjectMeta

    @property
    def key(self) -> str:
        """``namespace/name``, as logs and messages show it."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
