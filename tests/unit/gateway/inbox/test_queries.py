"""Dates and orders in queries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications_operator.gateway.inbox.types import format_moment
from notifications_operator.gateway.rest.queries import parse_date, parse_order


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-31T12:00:00.120Z", datetime(2030, 1, 31, 12, microsecond=120_000)),
        ("2030-01-31T12:00:00+02:00", datetime(2030, 1, 31, 10)),
        ("2030-01-31T12:00", datetime(2030, 1, 31, 12)),
        ("2030-01-31", datetime(2030, 1, 31)),
        ("2030-02", datetime(2030, 2, 1)),
        ("2030", datetime(2030, 1, 1)),
        (" 2030 ", datetime(2030, 1, 1)),
        ("Thu, 31 Jan 2030 12:00:00 GMT", datetime(2030, 1, 31, 12)),
        ("Thu, 31 Jan 2030 12:00:00 +0200", datetime(2030, 1, 31, 10)),
    ],
)
def test_dates(text: str, expected: datetime) -> None:
    assert parse_date(text) == expected.replace(tzinfo=UTC)


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=ZONES))
def test_what_is_answered_can_be_asked_for(moment: datetime) -> None:
    shown = format_moment(moment)
    assert shown is not None
    assert parse_date(shown) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@example("1 Jan 2020 00:00:00 +9999999999999999999")
@example("1 Jan 99999999999999999999 00:00:00")
@given(st.text())
def test_every_text_is_a_date_or_refused(text: str) -> None:
    try:
        assert parse_date(text).tzinfo is UTC
    except ValueError as error:
        assert str(error) == "Unexpected date format"


@given(st.text())
def test_every_text_is_an_order_or_refused(text: str) -> None:
    try:
        parse_order(text)
    except ValueError as error:
        assert "valid: " in str(error)
