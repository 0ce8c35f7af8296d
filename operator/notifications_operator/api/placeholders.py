"""Placeholders such as ``${NAME}``: Backstage fills them in from its environment, nothing does here.

One that is left over would be used as it stands: as a host, an address, a password or a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

PLACEHOLDER_PATTERN = r"[$][{][^}]*[}]"
"""``${NAME}``, ``${NAME:-default}`` and ``${{ expression }}``, anywhere in a text."""

REMEDY = (
    "nothing fills in a placeholder such as ${NAME} here; write the value itself, or have it "
    "filled in before the file is applied (envsubst)"
)
"""What to do about one in a resource."""

_PLACEHOLDER = re.compile(PLACEHOLDER_PATTERN)


def has_placeholder(text: str) -> bool:
    """Return whether a text contains a placeholder."""
    return _PLACEHOLDER.search(text) is not None


def find_placeholders(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the texts that contain a placeholder, keys included.

    Parameters
    ----------
    value
        Anything that JSON can say.
    path
        Where it is; put before each path that is found.
    """
    match value:
        case str() if has_placeholder(value):
            yield path
        case dict():
            for name, item in value.items():
                below = f"{path}.{name}".removeprefix(".")
                if has_placeholder(str(name)):
                    yield below
                yield from find_placeholders(item, below)
        case list():
            for position, item in enumerate(value):
                yield from find_placeholders(item, f"{path}[{position}]")
