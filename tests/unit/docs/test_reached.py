"""Every value of the API is produced for real by the test that the inventory names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from notifications_operator.api.conditions import ConditionType
from notifications_operator.api.notification import DeliveryState, NotificationState
from notifications_operator.api.processor import ProcessorReason
from notifications_operator.api.reasons import Reason

ROOT = Path(__file__).parents[3]
OPERATOR = ROOT / "operator" / "notifications_operator"
INVENTORY: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "tests" / "e2e" / "data" / "reached.yaml").read_text(encoding="utf-8")
)
UNREACHABLE = INVENTORY["unreachable"]

VALUES: dict[str, list[str]] = {
    "notification states": list(NotificationState),
    "delivery states": list(DeliveryState),
    "reasons": list(Reason),
    "processor reasons": list(ProcessorReason),
    "conditions": [
        f"{kind}={status}" for kind, status in product(ConditionType, ("True", "False", "Unknown"))
    ],
}

CLAIMS = [
    (group, value, test)
    for group, reached in INVENTORY.items()
    if group != "unreachable"
    for value, test in reached.items()
]


@cache
def definitions(path: str) -> dict[str, ast.stmt]:
    """Return what a module defines at its top level, by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
    return found


def strings(path: str, name: str) -> set[str]:
    """Return the strings of a function and of what it uses of its module."""
    known, found, seen, todo = definitions(path), set(), set(), [name]
    while todo:
        name = todo.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        for node in ast.walk(known[name]):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.Name):
                todo.append(node.id)
    return found


@pytest.mark.parametrize("group", VALUES)
def test_every_value_is_in_the_inventory(group: str) -> None:
    listed = [*INVENTORY[group], *UNREACHABLE.get(group, {})]

    assert sorted(listed) == sorted(VALUES[group])


@pytest.mark.parametrize(
    ("group", "value", "test"), CLAIMS, ids=[f"{group}-{value}" for group, value, _ in CLAIMS]
)
def test_the_named_test_speaks_of_the_value(group: str, value: str, test: str) -> None:
    path, _, name = test.partition("::")

    assert path.startswith(("tests/e2e/test_", "tests/integration/"))
    assert isinstance(definitions(path)[name], ast.AsyncFunctionDef)
    assert set(value.split("=")) <= strings(path, name)


def test_what_cannot_be_reached_is_not_used() -> None:
    used = set(attributes("Reason"))

    assert {Reason[name].value for name in used} == set(INVENTORY["reasons"])


def test_every_reason_that_only_conditions_have_is_in_the_inventory() -> None:
    """They are plain strings: arguments of conditions and obstacles, or constants."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in modules())

    for reason in INVENTORY["condition reasons"]:
        assert f'"{reason}"' in source


def modules() -> Iterator[Path]:
    yield from sorted(OPERATOR.rglob("*.py"))


def attributes(enum: str) -> Iterator[str]:
    """Yield the members of an enum that the operator's code names."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr=member) if name == enum:
                    yield member
