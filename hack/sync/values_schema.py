"""The generated part of the chart's ``values.schema.json``: the options of the email processor.

They are those of the custom resource definition, so that a value which the API server would refuse
is refused before Helm has sent anything, and cannot fall behind it. The rest of the schema is
written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

SCHEMA = Path("charts/notifications/values.schema.json")
DEFINITION = Path("crds/notificationprocessors.yaml")

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
        "type": "string",
        "minLength": 1,
        "maxLength": 1024,
    },
    "password": {
        "description": "Password to log in with; goes to a Secret. existingSecret is better.",
        "type": "string",
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
    for name in _REQUIRED_BELOW:
        properties[name]["description"] += " Required."
    transport = properties["transportConfig"]
    transport["description"] = _TRANSPORT
    transport["properties"] |= _CREDENTIALS
    existing_secret = _convert(spec["secretRef"]["properties"]["name"])
    properties["existingSecret"] = existing_secret | {"description": _EXISTING_SECRET}
    properties |= {name: _convert(spec[name]) for name in _SPEC_OPTIONS}
    options["description"] = "The email processor; empty: none."
    return options


def _convert(node: JSON) -> JSON:
    if _is_duration(node):
        kept = {key: node[key] for key in ("description", "default") if key in node}
        return kept | {"$ref": _DURATION}
    result: JSON = {key: node[key] for key in _KEPT if key in node}
    if "properties" in node:
        result["additionalProperties"] = False
        result["properties"] = {name: _convert(child) for name, child in node["properties"].items()}
    if "items" in node:
        result["items"] = _convert(node["items"])
    return result


def _is_duration(node: JSON) -> bool:
    return "type" not in node and "milliseconds" in node.get("properties", {})


def _duration(node: JSON) -> JSON:
    """Return the schema of a duration; that a number must be 0 is said by the templates."""
    return {
        "description": "An object such as {minutes: 5}, a string such as 100ms or PT5M, or 0.",
        "type": ["object", "string", "number"],
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {name: _convert(child) for name, child in node["properties"].items()},
        "maxLength": node["maxLength"],
        "pattern": node["pattern"],
    }
