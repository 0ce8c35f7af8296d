"""What clients asked of the API server, by its own audit log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def entries(log: Path) -> Iterator[Entry]:
    """Yield the requests that were answered, in the order of their answers."""
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                entry: Entry = json.loads(line)
                if entry["stage"] == "ResponseComplete":
                    yield entry


def writes(log: Path, *, user: str, about: Callable[[Entry], bool]) -> list[str]:
    """Return the writes of one user as ``verb resource/subresource``."""
    found = []
    for entry in entries(log):
        reference = entry.get("objectRef", {})
        writing = entry["verb"] not in ("get", "list", "watch")
        if writing and entry["user"]["username"] == user and about(reference):
            subresource = reference.get("subresource")
            suffix = f"/{subresource}" if subresource else ""
            found.append(f"{entry['verb']} {reference['resource']}{suffix}")
    return found
