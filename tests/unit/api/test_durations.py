"""Durations: Backstage's forms and the Gateway API's."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.durations import (
    DURATION_END_PATTERN,
    DURATION_MAX_LENGTH,
    DURATION_PATTERN,
    GO_DURATION_PATTERN,
    LARGEST_AMOUNT,
    LONGEST,
    UNIT_SECONDS,
    format_go_duration,
    parse_duration,
    parse_go_duration,
)


def accepted_by_schema(text: str) -> bool:
    """Judge as the API server does."""
    return (
        len(text) <= DURATION_MAX_LENGTH
        and re.fullmatch(DURATION_PATTERN[1:-1], text) is not None
        and re.search(DURATION_END_PATTERN.replace("$", r"\Z"), text) is not None
    )


def parses(value: Any) -> bool:
    try:
        parse_duration(value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"minutes": 5}, timedelta(minutes=5)),
        ({"hours": 0.5, "milliseconds": 1}, timedelta(minutes=30, milliseconds=1)),
        ({"days": 1, "hours": None}, timedelta(days=1)),
        ({"months": 1}, timedelta(days=30.4375)),
        ("100ms", timedelta(milliseconds=100)),
        ("5 minutes", timedelta(minutes=5)),
        (".5s", timedelta(milliseconds=500)),
        ("1Y", timedelta(days=365.25)),
        ("2 WEEKS", timedelta(weeks=2)),
        ("PT5M", timedelta(minutes=5)),
        ("P1Y2M3W4DT5H6M7.5S", timedelta(days=365.25 + 2 * 30.4375 + 21 + 4, seconds=18367.5)),
        (0, timedelta()),
        (0.0, timedelta()),
        ("9999999999 years", LONGEST),
        ({"years": LARGEST_AMOUNT}, LONGEST),
        (timedelta(seconds=3), timedelta(seconds=3)),
    ],
)
def test_backstage_forms(value: Any, expected: timedelta) -> None:
    assert parse_duration(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        100, 1.5, -1, True, False, None, [], ["1s"], "", "100", "1 month", "1h30m", "-1s", "P",
        "PT", "P1DT", "1s\n", " 1s", "\u0661s", "1" * 65, {}, {"minutes": None}, {"minute": 5},
        {"minutes": "five"}, {"minutes": ""}, {"minutes": "-5"}, {"minutes": True}, {"minutes": -1},
        {"minutes": float("nan")}, {"minutes": float("inf")}, {"years": 10**400}, {1: 1},
    ],
)  # fmt: skip
def test_no_duration(value: Any) -> None:
    with pytest.raises(ValueError, match=r"duration|unit|number|must be from"):
        parse_duration(value)


def test_message_is_short() -> None:
    with pytest.raises(ValueError, match="write an object such as") as caught:
        parse_duration("x" * 1_000_000)
    assert len(str(caught.value)) < 300


@given(st.from_regex(DURATION_PATTERN, fullmatch=True))
def test_what_the_schema_accepts_parses(text: str) -> None:
    assert parses(text) is accepted_by_schema(text)


@given(
    st.text(alphabet="0123456789. PTYMWDHSmshdwy\u017f\u212a\n", max_size=12)
    | st.text(max_size=12)
    | st.from_regex(r"[0-9]{1,3} ?[a-zA-Z]{1,5}", fullmatch=True)
)
def test_what_the_schema_refuses_does_not_parse(text: str) -> None:
    assert parses(text) is accepted_by_schema(text)


@given(
    st.dictionaries(
        st.sampled_from(sorted(UNIT_SECONDS)), st.integers(0, LARGEST_AMOUNT), min_size=1
    )
)
def test_objects_within_bounds_parse(value: dict[str, int]) -> None:
    assert timedelta() <= parse_duration(value) <= LONGEST


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", timedelta(hours=24)),
        ("1m30s", timedelta(seconds=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("1s1h", timedelta(seconds=3601)),
        ("0s", timedelta()),
    ],
)
def test_gateway_form(text: str, expected: timedelta) -> None:
    assert parse_go_duration(text) == expected


@pytest.mark.parametrize(
    "value", ["", "1", "1d", "-1s", "1.5h", "1h ", "100000s", "1h1h1h1h1h", "1s\n", 5, None, {}]
)
def test_no_gateway_form(value: Any) -> None:
    with pytest.raises(ValueError, match="such as 24h"):
        parse_go_duration(value)


@given(st.from_regex(GO_DURATION_PATTERN, fullmatch=True))
def test_what_the_schema_accepts_parses_in_gateway_form(text: str) -> None:
    if not text.endswith("\n"):  # Python's $ also matches before it
        assert parse_go_duration(text) >= timedelta()


@given(st.timedeltas(timedelta(), timedelta(hours=99_999)))
def test_gateway_form_round_trip(value: timedelta) -> None:
    milliseconds = timedelta(milliseconds=round(value.total_seconds() * 1000))
    assert parse_go_duration(format_go_duration(milliseconds)) == milliseconds
