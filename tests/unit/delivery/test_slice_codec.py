"""What a slice says of its rows, and what comes back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.reasons import Reason
from notifications_operator.api.references import SLICES
from notifications_operator.api.slice import NotificationDeliverySlice
from notifications_operator.delivery.ledger.rows import Row, claim
from notifications_operator.delivery.storage.slices.codec import decode, encode
from tests.support.definitions import installed_definitions
from tests.unit.delivery.builders import NOW, row

S = DeliveryState
MOMENTS = st.integers(0, 3).map(lambda hours: NOW + timedelta(hours=hours))
MAYBE = st.none() | MOMENTS


@st.composite
def made_rows(draw: st.DrawFn) -> list[Row]:
    """Rows as the engine makes them: what a claim or an end erases is erased."""
    rows = []
    for number in range(draw(st.integers(0, 12))):
        state = draw(st.sampled_from(S))
        kept = state not in (S.SENT, S.SKIPPED)
        item = row(
            state,
            recipient=f"user:default/u{number}",
            opened=draw(MOMENTS),
            revision=draw(st.integers(1, 3)),
            attempts=draw(st.integers(0, 3)),
        )
        if state is S.CLAIMED:
            rows.append(claim(item, holder=f"0/pod/{draw(st.integers(1, 2))}", now=draw(MOMENTS)))
            continue
        fields: dict[str, Any] = {
            "reason": draw(st.none() | st.sampled_from(Reason)),
            "message": draw(st.none() | st.text(max_size=300)),
            "code": draw(st.none() | st.integers(200, 599)) if kept else None,
            "last_attempt_time": draw(MAYBE) if kept else None,
            "next_attempt_time": draw(MOMENTS) if state is S.RETRYING else None,
        }
        rows.append(
            row(
                state,
                recipient=item.recipient,
                opened=item.opened_time or NOW,
                revision=item.revision,
                attempts=item.attempts,
                **fields,
            )
        )
    return rows


def stored(rows: list[Row]) -> NotificationDeliverySlice:
    fields = encode(rows, "email") | {"index": 0, "observedGeneration": 1}
    body = {"metadata": {"name": "s", "namespace": "team"}, **fields}
    return NotificationDeliverySlice.model_validate(installed_definitions()[SLICES].admit(body))


@given(made_rows())
def test_what_matters_survives(rows: list[Row]) -> None:
    for before, after in zip(rows, decode(stored(rows)), strict=True):
        kept = after.key, after.state, after.attempts, after.revision, after.holder
        assert kept == (before.key, before.state, before.attempts, before.revision, before.holder)
        assert after.reason == before.reason
        assert after.next_attempt_time == before.next_attempt_time
        if before.state not in (S.SENT, S.SKIPPED):
            assert after.opened_time == before.opened_time
            assert after.last_attempt_time == before.last_attempt_time
            assert after.code == before.code
            assert (after.message or "") == (before.message or "")[:256]


@given(made_rows())
def test_storing_again_changes_nothing(rows: list[Row]) -> None:
    once = decode(stored(rows))
    assert decode(stored(once)) == once


@given(made_rows(), made_rows())
def test_what_was_known_before_makes_no_difference(before: list[Row], after: list[Row]) -> None:
    """What is kept in memory is what a restart would read."""
    known = decode(stored(before))
    assert decode(stored(after), known) == decode(stored(after))
    assert decode(stored(after), before) == decode(stored(after))


def test_rows_that_are_the_same_are_kept() -> None:
    rows = decode(stored([row(S.PENDING, recipient=f"user:default/u{n}") for n in range(5)]))
    wanted = [*rows[:3], claim(rows[3], holder="0/pod/1", now=NOW), rows[4]]
    again = decode(stored(wanted), rows)

    assert [now is before for now, before in zip(again, rows, strict=True)] == [
        *[True, True, True, False, True]
    ]


def test_plain_rows_need_one_letter_each() -> None:
    rows = [
        row(S.SENT, recipient=f"user:default/u{number}", attempts=1, code=250, message="queued")
        for number in range(256)
    ]
    fields = encode(rows, "email")
    assert fields["states"] == "S" * 256
    assert (fields["claims"], fields["details"], fields["summary"]) == ([], [], "256/256")
