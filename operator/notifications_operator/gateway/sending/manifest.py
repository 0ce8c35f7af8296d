"""The Notification that a request becomes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ...api.notification import REQUESTED_ANNOTATION, Severity
from ...api.resource import API_VERSION, GROUP
from ..principals import ServicePrincipal
from .names import request_digest
from .request import SendRequest

DIGEST_ANNOTATION = f"{GROUP}/request-digest"
"""Digest of the request, by which a repetition is told from another request of the same key."""

MANAGED_BY = "notifications-gateway"
"""Value of the label ``app.kubernetes.io/managed-by``."""


def manifest(
    request: SendRequest,
    *,
    caller: ServicePrincipal,
    name: str,
    ttl_seconds: int,
    requested: datetime,
) -> dict[str, Any]:
    """Return the Notification to create.

    Parameters
    ----------
    request
        Must have recipients.
    name
        Of `names`.
    ttl_seconds
        Seconds for which it is kept after it has finished; as long a key is known.
    requested
        When the request came: what one second brought is told apart by it.
    """
    assert request.recipients is not None, "nothing is stored for nobody"
    spec: dict[str, Any] = {
        "recipients": _recipients(request),
        "payload": {"severity": Severity.NORMAL.value, **request.payload_fields},
        "origin": caller.subject,
        "ttlSecondsAfterFinished": ttl_seconds,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Notification",
        "metadata": {
            "name": name,
            "namespace": caller.namespace,
            "labels": {"app.kubernetes.io/managed-by": MANAGED_BY},
            "annotations": {
                DIGEST_ANNOTATION: request_digest(spec),
                # The inbox, too, keeps milliseconds.
                REQUESTED_ANNOTATION: requested.isoformat(timespec="milliseconds"),
            },
        },
        "spec": spec,
    }


def _recipients(request: SendRequest) -> dict[str, Any]:
    assert request.recipients is not None
    fields = request.recipients.to_wire()
    return {name: value for name, value in fields.items() if value != []}
