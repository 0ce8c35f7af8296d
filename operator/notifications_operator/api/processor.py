"""The ``NotificationProcessor`` custom resource (``crds/notificationprocessors.yaml``)."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from .conditions import Condition
from .depth import is_deeper
from .durations import GoDuration
from .email import EmailConfig, ProcessorFilter, SMTPTransport
from .fields import PRINTABLE_PATTERN, UNCOERCED, Boolean, ObjectName, Word
from .placeholders import REMEDY, find_placeholders
from .resource import KubernetesModel, Resource, Time

BUILT_IN_TYPES = ("email", "inbox")
"""Types this release ships; any other is a plugin's and written ``<domain>/<name>``."""

TYPE_PATTERN = (
    rf"^({'|'.join(BUILT_IN_TYPES)}"
    r"|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
    r"/[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)$"
)
"""A built-in type, or a plugin's (a qualified name as Kubernetes' label keys)."""

SHORTEST_DELAY = timedelta(milliseconds=100)
"""Least ``minDelay``: a failure must never make a busy loop."""

CONFIG_DEPTH = 64
"""Most levels of nesting in ``spec.config``; what is far deeper is not even read."""


class OnAmbiguous(StrEnum):
    """What to do when a message may or may not have been accepted."""

    RESEND = "Resend"
    HOLD = "Hold"


class LocalObjectReference(KubernetesModel):
    """A resource of the same namespace."""

    name: ObjectName


class RetryPolicy(KubernetesModel):
    """How often and how long a delivery is tried."""

    max_attempts: Annotated[int, Field(ge=1, le=1000), UNCOERCED] = 100
    max_age: GoDuration = timedelta(hours=24)
    min_delay: GoDuration = timedelta(seconds=30)
    max_delay: GoDuration = timedelta(minutes=15)

    @model_validator(mode="after")
    def _delays_are_ordered(self) -> Self:
        if self.min_delay < SHORTEST_DELAY:
            raise ValueError("retry.minDelay must be at least 100ms")
        if self.max_delay < self.min_delay:
            raise ValueError("retry.maxDelay must not be shorter than retry.minDelay")
        return self


class NotificationProcessorSpec(KubernetesModel):
    """How notifications leave the cluster."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    email: EmailConfig | None = None
    config: Annotated[dict[str, Any], Field(max_length=256)] | None = None
    channel: (
        Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=PRINTABLE_PATTERN)]
        | None
    ) = None
    secret_ref: LocalObjectReference | None = None
    filter: ProcessorFilter | None = None
    order: Annotated[int, Field(ge=-2147483648, le=2147483647), UNCOERCED] = 0
    suspend: Boolean = False
    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    on_ambiguous: OnAmbiguous = OnAmbiguous.RESEND

    @model_validator(mode="before")
    @classmethod
    def _refuse_placeholders(cls, data: Any) -> Any:
        if paths := find_placeholders(data):
            raise ValueError(f"{', '.join(paths)}: {REMEDY}")
        return data

    @model_validator(mode="after")
    def _block_fits_type(self) -> Self:
        if not re.fullmatch(TYPE_PATTERN[1:-1], self.type):
            raise ValueError(
                f"unknown processor type {self.type!r}; valid: {', '.join(BUILT_IN_TYPES)}, "
                "or a plugin's type written <domain>/<name>, such as example.com/teams"
            )
        if (self.type == "email") != (self.email is not None):
            raise ValueError("spec.email is required for type email, and only there")
        if self.config is not None and self.type in BUILT_IN_TYPES:
            raise ValueError("spec.config is for plugins; built-in types have a block of their own")
        if self.config is not None and is_deeper(self.config, CONFIG_DEPTH):
            raise ValueError(f"spec.config is nested too deeply; at most {CONFIG_DEPTH} levels")
        return self

    @model_validator(mode="after")
    def _credentials_are_protected(self) -> Self:
        transport = self.email.transport_config if self.email else None
        if self.secret_ref is None or not isinstance(transport, SMTPTransport):
            return self
        if transport.ignore_tls:
            raise ValueError(
                "credentials (spec.secretRef) are never sent in clear: "
                "remove ignoreTls, or remove secretRef"
            )
        if transport.oauth2 is not None:
            raise ValueError(
                "oauth2 logs in with tokens instead of a password: remove secretRef, or remove "
                "email.transportConfig.oauth2"
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
    TIMEOUT = "Timeout"
    POLICY_DENIED = "PolicyDenied"
    SUSPENDED = "Suspended"
    NOT_ALLOWED = "NotAllowed"


class NotificationProcessorStatus(KubernetesModel):
    """Whether the processor can send."""

    observed_generation: int = -1
    observed_secret_version: Word | None = None
    last_success_time: Time | None = None
    conditions: list[Condition] = Field(default_factory=list)


class NotificationProcessor(Resource):
    """A channel that carries notifications to people."""

    spec: NotificationProcessorSpec
    status: NotificationProcessorStatus = Field(default_factory=NotificationProcessorStatus)
