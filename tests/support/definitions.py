"""What an API server does with an object by its custom resource definition.

Structural schemas only, as far as ours use them: defaults, pruning of unknown fields, validation.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker

from notifications_operator.api.errors import RejectedError
from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS, SLICES
from notifications_operator.api.resource import VERSION

CRDS = Path(__file__).resolve().parents[2] / "crds"

_TOP_LEVEL = ("apiVersion", "kind", "metadata")
_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[-+][0-9]{2}:[0-9]{2})")

_formats = FormatChecker(formats=())


@_formats.checks("date-time")
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or _DATE_TIME.fullmatch(value) is not None


@dataclass(frozen=True)
class Definition:
    """One installed definition, by its ``openAPIV3Schema``."""

    schema: Mapping[str, Any]

    def admit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the object as it would be stored.

        Raises
        ------
        RejectedError
            If it is invalid (422).
        """
        ours = {name: value for name, value in body.items() if name not in _TOP_LEVEL}
        ours = _pruned(self.schema, _without_nulls(ours))
        _set_defaults(self.schema, ours)
        validator = Draft202012Validator(self.schema, format_checker=_formats)
        for error in validator.iter_errors(ours):
            raise RejectedError(f"422 {error.json_path}: {error.message[:200]}")
        return {**{name: copy.deepcopy(body[name]) for name in _TOP_LEVEL if name in body}, **ours}

    def without(self, path: str) -> Definition:
        """Return an older definition, which lacks a field such as ``status.deliveries.holder``."""
        schema: dict[str, Any] = copy.deepcopy(dict(self.schema))
        *parents, name = path.split(".")
        node = schema
        for parent in parents:
            node = node["properties"][parent]
            node = node.get("items", node)
        del node["properties"][name]
        return Definition(schema)


@cache
def installed_definitions() -> Mapping[str, Definition]:
    """Return the definitions of this repository by plural."""
    return {plural: _load(plural) for plural in (NOTIFICATIONS, PROCESSORS, SLICES)}


def _load(plural: str) -> Definition:
    text = (CRDS / f"{plural}.yaml").read_text(encoding="utf-8")
    document = yaml.load(text, Loader=yaml.CSafeLoader)
    (version,) = [item for item in document["spec"]["versions"] if item["name"] == VERSION]
    return Definition(version["schema"]["openAPIV3Schema"])


def _without_nulls(value: Any) -> Any:
    """Drop null fields, as the API server does where they are not nullable; none of ours are."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _pruned(schema: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        return [_pruned(items, item) for item in value] if items else value
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    known: Mapping[str, Any] = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    kept = {name: _pruned(known[name], item) for name, item in value.items() if name in known}
    if isinstance(others, Mapping):
        kept |= {name: _pruned(others, item) for name, item in value.items() if name not in known}
    return kept


def _set_defaults(schema: Mapping[str, Any], value: Any) -> None:
    """Set what is missing, outer objects first, as the API server does."""
    if isinstance(value, list):
        for item in value:
            _set_defaults(schema.get("items") or {}, item)
    if not isinstance(value, dict):
        return
    for name, child in (schema.get("properties") or {}).items():
        if name not in value and "default" in child:
            value[name] = copy.deepcopy(child["default"])
        if name in value:
            _set_defaults(child, value[name])
