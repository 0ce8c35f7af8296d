"""The generated part of the chart's ``values.schema.json``: the options of the email processor.

They are those of the custom resource definition, so that a value which the API server would refuse
is refused before Helm has sent anything, and cannot fall behind it. A key without a value counts as
absent, as in Backstage. What the templates answer better than a schema, keys that nothing reads, is
let through to them. The rest of the schema is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

SCHEMA = Path("charts/notifications/values.schema.json")
DEFINITION = Path("crds/notificationprocessors.yaml")
MISPLACED = Path("charts/notifications/files/misplaced-keys.yaml")

JSON = dict[str, Any]

_KEPT = (
    "description",
    "type",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "required",
    "default",
)
"""What a structural schema and JSON Schema have in common, and Helm users need."""

_SPEC_OPTIONS = ("channel", "order", "suspend", "retry", "onAmbiguous")
"""Fields of ``spec`` that the values have beside those of ``spec.email``."""

_CREDENTIALS: JSON = {
    "username": {
        "description": "Name to log in with; goes to a Secret. existingSecret is better.",
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": 1024,
    },
    "password": {
        "description": "Password to log in with; goes to a Secret. existingSecret is better.",
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": 1024,
    },
}
_EXISTING_SECRET = (
    "Secret of the release's namespace with the keys username and password, instead of credentials "
    "in the values."
)
_TRANSPORT = "How mail leaves. With credentials the connection is always encrypted. Required."
_REQUIRED_BELOW = ("transportConfig", "sender")
_DURATION = "#/definitions/duration"


def generate(root: Path) -> dict[Path, str]:
    """Return the generated files, by path relative to the repository.

    Parameters
    ----------
    root
        The repository.

    Returns
    -------
    dict
        The schema, whose hand-written parts are as they were.
    """
    schema = json.loads((root / SCHEMA).read_text())
    definition = yaml.safe_load((root / DEFINITION).read_text())
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["definitions"]["email"] = email_options(spec["properties"])
    schema["definitions"]["duration"] = _duration(
        spec["properties"]["email"]["properties"]["throttleInterval"]
    )
    known = yaml.safe_load((root / MISPLACED).read_text())
    schema["definitions"]["misplaced"] = misplaced(known, schema["definitions"]["email"])
    return {SCHEMA: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"}


def email_options(spec: JSON) -> JSON:
    """Return the JSON Schema of ``notifications.processors.email``.

    Parameters
    ----------
    spec
        The properties of a NotificationProcessor's ``spec`` in the definition.

    Returns
    -------
    dict
        The schema. It requires nothing at the top, because no options mean no processor; the
        chart's templates ask for what is missing.
    """
    options = _convert(spec["email"])
    del options["required"]
    properties = options["properties"]
    options["type"] = [options["type"], "null"]
    for name in _REQUIRED_BELOW:
        properties[name] = _or_null(properties[name])
        properties[name]["description"] += " Required."
    transport = properties["transportConfig"]
    transport["description"] = _TRANSPORT
    transport["properties"] |= _CREDENTIALS
    existing_secret = _convert(spec["secretRef"]["properties"]["name"])
    properties["existingSecret"] = _or_null(existing_secret | {"description": _EXISTING_SECRET})
    properties |= {name: _or_null(_convert(spec[name])) for name in _SPEC_OPTIONS}
    options["description"] = "The email processor; empty: none."
    return options


def misplaced(known: JSON, email: JSON) -> JSON:
    """Return the schema of values with keys that nothing reads, for the templates to answer.

    Parameters
    ----------
    known
        Those keys and their places, as ``files/misplaced-keys.yaml`` has them.
    email
        The schema of ``notifications.processors.email``.
    """
    names = [*known["groups"], *known["keys"]]
    transport = _has_one_of(names, but=email["properties"]["transportConfig"]["properties"])
    block = _has_one_of(names, but=email["properties"])
    processors = _has_one_of(known["processors"])
    notifications = _has_one_of(known["notifications"])
    return {
        "description": "Keys that nothing reads; the templates name the right ones.",
        **_below(
            "notifications",
            notifications,
            _below(
                "processors",
                processors,
                _below("email", block, _below("transportConfig", transport)),
            ),
        ),
    }


def _below(name: str, *conditions: JSON) -> JSON:
    """Return the schema of an object that has something of which one condition is true."""
    there = conditions[0] if len(conditions) == 1 else {"anyOf": list(conditions)}
    return {"type": "object", "required": [name], "properties": {name: there}}


def _has_one_of(names: Sequence[str], *, but: Collection[str] = ()) -> JSON:
    """Return the schema of an object with a key of these names, written in any way."""
    named: JSON = {"pattern": f"^(?i:{'|'.join(names).replace('-', '[-_]?')})$"}
    if but:
        named["not"] = {"enum": list(but)}
    return {"type": "object", "not": {"propertyNames": {"not": named}}}


def _convert(node: JSON) -> JSON:
    if _is_duration(node):
        kept = {key: node[key] for key in ("description", "default") if key in node}
        return kept | {"$ref": _DURATION}
    result: JSON = {key: node[key] for key in _KEPT if key in node}
    result["type"] = _types(node)
    required = node.get("required", ())
    if "properties" in node:
        result["additionalProperties"] = False
        result["properties"] = {
            name: _convert(child) if name in required else _or_null(_convert(child))
            for name, child in node["properties"].items()
        }
    if "items" in node:
        result["items"] = _convert(node["items"])
    return result


def _types(node: JSON) -> str | list[str]:
    """Return the types of a value; without one it is a number or a boolean, or a text of it."""
    if node.get("x-kubernetes-int-or-string"):
        return ["integer", "string"]
    if "type" in node:
        return str(node["type"])
    return ["boolean", "integer", "string"] if "multipleOf" in node else ["number", "string"]


def _or_null(schema: JSON) -> JSON:
    """Return a schema that takes a key without a value too."""
    if "type" in schema:
        types = schema["type"]
        schema["type"] = [*([types] if isinstance(types, str) else types), "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _is_duration(node: JSON) -> bool:
    return "type" not in node and "milliseconds" in node.get("properties", {})


def _duration(node: JSON) -> JSON:
    """Return the schema of a duration; that a number must be 0 is said by the templates."""
    return {
        "description": "An object such as {minutes: 5}, a string such as 100ms or PT5M, or 0.",
        "type": ["object", "string", "number", "null"],
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            name: _or_null(_convert(child)) for name, child in node["properties"].items()
        },
        "maxLength": node["maxLength"],
        "pattern": node["pattern"],
    }
