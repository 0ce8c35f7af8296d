"""Digests of what a user asked for, to tell an edit from a re-apply (DESIGN section 2.3).

A digest names the algorithm that it was made with: the fields that go into it and their encoding.
A change of either is a new algorithm, and the old one stays, because a stored digest can only be
compared with one of its own kind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from ...api.notification import NotificationSpec, Payload

Digests = Mapping[str, Callable[[Any], Mapping[str, Any]]]
"""Returns the fields that go into a digest, by the name of the algorithm, the newest last."""


def payload_digest(payload: Payload) -> str:
    """Return the digest of what is said, by the newest algorithm."""
    return _newest(PAYLOAD, payload)


def recipients_digest(spec: NotificationSpec) -> str:
    """Return the digest of whom it is said to, and by which processors; by the newest algorithm."""
    return _newest(RECIPIENTS, spec)


def payload_differs(stored: str, payload: Payload) -> bool:
    """Return whether a payload is another than that of a stored digest.

    An algorithm that only a later release knows says nothing here, and what nobody knows to have
    been edited is not sent again.
    """
    return _differs(PAYLOAD, stored, payload)


def recipients_differ(stored: str, spec: NotificationSpec) -> bool:
    """Return whether recipients or processors are others; as `payload_differs`."""
    return _differs(RECIPIENTS, stored, spec)


def _payload_v1(payload: Payload) -> dict[str, Any]:
    """Return a fixed list of fields, so that a later one or its default is no edit."""
    return {
        "title": payload.title,
        "description": payload.description,
        "link": payload.link,
        "severity": payload.severity,
        "topic": payload.topic,
        "scope": payload.scope,
        "icon": payload.icon,
        "metadata": payload.metadata or None,
    }


def _recipients_v1(spec: NotificationSpec) -> dict[str, Any]:
    return {
        "type": spec.recipients.type,
        "include": sorted({ref.lower() for ref in spec.recipients.included}),
        "exclude": sorted({ref.lower() for ref in spec.recipients.excluded}),
        "processors": sorted(set(spec.processors)),
    }


PAYLOAD: Digests = {"v1": _payload_v1}
RECIPIENTS: Digests = {"v1": _recipients_v1}


def _newest(digests: Digests, value: object) -> str:
    return _digest(digests, [*digests][-1], value)


def _differs(digests: Digests, stored: str, value: object) -> bool:
    algorithm, _, _ = stored.partition(":")
    return algorithm in digests and stored != _digest(digests, algorithm, value)


def _digest(digests: Digests, algorithm: str, value: object) -> str:
    fields = digests[algorithm](value)
    given = {name: item for name, item in fields.items() if item is not None}
    text = json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{algorithm}:{hashlib.sha256(text.encode()).hexdigest()}"
