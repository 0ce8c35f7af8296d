"""What every custom resource of this group shares: group, version, metadata, timestamps."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

GROUP = "notifications.orchestrator.io"
"""API group of all our kinds; also the prefix of our labels and annotations."""

VERSION = "v1alpha1"
"""The served and stored version."""

API_VERSION = f"{GROUP}/{VERSION}"


def format_time(value: datetime) -> str:
    """Format a moment as the API server does (``metav1.Time``: RFC 3339, UTC, whole seconds)."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


TIME_PATTERN = (
    r"^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"(Z|[-+]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""A moment of RFC 3339 in the years 2000 to 2999, so that arithmetic never overflows.

The API server's ``format: date-time`` alone also accepts a lower-case ``t`` and any character
before the fraction (k8s.io/kube-openapi strfmt).
"""


def _refuse_other_forms(value: Any) -> Any:
    if isinstance(value, datetime) or (
        isinstance(value, str) and re.fullmatch(TIME_PATTERN[1:-1], value)
    ):
        return value
    raise ValueError(
        f"{str(value)[:64]!r} is no moment; write RFC 3339 with a zone, such as "
        "2030-01-31T18:00:00Z"
    )


Time = Annotated[
    datetime,
    BeforeValidator(_refuse_other_forms),
    PlainSerializer(format_time, return_type=str, when_used="json"),
]
"""A moment, in UTC with whole seconds on the wire."""


class KubernetesModel(BaseModel):
    """Base of everything read from the API server: camelCase there, snake_case here.

    Unknown fields are ignored, because a newer API server or custom resource definition may
    serve fields this release does not know. A null counts as absent: the API server drops it
    before it applies defaults and validates.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {name: value for name, value in data.items() if value is not None}
        return data

    def to_wire(self) -> dict[str, Any]:
        """Return the camelCase JSON form, without the fields that are unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ObjectMeta(KubernetesModel):
    """The part of ``metav1.ObjectMeta`` that the operator uses."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    @property
    def version(self) -> int:
        """The resource version as a number, which orders versions of one object (KEP-5504)."""
        return int(self.resource_version) if self.resource_version.isdigit() else 0


class Resource(KubernetesModel):
    """A custom resource: its metadata; the spec and status belong to the kind."""

    metadata: ObjectMeta

    @property
    def key(self) -> str:
        """``namespace/name``, as logs and messages show it."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
