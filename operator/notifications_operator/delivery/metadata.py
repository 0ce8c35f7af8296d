"""Bounds of ``payload.metadata``, which the custom resource definition cannot express; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

METADATA_LIMIT = 64 * 1024
"""Most bytes of ``payload.metadata``, as JSON."""

METADATA_DEPTH = 64
"""Most levels of nesting in ``payload.metadata``, itself included.

The gateway takes bodies of as many. Readers of JSON, ours among them, end at some hundred.
"""


def metadata_problem(metadata: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a payload's metadata and what is valid, or ``None``."""
    if _is_deeper(metadata, METADATA_DEPTH):
        return f"is nested too deeply; at most {METADATA_DEPTH} levels"
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode(errors="surrogatepass"))
    return f"has {size} bytes; at most {METADATA_LIMIT}" if size > METADATA_LIMIT else None


def _is_deeper(value: Mapping[str, Any], levels: int) -> bool:
    level: list[Any] = [value]
    for _ in range(levels):
        level = [
            item
            for item in chain.from_iterable(map(_members, level))
            if isinstance(item, Mapping | list)
        ]
        if not level:
            return False
    return True


def _members(container: Mapping[str, Any] | list[Any]) -> Any:
    return container.values() if isinstance(container, Mapping) else container
