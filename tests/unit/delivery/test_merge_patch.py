"""Merge patches turn the stored status into the wanted one, and say whether it was kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.delivery.storage.merge_patch import is_kept, merge_patch
from tests.support.cluster import apply_merge_patch

NAMES = st.sampled_from("abcd")
VALUES = st.recursive(
    st.booleans() | st.integers(-2, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_applied_patch_gives_what_is_wanted(stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert apply_merge_patch(stored, merge_patch(stored, wanted)) == wanted


@given(OBJECTS)
def test_nothing_to_do_is_an_empty_patch(stored: dict[str, Any]) -> None:
    assert merge_patch(stored, stored) == {}


@given(OBJECTS, OBJECTS)
def test_patch_names_only_what_differs(stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in merge_patch(stored, wanted):
        assert stored.get(name) != wanted.get(name) or (name in stored) != (name in wanted)


@pytest.mark.parametrize(
    ("stored", "wanted", "patch"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, {"a": [{"b": 2}]}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}),
    ],
)
def test_patches(stored: dict[str, Any], wanted: dict[str, Any], patch: dict[str, Any]) -> None:
    assert merge_patch(stored, wanted) == patch


@given(OBJECTS)
def test_what_is_stored_is_kept(wanted: dict[str, Any]) -> None:
    assert is_kept(wanted, wanted)


@pytest.mark.parametrize(
    ("wanted", "stored", "kept"),
    [
        ({"a": 1}, {"a": 1, "default": True}, True),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "default": True}]}, True),
        ({"a": 1}, {}, False),
        ({"a": 1}, {"a": 2}, False),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": {"b": 1}}, {"a": 1}, False),
        ({"a": [1]}, {"a": 1}, False),
    ],
)
def test_kept(wanted: dict[str, Any], stored: dict[str, Any], kept: bool) -> None:
    assert is_kept(wanted, stored) is kept
