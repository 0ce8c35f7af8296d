"""Placeholders are found wherever they are, and named by their path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notifications_operator.api.messages import describe_validation_error
from notifications_operator.api.placeholders import find_placeholders, has_placeholder
from notifications_operator.api.processor import NotificationProcessor


@pytest.mark.parametrize(
    "text",
    [
        "${NAME}",
        "a ${NAME} b",
        "${NAME:-default}",
        "$${NAME}",
        "${{ vars.NAME }}",
        "${}",
        "x${a\nb}",
    ],
)
def test_a_placeholder(text: str) -> None:
    assert has_placeholder(text)


@pytest.mark.parametrize("text", ["", "$NAME", "{NAME}", "$(NAME)", "${NAME", "$ {NAME}", "}${"])
def test_none(text: str) -> None:
    assert not has_placeholder(text)


def test_paths_in_the_order_of_the_document() -> None:
    value = {"b": ["x", "${A}", {"c": "${B}"}], "a": "${C}", "${D}": 1, "n": None, "e": {"f": 2}}
    assert find_placeholders(value) == ["${D}", "b[1]", "b[2].c", "a"]


def test_a_text_alone() -> None:
    assert find_placeholders("${A}") == [""]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(alphabet="ab$", max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("ab", max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_there_are_none_in_what_has_none(value: Any) -> None:
    assert find_placeholders(value) == []
    assert len(find_placeholders({"x": value, "y": "${A}"})) == 1


def test_depth_is_no_limit() -> None:
    value: Any = "${A}"
    for _ in range(5000):
        value = [value]
    assert find_placeholders(value) == ["[0]" * 5000]


def test_a_processor_is_refused_by_field_without_the_values() -> None:
    email = {
        "sender": "${SENDER:-hunter22}",
        "transportConfig": {"transport": "smtp", "hostname": "${HOST}", "port": 25},
        "allowedEmailDomains": ["example.com", "${DOMAIN}"],
    }
    body = {"metadata": {"name": "email"}, "spec": {"type": "email", "email": email}}
    with pytest.raises(ValidationError) as refused:
        NotificationProcessor.model_validate(body)
    message = describe_validation_error(refused.value)
    assert message.startswith(
        "spec: email.sender, email.transportConfig.hostname, email.allowedEmailDomains[1]: "
        "nothing fills in a placeholder such as ${NAME} here"
    )
    assert "envsubst" in message
    assert "hunter22" not in message
