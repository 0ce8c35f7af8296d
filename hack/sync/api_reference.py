"""``docs/api.md``: the reference of the resources, from their definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SOURCES = (
    Path("crds/notifications.yaml"),
    Path("crds/notificationprocessors.yaml"),
    Path("crds/notificationdeliveryslices.yaml"),
)
TARGET = Path("docs/api.md")

LONGEST_PATTERN = 60
"""Patterns longer than this are left to the definition; the description says what they mean."""

_INTRODUCTION = """\
# API reference

Generated from `crds/` by `python -m hack.sync`; `kubectl explain` says the same. The API server
refuses at `kubectl apply` what lacks a required field, is out of bounds or breaks a rule.
"""

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One line of a table."""

    path: str
    schema: Schema
    required: bool


def generate(root: Path) -> dict[Path, str]:
    """Return the reference, by path relative to the repository."""
    definitions = [yaml.safe_load((root / source).read_text("utf-8")) for source in SOURCES]
    return {TARGET: "\n".join([_INTRODUCTION, *map(render_definition, definitions)])}


def render_definition(definition: Schema) -> str:
    """Return the chapter about one kind."""
    spec = definition["spec"]
    (version,) = spec["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    names = spec["names"]
    short = ", ".join(f"`{name}`" for name in names["shortNames"])
    parts = [
        f"## {names['kind']}\n",
        f"`apiVersion: {spec['group']}/{version['name']}`, {spec['scope'].lower()}; "
        f"`{names['plural']}`, short {short}.\n",
        f"{_text(schema['description'])}\n",
        _render_columns(version),
    ]
    if "spec" not in schema["properties"]:
        parts.append(_table(walk(schema, "")))
        return "\n".join(parts)
    for part in ("spec", "status"):
        section = schema["properties"][part]
        parts += [f"### {names['kind']} {part}\n", f"{_text(section['description'])}\n"]
        parts.append(_table(walk(section, f"{part}.")))
        paths_of: dict[str, list[str]] = {}
        for path, message in walk_rules(section, part):
            paths_of.setdefault(message, []).append(f"`{path}`")
        if paths_of:
            parts.append("Rules:\n")
            parts.append(
                "".join(f"- {', '.join(paths)}: {text}\n" for text, paths in paths_of.items())
            )
    return "\n".join(parts)


def walk(schema: Schema, prefix: str) -> Iterator[Field]:
    """Yield the fields below an object, depth first and in the definition's order."""
    for name, child in schema.get("properties", {}).items():
        yield Field(f"{prefix}{name}", child, name in schema.get("required", ()))
        if "items" in child:
            yield from walk(child["items"], f"{prefix}{name}[].")
        else:
            yield from walk(child, f"{prefix}{name}.")


def walk_rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Yield where the rules of a schema hold, and their messages."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"{path}{rule.get('fieldPath', '')}", _text(rule["message"])
    for name, child in schema.get("properties", {}).items():
        yield from walk_rules(child, f"{path}.{name}")
    if "items" in schema:
        yield from walk_rules(schema["items"], f"{path}[]")


def describe_type(schema: Schema) -> str:
    """Return the type of a field as people read it."""
    match schema.get("type"):
        case None if schema.get("x-kubernetes-int-or-string"):
            return "integer or string"
        case None if "milliseconds" in schema.get("properties", {}):
            return "object or string"
        case None:
            return "boolean or string" if "multipleOf" in schema else "number or string"
        case "array":
            return f"list of {describe_type(schema['items'])}"
        case "string" if schema.get("format") == "date-time":
            return "time"
        case kind:
            return str(kind)


def describe_bounds(schema: Schema) -> str:
    """Return the bounds of a field as people read them."""
    own = []
    if "enum" in schema:
        own.append(" \\| ".join(f"`{value}`" for value in schema["enum"]))
    own += _range(schema, "minLength", "maxLength", "characters")
    own += _range(schema, "minProperties", "maxProperties", "keys")
    own += _range(schema, "minItems", "maxItems", "items")
    own += _range(schema, "minimum", "maximum", "")
    if "type" in schema and len(schema.get("pattern", "")) in range(1, LONGEST_PATTERN + 1):
        own.append("`{}`".format(schema["pattern"].replace("|", "\\|")))
    if "items" in schema and (each := describe_bounds(schema["items"])):
        own.append(f"each: {each}")
    return "; ".join(own)


def _range(schema: Schema, least: str, most: str, unit: str) -> list[str]:
    low, high = schema.get(least), schema.get(most)
    if (low is None and high is None) or not _is_bounded(schema, least):
        return []
    if low is None:
        text = f"≤ {high:,}"
    elif high is None:
        text = f"≥ {low:,}"
    else:
        text = f"{low:,} to {high:,}"
    return [f"{text} {unit}".strip()]


def _is_bounded(schema: Schema, least: str) -> bool:
    """Return whether a bound is worth showing; bounds of a field without a type only replace it."""
    is_number = "milliseconds" not in schema.get("properties", {}) and "multipleOf" not in schema
    return "type" in schema or (least == "minimum" and is_number)


def _render_columns(version: Schema) -> str:
    columns = version["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if not column.get("priority")]
    wide = [column["name"] for column in columns if column.get("priority")]
    text = f"`kubectl get` shows {', '.join(shown)}; with `-o wide` also {', '.join(wide)}."
    if selectable := [field["jsonPath"][1:] for field in version.get("selectableFields", ())]:
        fields = " and ".join(f"`{field}`" for field in selectable)
        text += f" `--field-selector` knows {fields}."
    return f"{text}\n"


def _table(fields: Iterator[Field]) -> str:
    lines = [
        "| Field | Type | Default | Bounds | Description |\n",
        "| --- | --- | --- | --- | --- |\n",
    ]
    for field in fields:
        default = _default(field)
        lines.append(
            f"| `{field.path}` | {describe_type(field.schema)} | {default} "
            f"| {describe_bounds(field.schema)} | {_text(field.schema['description'])} |\n"
        )
    return "".join(lines)


def _default(field: Field) -> str:
    if field.required:
        return "required"
    if "default" not in field.schema:
        return ""
    value = field.schema["default"]
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _text(text: str) -> str:
    """Put a text on one line of Markdown."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")
