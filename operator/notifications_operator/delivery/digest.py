"""Digests of what a user asked for, to tell an edit from a re-apply (DESIGN section 2.3)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..api.notification import NotificationSpec, Payload

ALGORITHM = "v1"
"""Names the fields that go into a digest and their encoding; a change of either is a new one."""


def payload_digest(payload: Payload) -> str:
    """Return the digest of what is said.

    It covers a fixed list of fields, so that a new field or default of a later custom resource
    definition does not look like an edit.
    """
    return _digest(
        {
            "title": payload.title,
            "description": payload.description,
            "link": payload.link,
            "severity": payload.severity,
            "topic": payload.topic,
            "scope": payload.scope,
            "icon": payload.icon,
            "metadata": payload.metadata or None,
        }
    )


def recipients_digest(spec: NotificationSpec) -> str:
    """Return the digest of whom it is said to, and by which processors."""
    return _digest(
        {
            "type": spec.recipients.type,
            "include": sorted({ref.lower() for ref in spec.recipients.included}),
            "exclude": sorted({ref.lower() for ref in spec.recipients.excluded}),
            "processors": sorted(set(spec.processors)),
        }
    )


def _digest(fields: dict[str, Any]) -> str:
    given = {name: value for name, value in fields.items() if value is not None}
    text = json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{ALGORITHM}:{hashlib.sha256(text.encode()).hexdigest()}"
