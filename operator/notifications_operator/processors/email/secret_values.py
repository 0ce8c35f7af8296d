"""Values of Secrets as configuration needs them; messages name Secret and key, never the value."""

from __future__ import annotations

from collections.abc import Mapping

from ...api.secrets import SecretKeyRef
from ..base import SecretKey
from ..errors import InvalidProcessorConfig, SecretNotFound


def secret_key(reference: SecretKeyRef) -> SecretKey:
    """Return the key that a reference names."""
    return SecretKey(secret=reference.name, key=reference.key)


def place_of(key: SecretKey) -> str:
    """Return how messages name a Secret's key."""
    return f"Secret {key.secret!r}, key {key.key!r}"


def secret_value(key: SecretKey, secrets: Mapping[SecretKey, bytes]) -> bytes:
    """Return a value; raises `SecretNotFound` if it is missing."""
    try:
        return secrets[key]
    except KeyError:
        raise SecretNotFound(f"Secret {key.secret!r} has no key {key.key!r}") from None


def secret_text(key: SecretKey, secrets: Mapping[SecretKey, bytes]) -> str:
    """Return a value that is one line of text.

    Raises
    ------
    InvalidProcessorConfig
        If it is something else.
    SecretNotFound
        If it is missing.
    """
    place = place_of(key)
    try:
        text = secret_value(key, secrets).decode("utf-8")
    except UnicodeDecodeError:
        # The cause would carry the value.
        raise InvalidProcessorConfig(f"{place}: is not UTF-8") from None
    if not text:
        raise InvalidProcessorConfig(f"{place}: is empty")
    if text.endswith("\n"):
        raise InvalidProcessorConfig(
            f"{place}: ends with a line break; create it without one (echo -n)"
        )
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise InvalidProcessorConfig(f"{place}: contains a control character")
    return text
