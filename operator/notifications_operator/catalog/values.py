"""The plain values that documents are read into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .entities import KEPT_ANNOTATIONS
from .quoting import quoted

KEPT_KEYS = KEPT_ANNOTATIONS | {
    "apiVersion", "kind", "metadata", "spec", "relations", "items",
    "name", "namespace", "title", "annotations",
    "profile", "displayName", "email",
    "members", "memberOf", "children", "parent", "owner",
    "type", "targetRef",
}  # fmt: skip
"""Keys of mappings, at whatever level, that an entity is read from; the others are dropped."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written; nothing that is read from an entity may be one."""

    text: str


@dataclass(frozen=True, slots=True)
class UnusableMapping:
    """Stands for a mapping that does not say clearly what it holds.

    It is an error only where the mapping is used, and there only for the entity that it is in.
    """

    reason: str


class Located(NamedTuple):
    """A document, or an item of one that is a list, with the line (from 0) where it begins."""

    line: int
    item: int | None
    content: object


class DocumentError(Exception):
    """A document cannot be read: what is wrong, and on which line (from 0)."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def keep_known(pairs: Sequence[tuple[object, object]]) -> dict[object, object] | UnusableMapping:
    """Make a mapping of `KEPT_KEYS` alone.

    A key that occurs twice makes the mapping unusable, as in Backstage (option ``uniqueKeys`` of
    the package ``yaml``), and so does ``<<``, which YAML 1.2 does not merge.
    """
    try:
        distinct = {key for key, _ in pairs}
    except TypeError:
        return UnusableMapping("a key is a list or a mapping; keys must be strings")
    if len(distinct) != len(pairs):
        return UnusableMapping(f"the key {_first_duplicate(pairs)} occurs twice")
    if "<<" in distinct:
        return UnusableMapping("merge keys (<<) are not supported, as in Backstage")
    return {key: value for key, value in pairs if key in KEPT_KEYS}


def _first_duplicate(pairs: Sequence[tuple[object, object]]) -> str:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            return quoted(str(key))
        seen.add(key)
    raise AssertionError("no key occurs twice")
