"""Takes credentials out of what a mail server says."""

from __future__ import annotations

from ...telemetry import redaction
from .text import one_line


class Redactor(redaction.Redactor):
    """Hides a server's credentials in its replies, even those that are ordinary words."""

    def cleaned(self, text: str, limit: int) -> str:
        """Return a text without secrets, on one line and of at most `limit` characters."""
        # Twice, because a control character in its middle hides a secret until it is gone.
        whole = one_line(self.redact(text), 2 * len(text) + 1)
        return one_line(self.redact(whole), limit)
