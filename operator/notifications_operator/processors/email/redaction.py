"""Takes credentials out of what is passed on."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from .text import one_line

REDACTED = "[redacted]"


class Redactor:
    """Knows secrets, and hides them in texts of the other side.

    Parameters
    ----------
    secrets
        What must not be seen, nor its base64 form, which is how AUTH sends it.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = set()
        for secret in secrets:
            encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
            forms |= {secret, encoded, one_line(secret, len(secret) + 1)}
        # Longest first, so that no rest of a longer one is left by a shorter.
        self._forms = sorted(filter(None, forms), key=len, reverse=True)

    def cleaned(self, text: str, limit: int) -> str:
        """Return a text without secrets, on one line and of at most `limit` characters."""
        # Twice, because a control character in its middle hides a secret until it is gone.
        whole = one_line(self._redacted(text), 2 * len(text) + 1)
        return one_line(self._redacted(whole), limit)

    def _redacted(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return text
