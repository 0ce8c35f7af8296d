"""The custom resource definitions and the models say the same, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from notifications_operator.api.appconfig import (
    AMOUNT_PATTERN,
    BOOLEAN_MAX_LENGTH,
    BOOLEAN_PATTERN,
    HUNDRED_PATTERN,
    PORT_PATTERN,
    TEXT_MAX_LENGTH,
)
from notifications_operator.api.durations import DURATION_END_PATTERN, DURATION_PATTERN
from notifications_operator.api.email import REFUSED_TRANSPORT_FIELDS
from notifications_operator.api.fields import Cut
from notifications_operator.api.notification import LINK_PATTERN, REF_PATTERN, Notification
from notifications_operator.api.placeholders import PLACEHOLDER_PATTERN, REMEDY
from notifications_operator.api.processor import NotificationProcessor
from notifications_operator.api.resource import TIME_PATTERN, KubernetesModel
from notifications_operator.api.schema import nested_models
from tests.support.conformance import Case, load_cases

CRDS = Path(__file__).resolve().parents[3] / "crds"
KINDS: list[tuple[str, type[KubernetesModel]]] = [
    ("notifications", Notification),
    ("notificationprocessors", NotificationProcessor),
]
REFUSED = {f"spec.email.transportConfig.{name}" for name in REFUSED_TRANSPORT_FIELDS}
REFUSED_BELOW_SPEC = {path.removeprefix("spec.") for path in REFUSED}
DURATIONS = {"spec.email.throttleInterval", "spec.email.cache.ttl"}
"""Fields without a type, and the values within them, which no model lists."""
PARSED = {"retry.maxAge", "retry.minDelay", "retry.maxDelay", "expiresAt"}
"""Texts that the models parse instead of matching them; the conformance table tests those."""
IN_QUOTES = {
    "spec.email.transportConfig.port": PORT_PATTERN,
    "spec.email.transportConfig.secure": BOOLEAN_PATTERN,
    "spec.email.transportConfig.requireTls": BOOLEAN_PATTERN,
    "spec.email.concurrencyLimit": HUNDRED_PATTERN,
}
"""Numbers and booleans that may be texts, each with what the text must match."""
COMPARED = (
    "type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems",
    "maxItems", "maxProperties",
)  # fmt: skip


def read_schema(plural: str) -> dict[str, Any]:
    definition = yaml.safe_load((CRDS / f"{plural}.yaml").read_text(encoding="utf-8"))
    (version,) = definition["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def walk_schema(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every schema with its path, list items as ``path[]``."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk_schema(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from walk_schema(schema["items"], f"{path}[]")


def walk_model(model: type[KubernetesModel], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        field_path = f"{path}.{field.alias or name}"
        is_list = "list[" in str(field.annotation)
        yield field_path
        for nested in nested_models(field.annotation):
            yield from walk_model(nested, f"{field_path}[]" if is_list else field_path)


def schema_of_model(model: type[KubernetesModel]) -> dict[str, Any]:
    """Return the model's JSON schema as a structural one: inlined, unions merged, no nulls."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            node = {**definitions[node["$ref"].removeprefix("#/$defs/")], **node}
        options = [
            resolve(option)
            for option in node.get("anyOf", node.get("oneOf", ()))
            if option != {"type": "null"}
        ]
        merged = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf")}
        for option in options:
            merged = merge(merged, option)
        if "const" in merged:
            merged["enum"] = [merged.pop("const")]
        if "items" in merged:
            merged["items"] = resolve(merged["items"])
        if "properties" in merged:
            merged["properties"] = {
                name: resolve(child) for name, child in merged["properties"].items()
            }
        return merged

    def merge(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
        both = {**left, **right}
        if "properties" in left and "properties" in right:
            both["properties"] = {**left["properties"], **right["properties"]}
            discriminators = [
                side["properties"]["transport"] for side in (left, right)
            ]  # the only union of objects
            both["properties"]["transport"] = {
                "type": "string",
                "enum": [value for one in discriminators for value in one["enum"]],
            }
            both["required"] = sorted(set(left["required"]) & set(right["required"]))
        return both

    return resolve(schema)


@pytest.mark.parametrize(("plural", "model"), KINDS)
def test_same_fields(plural: str, model: type[KubernetesModel]) -> None:
    schema = read_schema(plural)
    known = {
        path.removesuffix("[]")
        for path, _ in walk_schema(schema, "")
        if path and not any(path.startswith(f"{duration}.") for duration in DURATIONS)
    }
    modelled = {
        path
        for part in ("spec", "status")
        for nested in nested_models(model.model_fields[part].annotation)
        for path in (part, *walk_model(nested, part))
    }
    assert known - modelled == (REFUSED if plural == "notificationprocessors" else set())
    assert modelled - known == set()


@pytest.mark.parametrize(("plural", "model"), KINDS)
def test_same_bounds_of_the_spec(plural: str, model: type[KubernetesModel]) -> None:
    ours = schema_of_model(model)["properties"]["spec"]
    theirs = dict(walk_schema(read_schema(plural)["properties"]["spec"], "spec"))
    checked = 0
    for path, schema in walk_schema(ours, "spec"):
        if path in {*DURATIONS, *IN_QUOTES} or path.removeprefix("spec.") in PARSED:
            continue
        other = theirs[path]
        left = {key: schema[key] for key in COMPARED if key in schema}
        right = {key: other[key] for key in COMPARED if key in other}
        if path == "spec.type":
            right.pop("pattern")  # a validator with a better message matches it
        if isinstance(left.get("enum"), list):
            assert sorted(left.pop("enum")) == sorted(right.pop("enum")), path
        assert left == right, path
        required, expected = schema.get("required", []), other.get("required", [])
        assert sorted(required) == sorted(expected), path
        checked += 1
    assert checked > 10


@pytest.mark.parametrize(("plural", "model"), KINDS)
def test_same_bounds_of_status_texts(plural: str, model: type[KubernetesModel]) -> None:
    """What is cut is cut to what the API server takes."""
    schemas = dict(walk_schema(read_schema(plural), ""))

    def walk_cuts(model: type[KubernetesModel], path: str) -> Iterator[tuple[str, int]]:
        for name, field in model.model_fields.items():
            field_path = f"{path}.{field.alias or name}"
            is_list = "list[" in str(field.annotation)
            for limit in re.findall(r"Cut\(limit=(\d+)\)", f"{field.annotation} {field.metadata}"):
                yield f"{field_path}[]" if is_list else field_path, int(limit)
            for nested in nested_models(field.annotation):
                yield from walk_cuts(nested, f"{field_path}[]" if is_list else field_path)

    (status,) = nested_models(model.model_fields["status"].annotation)
    cuts = dict(walk_cuts(status, "status"))
    assert cuts
    for path, limit in cuts.items():
        assert schemas[path]["maxLength"] == limit, path


@pytest.mark.parametrize(("plural", "_model"), KINDS)
def test_every_field_is_described_and_bounded(plural: str, _model: type[KubernetesModel]) -> None:
    for path, schema in walk_schema(read_schema(plural), ""):
        assert len(schema.get("description", "")) > 3, path
        kind = schema.get("type")
        if kind == "array":
            assert "maxItems" in schema, path
            assert "x-kubernetes-list-type" in schema, path
        if kind == "string" and schema.get("format") != "date-time":
            assert "maxLength" in schema or "enum" in schema, path
        if kind in ("integer", "number") and path.startswith("spec"):
            assert "minimum" in schema, path
            assert "maximum" in schema, path
        if path.startswith("status"):
            assert "enum" not in schema, path
            assert schema.get("x-kubernetes-list-type", "atomic") == "atomic", path


@pytest.mark.parametrize(("plural", "_model"), KINDS)
def test_rules_explain_the_pattern_beside_them(plural: str, _model: type[KubernetesModel]) -> None:
    for path, schema in walk_schema(read_schema(plural), ""):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert "\n" not in rule["message"].strip(), path
            if rule["rule"].startswith("self.matches("):
                assert rule["rule"] == f"self.matches(r'{schema['pattern']}')", path


def test_patterns_of_texts_that_are_parsed() -> None:
    notification = dict(walk_schema(read_schema("notifications"), ""))
    processor = dict(walk_schema(read_schema("notificationprocessors"), ""))
    assert notification["spec.payload.link"]["pattern"] == LINK_PATTERN
    assert notification["spec.recipients.entityRef"]["pattern"] == REF_PATTERN
    assert notification["spec.expiresAt"]["pattern"] == TIME_PATTERN
    for path in DURATIONS:
        assert processor[path]["pattern"] == DURATION_PATTERN
        assert processor[path]["allOf"] == [{"pattern": DURATION_END_PATTERN}]


@pytest.mark.parametrize(("path", "pattern"), IN_QUOTES.items())
def test_bounds_of_what_may_be_in_quotes(path: str, pattern: str) -> None:
    ours = dict(walk_schema(schema_of_model(NotificationProcessor), ""))[path]
    theirs = dict(walk_schema(read_schema("notificationprocessors"), ""))[path]
    assert theirs["pattern"] == pattern
    if ours["type"] == "integer":
        assert theirs["x-kubernetes-int-or-string"]
        assert theirs["maxLength"] == TEXT_MAX_LENGTH
        bounds = ("minimum", "maximum")
        assert [theirs[bound] for bound in bounds] == [ours[bound] for bound in bounds]
    else:
        assert "type" not in theirs
        assert theirs["maxLength"] == BOOLEAN_MAX_LENGTH


def test_amounts_of_durations_may_be_in_quotes() -> None:
    schema = dict(walk_schema(read_schema("notificationprocessors"), ""))
    for path in DURATIONS:
        for unit in schema[path]["properties"].values():
            assert unit["pattern"] == AMOUNT_PATTERN
            assert unit["maxLength"] == TEXT_MAX_LENGTH


def test_no_text_of_the_spec_may_hold_a_placeholder() -> None:
    """A new text needs the rule, or an enumeration or pattern that allows no braces."""
    rule = f"!self.matches(r'{PLACEHOLDER_PATTERN}')"
    for path, schema in walk_schema(
        read_schema("notificationprocessors")["properties"]["spec"], ""
    ):
        if schema.get("type") != "string" or "enum" in schema or path in REFUSED_BELOW_SPEC:
            continue
        rules = {
            item["rule"]: item["message"] for item in schema.get("x-kubernetes-validations", ())
        }
        if rule in rules:
            assert rules[rule] == REMEDY, path
        else:
            assert not re.fullmatch(schema["pattern"][1:-1], "${NAME}"), path
            assert not re.fullmatch(schema["pattern"][1:-1], "1${NAME}@b"), path


@pytest.mark.parametrize(
    "case", [case for case in load_cases() if case.model_accepts], ids=lambda case: case.id
)
def test_same_defaults(case: Case) -> None:
    schema = read_schema(case.plural)
    model = dict(KINDS)[case.plural]
    served = apply_defaults(schema, case.manifest)
    assert model.model_validate(served) == model.model_validate(case.manifest)


def apply_defaults(schema: Mapping[str, Any], value: Any) -> Any:
    """Apply a schema's defaults as the API server does: nulls dropped, parents first."""
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    served = {
        name: item for name, item in value.items() if item is not None or name not in properties
    }
    for name, child in properties.items():
        if name not in served and "default" in child:
            served[name] = child["default"]
        if name in served:
            served[name] = apply_defaults(child, served[name])
    return served


def test_cut_is_found_in_annotations() -> None:
    """Guards the regular expression of `test_same_bounds_of_status_texts`."""
    assert repr(Cut(5)) == "Cut(limit=5)"
