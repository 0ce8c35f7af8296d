"""Reads JSON of the API server, whatever its depth; pure.

The API server stores up to 10,000 levels of nesting, and Python reads a text of as many only where
its recursion limit allows it: 1,000 levels with Python 3.11. One object that anybody may create
would make every list and watch unreadable. What lies deeper than `NESTING_LIMIT` is
therefore taken out of the text before it is parsed.
"""

from __future__ import annotations

import json
import re
from typing import Any

NESTING_LIMIT = 100
"""Levels of nesting that are kept; a deeper object or array becomes ``null``.

It is far above what any field of a known schema needs, in a list of objects too, so that whoever
bounds a field's own depth (``delivery.planning.metadata.METADATA_DEPTH``,
``api.processor.CONFIG_DEPTH``) still sees that it is exceeded.
"""

_OPENING, _CLOSING = b"{[", b"}]"
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'{}[]"'))
_ALIKE = bytes.maketrans(b"{}", b"[]")
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{\[]++|[}\]]++', re.DOTALL)


def read_json(data: bytes) -> Any:
    """Return the value of a JSON text, `NESTING_LIMIT` levels of it.

    Raises
    ------
    ValueError
        If it is no JSON.
    """
    return json.loads(bound_nesting(data))


def bound_nesting(data: bytes) -> bytes:
    """Return a JSON text in which nothing is nested deeper than `NESTING_LIMIT`.

    A text that is within the limit is returned as it is.
    """
    return _cut(data) if _is_too_deep(data) else data


def _is_too_deep(data: bytes) -> bool:
    """Return whether brackets outside of strings are nested too deeply.

    Every step is one call over the whole text: this is asked of all that the API server says, and
    takes a tenth of the time of parsing it.
    """
    if data.count(b"{") + data.count(b"[") <= NESTING_LIMIT:
        return False
    if b'\\"' in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = data.translate(_ALIKE, _NOT_STRUCTURE).replace(b'""', b"")
    if b'"' in brackets:
        # Strings with brackets in them.
        structure = data.translate(_ALIKE, _NOT_STRUCTURE)
        brackets = b"".join(structure.split(b'"')[::2])
    for _ in range(NESTING_LIMIT):
        if not brackets:
            return False
        # Each pass removes the innermost pairs, which are one level.
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _cut(data: bytes) -> bytes:
    """Replace what is nested too deeply by ``null``."""
    parts: list[bytes] = []
    depth = kept_from = 0
    for token in _TOKEN.finditer(data):
        start, text = token.start(), token.group()
        if text[0] in _OPENING:
            before, depth = depth, depth + len(text)
            if before <= NESTING_LIMIT < depth:
                parts += (data[kept_from : start + NESTING_LIMIT - before], b"null")
        elif text[0] in _CLOSING:
            before, depth = depth, depth - len(text)
            if depth <= NESTING_LIMIT < before:
                kept_from = start + before - NESTING_LIMIT
    if depth <= NESTING_LIMIT:
        parts.append(data[kept_from:])
    return b"".join(parts)
