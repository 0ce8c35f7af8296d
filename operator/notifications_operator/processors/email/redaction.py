"""Takes credentials out of what the other side says."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Self

from ...telemetry import redaction
from .text import one_line

LEARNED = 8
"""Most secrets that came later and are known at a time."""


class Redactor(redaction.Redactor):
    """Hides a server's credentials in its replies, even those that are ordinary words."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._given = tuple(secrets)
        self._learned: deque[str] = deque(maxlen=LEARNED)
        super().__init__(self._given)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide further secrets from now on; of these the last ones are known."""
        self._learned.extend(secrets)
        self._know((*self._given, *self._learned))

    def extended(self, secrets: Iterable[str]) -> Self:
        """Return a redactor that hides these secrets too."""
        return type(self)((*self._given, *self._learned, *secrets))

    def cleaned(self, text: str, limit: int) -> str:
        """Return a text without secrets, on one line and of at most `limit` characters."""
        # Twice, because a control character in its middle hides a secret until it is gone.
        whole = one_line(self.redact(text), 2 * len(text) + 1)
        return one_line(self.redact(whole), limit)
