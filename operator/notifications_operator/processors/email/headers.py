"""Header fields as bytes.

Not the standard library's: its folding loses or moves spaces of long subjects, and encodes long
message identifiers (cpython#144156, #100991), which breaks threads.
"""

from __future__ import annotations

import base64
import re

from .addresses import Mailbox

MAX_LINE = 78
"""RFC 5322 section 2.1.1: lines should be no longer."""

MAX_ENCODED_LINE = 76
"""RFC 2047 section 2: nor lines with encoded words."""

MAX_TOKEN = 900
"""Longest word that is left in one piece; lines end at 998 octets at the latest (RFC 5322)."""

_ENCODED_WORD_FRAME = len("=?utf-8?b??=")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")


def unstructured(name: str, value: str) -> bytes:
    """Return a field of free text, such as Subject (RFC 5322 section 2.2.1).

    Parameters
    ----------
    name
        The field's name.
    value
        One line of text, without control characters and lone surrogates. It is read back
        exactly by any reader of RFC 2047.
    """
    if _can_be_plain(value):
        return _folded(name, value.split(" "))
    return _field(name, _encoded_words(value, first_line=len(name) + 2))


def structured(name: str, *tokens: str) -> bytes:
    """Return a field of ASCII tokens, which are never broken or encoded."""
    return _folded(name, list(tokens))


def mailbox(name: str, value: Mailbox) -> bytes:
    """Return a field of one mailbox, such as From (RFC 5322 section 3.4)."""
    angle = f"<{value.address}>"
    display_name = value.display_name
    if not display_name:
        return _folded(name, [value.address])
    if not _can_be_plain(display_name):
        return _field(name, [*_encoded_words(display_name, first_line=len(name) + 2), angle])
    if not _ATOMS.fullmatch(display_name):
        escaped = display_name.replace("\\", "\\\\").replace('"', '\\"')
        display_name = f'"{escaped}"'
    return _folded(name, [*display_name.split(" "), angle])


def _can_be_plain(value: str) -> bool:
    return (
        value.isascii()
        and value.isprintable()
        and "=?" not in value
        and all(0 < len(word) <= MAX_TOKEN for word in value.split(" "))
    )


def _folded(name: str, words: list[str]) -> bytes:
    """Fold at white space, where a line would become too long."""
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > MAX_LINE and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines).encode("ascii") + b"\r\n"


def _field(name: str, lines: list[str]) -> bytes:
    return f"{name}: ".encode("ascii") + "\r\n ".join(lines).encode("ascii") + b"\r\n"


def _encoded_words(value: str, *, first_line: int) -> list[str]:
    """Return encoded words of whole characters, one for each line (RFC 2047 sections 2 and 5)."""
    words = []
    chunk = b""
    room = _octets_in_word(MAX_ENCODED_LINE - first_line)
    for character in value:
        octets = character.encode("utf-8")
        if len(chunk) + len(octets) > room:
            words.append(_encoded_word(chunk))
            chunk = b""
            room = _octets_in_word(MAX_ENCODED_LINE - 1)
        chunk += octets
    return [*words, _encoded_word(chunk)]


def _octets_in_word(width: int) -> int:
    return (width - _ENCODED_WORD_FRAME) // 4 * 3


def _encoded_word(octets: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(octets).decode('ascii')}?="
