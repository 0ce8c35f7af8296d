"""Keeps secrets out of logs, status and Events, by their values."""

from __future__ import annotations

import re
from collections.abc import Iterable

REDACTED = "***"
_SHORTEST = 4
_URL_USERINFO = re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)")


class _Redactor:
    def __init__(self) -> None:
        self._values: dict[str, frozenset[str]] = {}
        self._pattern: re.Pattern[str] | None = None

    def remember(self, owner: str, values: Iterable[str]) -> None:
        self._values[owner] = frozenset(value for value in values if len(value) >= _SHORTEST)
        every = sorted(frozenset().union(*self._values.values()), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, every))) if every else None

    def redact(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(REDACTED, text)
        return _URL_USERINFO.sub(REDACTED, text)


_redactor = _Redactor()


def remember_secrets(owner: str, values: Iterable[str]) -> None:
    """Name the secrets that ``owner`` holds now; they replace its earlier ones.

    Values of fewer than four characters are left out: hiding them would garble every text.
    """
    _redactor.remember(owner, values)


def redact(text: str) -> str:
    """Replace every known secret, and user-info in URLs, by asterisks."""
    return _redactor.redact(text)
