"""Placeholders such as ``${NAME}``, which Backstage fills in from its environment.

Nothing does so here: one that is left would be used as a host, an address, a password or a token.
"""

from __future__ import annotations

import re
from typing import Any

PLACEHOLDER_PATTERN = r"[$][{][^}]*[}]"
"""``${NAME}``, ``${NAME:-default}`` and ``${{ expression }}``, anywhere in a text."""

REMEDY = (
    "nothing fills in a placeholder such as ${NAME} here; write the value itself, or have it "
    "filled in before the file is applied (envsubst)"
)
"""Advice for a resource that contains a placeholder."""

_PLACEHOLDER = re.compile(PLACEHOLDER_PATTERN)


def has_placeholder(text: str) -> bool:
    """Return whether a text contains a placeholder."""
    return _PLACEHOLDER.search(text) is not None


def find_placeholders(value: Any) -> list[str]:
    """Return the paths of the texts that contain a placeholder, keys included.

    Parameters
    ----------
    value
        Anything that JSON can say, nested however deeply.
    """
    found = []
    rest = [("", value)]
    while rest:
        path, item = rest.pop()
        if isinstance(item, str) and has_placeholder(item):
            found.append(path)
        below = _items(path, item)
        found += [place for place, name, _ in below if has_placeholder(name)]
        rest += reversed([(place, child) for place, _, child in below])
    return found


def _items(path: str, value: Any) -> list[tuple[str, str, Any]]:
    """Return what is in a value: path, name and value of each."""
    if isinstance(value, dict):
        return [
            (f"{path}.{name}".removeprefix("."), str(name), item) for name, item in value.items()
        ]
    if isinstance(value, list):
        return [(f"{path}[{position}]", "", item) for position, item in enumerate(value)]
    return []
