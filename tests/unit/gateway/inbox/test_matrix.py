"""What a choice means: the most specific wins, the user's before the default."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notifications_operator.gateway.inbox.matrix import (
    Choices,
    Key,
    SettingsMatrix,
    effective_matrix,
    relevant_keys,
    unique_names,
    without_topics_of_origins_off,
)

CHANNEL, ORIGIN, TOPIC = ("web", "", ""), ("web", "a", ""), ("web", "a", "t")


def choices(own: dict[Key, bool] | None = None, defaults: dict[Key, bool] | None = None) -> Choices:
    return Choices(own=own or {}, defaults=defaults or {})


@pytest.mark.parametrize(
    ("own", "defaults", "origin", "topic"),
    [
        ({}, {}, True, True),
        ({CHANNEL: False}, {}, False, False),
        ({}, {CHANNEL: False}, False, False),
        ({}, {CHANNEL: False, ORIGIN: True}, True, True),
        ({}, {CHANNEL: False, ORIGIN: True, TOPIC: False}, True, False),
        ({ORIGIN: True}, {CHANNEL: False}, True, True),
        ({CHANNEL: True}, {CHANNEL: False}, True, True),
        ({CHANNEL: False}, {ORIGIN: True}, False, False),
        ({CHANNEL: False, ORIGIN: True}, {}, True, True),
        ({ORIGIN: False}, {CHANNEL: True, TOPIC: True}, False, False),
        ({ORIGIN: True}, {TOPIC: False}, True, False),
        ({TOPIC: True}, {TOPIC: False}, True, True),
        ({TOPIC: True}, {ORIGIN: False}, False, False),
        ({TOPIC: False}, {}, True, False),
    ],
)
def test_choices(
    own: dict[Key, bool], defaults: dict[Key, bool], origin: bool, topic: bool
) -> None:
    found = choices(own, defaults)
    assert found.wants("Web", "A", None) is origin
    assert found.wants("Web", "A", "") is origin
    assert found.wants("WEB", "a", "T") is topic


ANY = st.dictionaries(st.sampled_from([CHANNEL, ORIGIN, TOPIC]), st.booleans())


@given(own=ANY, origin=st.booleans(), defaults=ANY, topic=st.sampled_from([None, "t"]))
def test_topics_of_an_origin_that_is_off_never_matter(
    own: dict[Key, bool], origin: bool, defaults: dict[Key, bool], topic: str | None
) -> None:
    own = {**own, ORIGIN: origin}
    kept = without_topics_of_origins_off(own)
    wanted = choices(own, defaults).wants("web", "a", topic)
    assert choices(kept, defaults).wants("web", "a", topic) is wanted
    assert (TOPIC in kept) is (origin and TOPIC in own)


@given(own=ANY, defaults=ANY, topic=st.sampled_from([None, "t"]))
def test_who_chose_only_what_is_usual_gets_what_is_usual(
    own: dict[Key, bool], defaults: dict[Key, bool], topic: str | None
) -> None:
    """The operator's question looks only at users with a choice that is not usual."""
    usual = choices({}, defaults).wants("web", "a", topic)
    relevant = {key: own[key] for key in relevant_keys("web", "a", topic) if key in own}
    if all(enabled is usual for enabled in relevant.values()):
        assert choices(own, defaults).wants("web", "a", topic) is usual


@given(own=ANY, defaults=ANY)
def test_no_topic_is_wanted_whose_origin_is_not(
    own: dict[Key, bool], defaults: dict[Key, bool]
) -> None:
    found = choices(own, defaults)
    assert found.wants("web", "a", None) or not found.wants("web", "a", "t")


def test_matrix_shows_each_name_once_in_order() -> None:
    found = effective_matrix(
        choices({ORIGIN: False}), ["Web"], [("b", None), ("A", "T"), ("a", "t"), ("A", None)]
    )
    assert found.to_json() == {
        "channels": [
            {
                "id": "Web",
                "origins": [
                    {"id": "A", "enabled": False, "topics": [{"id": "T", "enabled": False}]},
                    {"id": "b", "enabled": True, "topics": []},
                ],
            }
        ]
    }


def test_what_is_stored_is_shown_whatever_its_length() -> None:
    found = effective_matrix(choices(), ["Web"], [("o" * 2000, "t" * 2000)])
    (origin,) = found.to_json()["channels"][0]["origins"]
    assert (origin["id"], origin["topics"][0]["id"]) == ("o" * 2000, "t" * 2000)


def test_unique_names_keep_the_first() -> None:
    assert unique_names(["Web", "Email", "web", "WEB"]) == ["Web", "Email"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"channels": "x"}, "list"),
        ({"channels": [{"id": 1}]}, "string"),
        ({"channels": [{"id": ""}]}, "at least 1 character"),
        ({"channels": [{"id": "x" * 513}]}, "at most 512 characters"),
        ({"channels": [{"id": "\u0390" * 255}]}, "at most 1020 bytes"),
        ({"channels": [{"id": "a\0"}]}, "NUL"),
        ({"channels": [{"id": "\ud800"}]}, "unicode"),
        ({"channels": [{"id": "Web", "enabled": "yes"}]}, "boolean"),
        ({"channels": [{"id": "Web", "origins": [{"id": "a"}]}]}, "required"),
        ({"channels": [{"id": "Web"}, {"id": "web"}]}, "'web' is there twice"),
        (
            {"channels": [{"id": "Web", "origins": [{"id": "a", "enabled": True}] * 2}]},
            "origins of channel Web: 'a' is there twice",
        ),
    ],
)
def test_malformed_matrix_is_refused(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SettingsMatrix.model_validate(body)


def test_unknown_properties_are_tolerated() -> None:
    body = {"channels": [{"id": "Web", "colour": "red", "origins": []}], "more": 1}
    assert SettingsMatrix.model_validate(body).channels[0].id == "Web"
