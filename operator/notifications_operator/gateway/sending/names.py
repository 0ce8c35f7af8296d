"""Under which name a request is stored, and how a request is known again.

The name is chosen before anything is sent, so that whatever is sent twice, by the client with its
``Idempotency-Key`` or by the gateway after a lost answer, is stored once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any

from ..errors import InputError

PREFIX = "rest-"
"""What the names of all Notifications begin with that the gateway makes."""

LONGEST_KEY = 255
"""Most characters of an ``Idempotency-Key``."""

_DIGEST = "v1"
"""Names what goes into a digest, and how; a change of either is a new one."""


def check_key(key: str) -> str:
    """Return an ``Idempotency-Key``.

    Raises
    ------
    InputError
        If it is empty, too long, or not of visible ASCII characters.
    """
    if 0 < len(key) <= LONGEST_KEY and all("!" <= character <= "~" for character in key):
        return key
    raise InputError(f"Idempotency-Key: must be 1 to {LONGEST_KEY} visible ASCII characters")


def keyed_name(subject: str, key: str) -> str:
    """Return the name for a caller's key: a DNS label of 57 characters.

    A subject holds no control characters, so that no two pairs read the same.
    """
    return _name(hashlib.sha256(f"{subject}\0{key}".encode()).digest())


def random_name() -> str:
    """Return a name that nobody else has (160 random bits)."""
    return _name(secrets.token_bytes(20))


def request_digest(spec: dict[str, Any]) -> str:
    """Return the digest of whom a Notification is for and of what it says."""
    fields = {"recipients": spec["recipients"], "payload": spec["payload"]}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return f"{_DIGEST}:{hashlib.sha256(text.encode()).hexdigest()}"


def _name(value: bytes) -> str:
    return PREFIX + base64.b32encode(value).decode().rstrip("=").lower()
