"""Depth of values that JSON can say."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any


def is_deeper(value: Mapping[str, Any], levels: int) -> bool:
    """Return whether objects and lists are nested in more levels, the value itself included."""
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
