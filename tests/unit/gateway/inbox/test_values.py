"""Ids, sequences, moments and texts of the inbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.gateway.inbox.ids import clean_text, row_id
from notifications_operator.gateway.inbox.retention import until_midnight
from notifications_operator.gateway.inbox.types import (
    InboxNotification,
    Payload,
    format_moment,
    pack_sequence,
)

BEGIN = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
MOMENTS = st.datetimes(
    min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)
)
WORDS = st.text(max_size=5)


def test_json_is_upstreams() -> None:
    id_ = uuid4()
    item = InboxNotification(
        id=id_,
        user=None,
        created=BEGIN.replace(microsecond=120_999),
        updated=None,
        read=BEGIN.astimezone(timezone(timedelta(hours=5))),
        saved=None,
        origin="plugin:builds",
        payload=Payload(title="Build failed", metadata={"a": [1]}),
    )
    assert item.to_json() == {
        "id": str(id_),
        "user": None,
        "created": "2030-01-31T12:00:00.120Z",
        "updated": None,
        "read": "2030-01-31T12:00:00.000Z",
        "saved": None,
        "origin": "plugin:builds",
        "payload": {
            "title": "Build failed",
            "description": None,
            "link": None,
            "severity": "normal",
            "topic": None,
            "scope": None,
            "icon": None,
            "metadata": {"a": [1]},
        },
    }


def test_no_moment_is_null() -> None:
    assert format_moment(None) is None


def test_ids_never_change() -> None:
    """Rows that are stored would be lost to their notifications."""
    scoped = row_id(origin="plugin:a", scope="s", uid="any", user="user:default/ada")
    assert scoped == UUID("d38dea1f-a075-5ff2-a521-887e757e3d1e")
    assert row_id(origin="plugin:a", scope="s", uid="other", user="user:default/ada") == scoped
    plain = row_id(origin="any", scope=None, uid="u", user="user:default/ada")
    assert plain == UUID("1876ddd3-397a-593c-8de2-bb15eebd46ba")
    assert row_id(origin="other", scope="", uid="u", user="user:default/ada") == plain
    assert row_id(origin="any", scope=None, uid="u", user="") != plain


@given(st.tuples(WORDS, WORDS, WORDS), st.tuples(WORDS, WORDS, WORDS))
def test_ids_differ(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    ids = [
        row_id(origin=clean_text(origin), scope=f"s{scope}", uid="u", user=user)
        for origin, scope, user in (one, other)
    ]
    separator = any("\x1f" in part for part in (*one, *other))
    assert (ids[0] == ids[1]) == (one == other) or separator


@given(MOMENTS, MOMENTS, st.integers(1, 2046), st.integers(1, 2046))
def test_sequence_orders_by_creation_then_change(
    one: datetime, other: datetime, change: int, another: int
) -> None:
    left, right = pack_sequence(one, change), pack_sequence(other, another)
    assert (left < right) == ((one, change) < (other, another))
    assert -(2**63) <= left < 2**63


def test_very_many_changes_stay_within_their_notification() -> None:
    later = BEGIN + timedelta(microseconds=1)
    assert pack_sequence(BEGIN, 10**9) < pack_sequence(later, 0)
    assert pack_sequence(BEGIN, 2047) == pack_sequence(BEGIN, 5000)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_clean_text_can_be_stored_and_keeps_the_rest(text: str) -> None:
    cleaned = clean_text(text)
    assert "\0" not in cleaned
    cleaned.encode()
    if "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text):
        assert cleaned == text


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (BEGIN, timedelta(hours=12)),
        (BEGIN.replace(hour=0), timedelta(days=1)),
        (BEGIN.replace(hour=23, minute=59, second=59), timedelta(seconds=1)),
        (BEGIN.astimezone(timezone(timedelta(hours=-8))), timedelta(hours=12)),
    ],
)
def test_until_midnight(moment: datetime, expected: timedelta) -> None:
    assert until_midnight(moment) == expected
