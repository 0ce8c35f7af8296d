"""JSON of any depth can be read, and everything else is read as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notifications_operator.api.processor import CONFIG_DEPTH, NotificationProcessorSpec
from notifications_operator.kube import nesting
from notifications_operator.kube.nesting import NESTING_LIMIT, bound_nesting, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[]\n\u2028', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\{[', max_size=2), inner)
    ),
    max_leaves=40,
)


def nested(levels: int, opening: str = '{"a":', closing: str = "}") -> str:
    return opening * levels + "1" + closing * levels


def depth(value: Any) -> int:
    level, levels = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        levels += 1
        level = [
            below for item in level for below in (item.values() if isinstance(item, dict) else item)
        ]
    return levels


def cut(value: Any, levels: int) -> Any:
    """Return the value that its text must be read as; the obvious implementation."""
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return None
    if isinstance(value, dict):
        return {key: cut(item, levels - 1) for key, item in value.items()}
    return [cut(item, levels - 1) for item in value]


@pytest.mark.parametrize("brackets", [('{"a":', "}"), ("[", "]"), ('[{"]":', "}]")])
@pytest.mark.parametrize("levels", [NESTING_LIMIT // 2 + 1, 1_500, 10_000, 500_000])
def test_any_depth_can_be_read(levels: int, brackets: tuple[str, str]) -> None:
    text = f'{{"kind": "N\\"", "deep": {nested(levels, *brackets)}, "after": [1]}}'
    found = read_json(text.encode())
    assert (found["kind"], found["after"]) == ('N"', [1])
    assert depth(found) == min(levels * len(brackets[1]) + 1, NESTING_LIMIT)


def test_the_limit_is_exact() -> None:
    assert depth(read_json(nested(NESTING_LIMIT).encode())) == NESTING_LIMIT
    text = nested(NESTING_LIMIT).encode()
    assert bound_nesting(text) is text
    assert bound_nesting(nested(NESTING_LIMIT + 1).encode()) == nested(
        NESTING_LIMIT
    ).encode().replace(b"1", b"null")


def test_one_deep_object_of_a_list_leaves_the_others_whole() -> None:
    flat = {"metadata": {"name": "a"}, "status": {"deliveries": [{"n": n} for n in range(200)]}}
    text = f'{{"items": [{json.dumps(flat)}, {nested(5_000)}, {json.dumps(flat)}]}}'
    first, deep, last = read_json(text.encode())["items"]
    assert (first, last) == (flat, flat)
    assert depth(deep) == NESTING_LIMIT - 2


def test_brackets_in_strings_are_no_nesting() -> None:
    value = {"a": "{[" * 5_000, "b\\": '\\"' * 300 + "[" * 300, "c": ["\\"] * 300}
    text = json.dumps(value).encode()
    assert bound_nesting(text) is text


@pytest.mark.parametrize(
    "text", [b"[" * 5_000, b"]" * 5_000, b'"' + b"[" * 500, b"{" * 200 + b"\xff"]
)
def test_what_is_no_json_is_refused_as_ever(text: bytes) -> None:
    with pytest.raises(ValueError):
        read_json(text)


@given(VALUES)
def test_values_are_cut_at_the_limit_and_are_otherwise_the_same(value: Any) -> None:
    text = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nesting, "NESTING_LIMIT", 3)
        assert read_json(text) == cut(value, 3)


@pytest.mark.parametrize("levels", [CONFIG_DEPTH, NESTING_LIMIT, 5000])
def test_a_plugins_settings_that_were_cut_are_refused(levels: int) -> None:
    text = f'{{"type": "example.com/teams", "config": {{"deep": {nested(levels)}}}}}'

    with pytest.raises(ValidationError, match="config is nested too deeply; at most 64 levels"):
        NotificationProcessorSpec.model_validate(read_json(text.encode()))


def test_a_plugins_settings_within_the_bound_are_read() -> None:
    text = f'{{"type": "example.com/teams", "config": {nested(CONFIG_DEPTH)}}}'

    assert depth(NotificationProcessorSpec.model_validate(read_json(text.encode())).config) == 64
