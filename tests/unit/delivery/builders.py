"""Small values that the delivery tests are made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from notifications_operator.api.notification import DeliveryState, Notification
from notifications_operator.api.reasons import Reason
from notifications_operator.api.resource import format_time
from notifications_operator.catalog import Directory, Source, parse_source
from notifications_operator.delivery.ledger.rows import Row
from notifications_operator.processors.errors import DeliveryError, Scope

NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=UTC)
"""The moment of tests that are not about the present."""

ADA = "user:default/ada"
BOB = "user:default/bob"
EVE = "user:default/eve"

CATALOG = """
apiVersion: backstage.io/v1alpha1
kind: User
metadata: {name: ada}
spec: {profile: {displayName: Ada, email: ada@example.com}, memberOf: [platform]}
---
apiVersion: backstage.io/v1alpha1
kind: User
metadata: {name: bob}
spec: {profile: {email: bob@example.com}, memberOf: [platform]}
---
apiVersion: backstage.io/v1alpha1
kind: User
metadata: {name: eve}
spec: {profile: {email: eve@example.com}, memberOf: []}
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: platform}
spec: {type: team, children: []}
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: empty}
spec: {type: team, children: []}
"""


def directory(*texts: str) -> Directory:
    """Build a directory from the YAML of ConfigMaps."""
    return Directory.build(
        parse_source(
            Source(
                namespace="operator",
                name=f"catalog-{number}",
                uid=f"uid-{number}",
                resource_version="1",
                data={"catalog.yaml": text},
            )
        )
        for number, text in enumerate(texts)
    )


def users_yaml(names: list[str]) -> str:
    """Return the YAML of some users."""
    return "\n---\n".join(
        "apiVersion: backstage.io/v1alpha1\nkind: User\n"
        f"metadata: {{name: {name}}}\nspec: {{profile: {{email: {name}@example.com}}}}"
        for name in names
    )


def manifest(
    name: str = "n",
    *,
    namespace: str = "team",
    to: str | list[str] | None = ADA,
    title: str = "Hello",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    payload: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return a Notification as a user writes it; ``to=None`` is a broadcast."""
    match to:
        case None:
            recipients: dict[str, Any] = {"type": "broadcast"}
        case str():
            recipients = {"type": "entity", "entityRef": to}
        case _:
            recipients = {"type": "entity", "entityRefs": to}
    return {
        "kind": "Notification",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
        },
        "spec": {"recipients": recipients, "payload": {"title": title, **(payload or {})}, **spec},
    }


def notification(
    name: str = "n", *, generation: int = 1, status: Mapping[str, Any] | None = None, **options: Any
) -> Notification:
    """Return a Notification as the API server serves it."""
    body = manifest(name, **options)
    body["metadata"] |= {
        "uid": f"uid-{name}",
        "generation": generation,
        "resourceVersion": "100",
        "creationTimestamp": format_time(NOW),
    }
    if status is not None:
        body["status"] = dict(status)
    return Notification.model_validate(body)


def row(
    state: DeliveryState = DeliveryState.PENDING,
    *,
    processor: str = "email",
    recipient: str = ADA,
    reason: Reason | None = None,
    opened: datetime = NOW,
    **fields: Any,
) -> Row:
    """Return a row of the ledger."""
    return Row(
        processor=processor,
        recipient=recipient,
        state=state,
        reason=reason,
        opened_time=opened,
        **fields,
    )


def error(
    reason: Reason = Reason.SERVER_BUSY,
    message: str = "busy",
    *,
    scope: Scope = Scope.RECIPIENT,
    retryable: bool = True,
    retry_after: float | None = None,
    code: int | None = None,
    enhanced_code: str | None = None,
    conclusive: bool = True,
    signature: str | None = None,
) -> DeliveryError:
    """Return an error of a delivery."""
    return DeliveryError(
        reason,
        message,
        scope=scope,
        retryable=retryable,
        retry_after=retry_after,
        code=code,
        enhanced_code=enhanced_code,
        conclusive=conclusive,
        signature=signature,
    )


def seconds(amount: float) -> timedelta:
    """Return a duration."""
    return timedelta(seconds=amount)
