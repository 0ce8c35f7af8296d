"""Takes credentials out of what is passed on."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterable
from typing import Self
from urllib.parse import quote_plus

from .text import one_line

REDACTED = "[redacted]"

LEARNED = 8
"""How many secrets that came later are known at a time."""

_SHORTEST_PART = 8
"""Characters of base64 that cannot be an ordinary word."""


class Redactor:
    """Knows secrets, and hides them in texts of the other side.

    Parameters
    ----------
    secrets
        What must not be seen, nor in the forms in which it is sent.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secrets)
        self._learned: deque[str] = deque(maxlen=LEARNED)
        self._forms = self._all_forms()

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide further secrets from now on; of these the last ones are known."""
        self._learned.extend(secrets)
        self._forms = self._all_forms()

    def extended(self, secrets: Iterable[str]) -> Self:
        """Return a redactor that hides these secrets too."""
        return type(self)((*self._secrets, *self._learned, *secrets))

    def cleaned(self, text: str, limit: int) -> str:
        """Return a text without secrets, on one line and of at most `limit` characters."""
        # Twice, because a control character in its middle hides a secret until it is gone.
        whole = one_line(self._redacted(text), 2 * len(text) + 1)
        return one_line(self._redacted(whole), limit)

    def _redacted(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return text

    def _all_forms(self) -> list[str]:
        every = (form for item in (*self._secrets, *self._learned) for form in forms_of(item))
        # Longest first, so that no rest of a longer one is left by a shorter.
        return sorted(frozenset(every), key=len, reverse=True)


def forms_of(secret: str) -> frozenset[str]:
    """Return how a secret may be written: as it is, in a form, and as or within base64."""
    octets = secret.encode()
    forms = {secret, one_line(secret, len(secret) + 1), quote_plus(secret)}
    forms.add(base64.b64encode(octets).decode().rstrip("="))
    parts = (_within_base64(octets, before) for before in range(3))
    forms |= {part for part in parts if len(part) >= _SHORTEST_PART}
    return frozenset(filter(None, forms))


def _within_base64(octets: bytes, before: int) -> str:
    """Return what stands in base64 of a text for octets that so many others precede, modulo 3."""
    encoded = base64.b64encode(bytes(before) + octets).decode()
    first = -(-before * 8 // 6)
    return encoded[first : (before + len(octets)) * 8 // 6]
