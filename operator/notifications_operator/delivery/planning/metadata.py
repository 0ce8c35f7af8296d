"""Bounds of ``payload.metadata``, which the custom resource definition cannot express; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...api.depth import is_deeper

METADATA_LIMIT = 64 * 1024
"""Most bytes of ``payload.metadata``, as JSON."""

METADATA_DEPTH = 64
"""Most levels of nesting in ``payload.metadata``, itself included.

The gateway takes bodies of as many. Readers of JSON, ours among them, end at some hundred.
"""


def metadata_problem(metadata: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a payload's metadata and what is valid, or ``None``."""
    if is_deeper(metadata, METADATA_DEPTH):
        return f"is nested too deeply; at most {METADATA_DEPTH} levels"
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode(errors="surrogatepass"))
    return f"has {size} bytes; at most {METADATA_LIMIT}" if size > METADATA_LIMIT else None
