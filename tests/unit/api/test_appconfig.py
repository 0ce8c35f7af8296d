"""Texts of numbers and booleans are read as their patterns say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from notifications_operator.api.appconfig import (
    AMOUNT_PATTERN,
    BOOLEAN_MAX_LENGTH,
    BOOLEAN_PATTERN,
    HUNDRED_PATTERN,
    PORT_PATTERN,
    TEXT_MAX_LENGTH,
    read_amount,
    read_boolean,
)
from notifications_operator.api.email import EmailConfig, SMTPTransport


def takes(model: type[BaseModel], **fields: Any) -> Any:
    """Return what a model makes of one field beside those it needs, or ``None``."""
    (name,) = fields
    needed: dict[type[BaseModel], dict[str, Any]] = {
        SMTPTransport: {"transport": "smtp", "hostname": "a", "port": 25},
        EmailConfig: {"sender": "a@b", "transportConfig": {"transport": "stream"}},
    }
    try:
        read = model.model_validate({**needed[model], **fields})
    except ValidationError:
        return None
    return read.model_dump(by_alias=True)[name]


NUMBERS = st.one_of(
    st.integers(-5, 70_000).map(str),
    st.text(alphabet="0123456789+-. ", max_size=12),
    st.from_regex(PORT_PATTERN, fullmatch=True, alphabet=st.characters(codec="ascii")),
)


@given(NUMBERS)
def test_port_as_the_api_server_takes_it(text: str) -> None:
    matches = re.fullmatch(PORT_PATTERN[1:-1], text) and len(text) <= TEXT_MAX_LENGTH
    assert takes(SMTPTransport, port=text) == (int(float(text)) if matches else None)


@given(NUMBERS)
def test_limit_as_the_api_server_takes_it(text: str) -> None:
    matches = re.fullmatch(HUNDRED_PATTERN[1:-1], text) and len(text) <= TEXT_MAX_LENGTH
    assert takes(EmailConfig, concurrencyLimit=text) == (int(float(text)) if matches else None)


@given(st.one_of(NUMBERS, st.text(max_size=5)))
def test_amount_as_the_api_server_takes_it(text: str) -> None:
    matches = re.fullmatch(AMOUNT_PATTERN[1:-1], text) and len(text) <= TEXT_MAX_LENGTH
    assert read_amount(text) == (float(text) if matches else text)


WORDS = {
    True: ("y", "yes", "true", "1", "on"),
    False: ("n", "no", "false", "0", "off"),
}
"""``getOptionalBoolean`` of @backstage/config 1.3.11."""


@pytest.mark.parametrize("expected", [True, False])
def test_words_of_backstage(expected: bool) -> None:
    for word in WORDS[expected]:
        for text in (word, word.upper(), word.title(), f" {word} "):
            assert read_boolean(text) is expected
    assert read_boolean(int(expected)) is expected
    assert read_boolean(float(expected)) is expected
    assert read_boolean(expected) is expected


@given(st.one_of(st.text(alphabet="truefalsyn01 ", max_size=8), st.text(max_size=6)))
def test_other_words_are_no_boolean(text: str) -> None:
    matches = re.fullmatch(BOOLEAN_PATTERN[1:-1], text) and len(text) <= BOOLEAN_MAX_LENGTH
    assert isinstance(read_boolean(text), bool) == bool(matches)
    assert (takes(SMTPTransport, secure=text) is not None) == bool(matches)


@pytest.mark.parametrize("value", [2, -1, 0.5, [], {}, "maybe", "", " " * 15 + "on"])
def test_other_values_are_no_boolean(value: Any) -> None:
    assert takes(SMTPTransport, secure=value) is None


@pytest.mark.parametrize("name", ["ignoreTls"])
@pytest.mark.parametrize("value", ["true", "false", 1, 0])
def test_what_weakens_security_is_never_guessed(name: str, value: Any) -> None:
    assert takes(SMTPTransport, **{name: value}) is None
