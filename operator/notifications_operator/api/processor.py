"""The ``NotificationProcessor`` custom resource (``crds/notificationprocessors.yaml``)."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from .conditions import Condition
from .durations import Duration
from .email import EmailConfig, ProcessorFilter
from .resource import KubernetesModel, Resource, Time

BUILT_IN_TYPES = ("email",)
"""Types this release ships; any other is a plugin's and written ``<domain>/<name>``."""


class OnAmbiguous(StrEnum):
    """What to do when a message may or may not have been accepted."""

    RESEND = "Resend"
    HOLD = "Hold"


class LocalObjectReference(KubernetesModel):
    """A resource of the same namespace."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]


class RetryPolicy(KubernetesModel):
    """How often and how long a delivery is tried."""

    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 100
    max_age: Duration = timedelta(hours=24)
    min_delay: Duration = timedelta(seconds=30)
    max_delay: Duration = timedelta(minutes=15)


class NotificationProcessorSpec(KubernetesModel):
    """How notifications leave the cluster."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    email: EmailConfig | None = None
    config: dict[str, Any] | None = None
    channel: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    secret_ref: LocalObjectReference | None = None
    filter: ProcessorFilter | None = None
    order: int = 0
    suspend: bool = False
    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    on_ambiguous: OnAmbiguous = OnAmbiguous.RESEND

    @model_validator(mode="after")
    def _block_fits_type(self) -> Self:
        if self.type not in BUILT_IN_TYPES and "/" not in self.type:
            raise ValueError(
                f"unknown processor type {self.type!r}; valid: {', '.join(BUILT_IN_TYPES)}, "
                "or a plugin's name written <domain>/<name>"
            )
        if (self.type == "email") != (self.email is not None):
            raise ValueError("spec.email is required for type email, and only there")
        if self.config is not None and "/" not in self.type:
            raise ValueError("spec.config is for plugins; built-in types have a block of their own")
        transport = self.email.transport_config if self.email else None
        if self.secret_ref and transport is not None and getattr(transport, "ignore_tls", False):
            raise ValueError(
                "credentials (spec.secretRef) are never sent in clear: remove ignoreTls"
            )
        return self


class ProcessorReason(StrEnum):
    """Reasons of a processor's ``Ready`` condition."""

    CONNECTED = "Connected"
    CONNECTING = "Connecting"
    INVALID_CONFIG = "InvalidConfig"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, no secret
    AUTH_FAILED = "AuthFailed"
    TLS_FAILED = "TLSFailed"
    CONNECT_FAILED = "ConnectFailed"
    DNS_FAILED = "DNSFailed"
    SUSPENDED = "Suspended"
    NOT_ALLOWED = "NotAllowed"


class NotificationProcessorStatus(KubernetesModel):
    """Whether the processor can send."""

    observed_generation: int = -1
    observed_secret_version: str | None = None
    last_success_time: Time | None = None
    conditions: list[Condition] = Field(default_factory=list)


class NotificationProcessor(Resource):
    """A channel that carries notifications to people."""

    spec: NotificationProcessorSpec
    status: NotificationProcessorStatus = Field(default_factory=NotificationProcessorStatus)
