"""Builds what the tests of the email processor are about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from notifications_operator.api.notification import Payload
from notifications_operator.api.processor import NotificationProcessorSpec
from notifications_operator.catalog import Directory, Entity, EntityRef
from notifications_operator.processors.base import (
    Audience,
    Environment,
    OutboundNotification,
    ProcessorContext,
    SecretKey,
    SendContext,
)

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECRET = "mail-credentials"


def payload(**changes: Any) -> Payload:
    """Make a payload; values are not validated, because decorators' are not."""
    return Payload(title="Build failed").model_copy(update=changes)


def notification(
    *,
    revision: int = 1,
    redelivery: int = 0,
    broadcast: bool = False,
    origin: str = "namespace:team-a",
    uid: str = "11111111-2222-3333-4444-555555555555",
    **changes: Any,
) -> OutboundNotification:
    """Make a notification; what is not named here goes into its payload."""
    return OutboundNotification(
        uid=uid,
        namespace="team-a",
        name="build-failed",
        revision=revision,
        redelivery=redelivery,
        origin=origin,
        created=CREATED,
        broadcast=broadcast,
        payload=payload(**changes),
    )


def user(name: str, email: str | None = None) -> Entity:
    """Make a user."""
    return Entity(ref=EntityRef.parse(f"user:default/{name}"), email=email)


def audience(*users: Entity, broadcast: bool = False) -> Audience:
    """Make an audience."""
    return Audience(users=users, broadcast=broadcast)


def always() -> bool:
    """Say that this process leads."""
    return True


def sending(users: Iterable[Entity] = ()) -> SendContext:
    """Make a context whose catalog holds these users."""
    return SendContext(directory=Directory(users))


def spec(
    transport: dict[str, Any] | None = None, *, secret: str | None = None, **email: Any
) -> NotificationProcessorSpec:
    """Make the spec of an email processor; `email` overrides fields of ``spec.email``."""
    fields = {
        "transportConfig": transport or {"transport": "stream"},
        "sender": "Platform <sender@mycompany.com>",
        **email,
    }
    return NotificationProcessorSpec.model_validate(
        {
            "type": "email",
            "email": fields,
            **({"secretRef": {"name": secret}} if secret else {}),
        }
    )


def context(
    processor_spec: NotificationProcessorSpec,
    *,
    secrets: dict[SecretKey, bytes] | None = None,
    **environment: Any,
) -> ProcessorContext:
    """Make what a processor is made from."""
    return ProcessorContext(
        name="email",
        spec=processor_spec,
        environment=Environment(**environment),
        secrets=secrets or {},
    )


def credentials(
    username: bytes = b"my-username", password: bytes = b"my-password"
) -> dict[SecretKey, bytes]:
    """Make the Secret of `SECRET`."""
    return {
        SecretKey(secret=SECRET, key="username"): username,
        SecretKey(secret=SECRET, key="password"): password,
    }
