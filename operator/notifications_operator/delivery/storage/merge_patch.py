"""JSON merge patches (RFC 7386): what turns the stored status into the wanted one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_patch(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the smallest merge patch from ``stored`` to ``wanted``.

    Objects are compared field by field and a field to remove is null; lists and scalars are
    replaced whole, as merge patch does.
    """
    patch: dict[str, Any] = {name: None for name in stored if name not in wanted}
    for name, value in wanted.items():
        before = stored.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            if inner := merge_patch(before, value):
                patch[name] = inner
        elif before != value:
            patch[name] = value
    return patch


def is_kept(wanted: Any, stored: Any) -> bool:
    """Return whether all that was written is stored; more may be, such as defaults."""
    if isinstance(wanted, Mapping):
        return isinstance(stored, Mapping) and all(
            name in stored and is_kept(value, stored[name]) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(stored, list)
            and len(stored) == len(wanted)
            and all(map(is_kept, wanted, stored))
        )
    return bool(wanted == stored)
