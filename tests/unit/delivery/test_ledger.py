"""The ledger as the status keeps it, in full and at the size limit."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import DeliveryState, NotificationStatus
from notifications_operator.api.processor import OnAmbiguous, RetryPolicy
from notifications_operator.api.reasons import Reason
from notifications_operator.api.references import NOTIFICATIONS
from notifications_operator.delivery.ledger.ledger import (
    ANY_RECIPIENT,
    UNRESOLVED_LIMIT,
    Ledger,
    Selection,
    taking_part,
)
from notifications_operator.delivery.ledger.rows import Policy, Row, claim, record
from notifications_operator.delivery.ledger.summary import Obstacle
from notifications_operator.delivery.storage.minimal_status import minimal_status
from notifications_operator.processors.errors import Outcome, Receipt, Scope, Skip
from tests.support.definitions import installed_definitions
from tests.unit.delivery.builders import ADA, BOB, NOW, error, row, seconds

S = DeliveryState
LATER = NOW + seconds(60)


def ledger(*rows: Row, **fields: object) -> Ledger:
    processors = {item.processor: Selection(name=item.processor) for item in rows}
    made = Ledger(revision=1, users=len(rows), processors=processors, start_time=NOW)
    made.put_all(rows)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def dump(item: Ledger, *, suspended: bool = False, now: object = LATER) -> NotificationStatus:
    return item.dump(generation=4, suspended=suspended, note=None, now=LATER)


FULL = ledger(
    row(S.SENT, attempts=1, message="queued", code=250, enhanced_code="2.0.0"),
    row(S.RETRYING, recipient=BOB, attempts=2, reason=Reason.GREYLISTED, next_attempt_time=LATER),
    row(S.FAILED, processor="slack", reason=Reason.TOO_LARGE, message="1 MB"),
    revision=3,
    redelivery=2,
    payload_digest="v1:a",
    recipients_digest="v1:b",
    last_redeliver="all:2",
    origin="namespace:team",
    unresolved=["user:default/zoe"],
    unresolved_count=1,
)


def test_everything_survives_the_wire() -> None:
    status = NotificationStatus.model_validate(dump(FULL).to_wire())
    again = Ledger.load(status)
    assert again.rows == FULL.rows
    assert again.processors == FULL.processors
    for name in (
        "revision",
        "redelivery",
        "payload_digest",
        "recipients_digest",
        "last_redeliver",
        "origin",
        "start_time",
        "users",
        "unresolved",
        "unresolved_count",
    ):
        assert getattr(again, name) == getattr(FULL, name), name


def test_dumping_what_was_loaded_changes_nothing() -> None:
    status = NotificationStatus.model_validate(dump(FULL).to_wire())
    again = Ledger.load(status)
    assert dump(again).to_wire() == status.to_wire()


@pytest.mark.parametrize("minimal", [False, True])
def test_definition_keeps_all_that_is_written(minimal: bool) -> None:
    status = dump(FULL)
    wire = (minimal_status(status) if minimal else status).to_wire()
    body = {
        "spec": {
            "recipients": {"type": "broadcast"},
            "payload": {"title": "t"},
        },
        "status": wire,
    }
    stored = installed_definitions()[NOTIFICATIONS].admit(body)
    assert stored["status"] == wire


def test_not_planned_yet() -> None:
    empty = Ledger.load(NotificationStatus())
    assert not empty.planned
    status = dump(empty)
    assert (status.state, status.revision, status.start_time) == ("Pending", 0, LATER)


def test_completion_is_timed_once() -> None:
    done = ledger(row(S.SENT))
    assert dump(done).completion_time == LATER
    done.completion_time = NOW
    assert dump(done).completion_time == NOW
    done.put(row(S.PENDING))
    assert dump(done).completion_time is None


def test_unresolved_are_named_up_to_a_bound_and_counted() -> None:
    refs = [f"user:default/u{number}" for number in range(250)]
    item = ledger(row(), unresolved=refs, unresolved_count=250)
    recipients = dump(item).recipients
    assert recipients is not None
    assert recipients.unresolved is not None
    assert recipients.unresolved.count == 250
    assert recipients.unresolved.refs == refs[:UNRESOLVED_LIMIT]
    (resolved, *_) = dump(item).conditions
    assert "and 240 more" in resolved.message


@pytest.mark.parametrize("reason", ["CatalogEmpty", "UnknownEntities", "PolicyDenied", "TooLarge"])
def test_obstacle_about_recipients_is_said_of_them(reason: str) -> None:
    item = Ledger(waiting=Obstacle(reason=reason, message="why"))
    (resolved, *_) = dump(item).conditions
    assert (resolved.status, resolved.reason, resolved.message) == ("False", reason, "why")


def test_other_obstacle_is_not() -> None:
    item = Ledger(verdict=Obstacle(reason="Expired", message="why"))
    (resolved, *_) = dump(item).conditions
    assert resolved.status == "Unknown"


@pytest.mark.parametrize(
    ("item", "ready"),
    [
        (row(S.PENDING), True),
        (row(S.PENDING, recipient=ANY_RECIPIENT), False),
        (row(S.RETRYING, next_attempt_time=NOW), True),
        (row(S.RETRYING, next_attempt_time=NOW + seconds(1)), False),
        (row(S.RETRYING), True),
        *[(row(state), False) for state in (S.CLAIMED, S.SENT, S.FAILED, S.SKIPPED, S.UNKNOWN)],
    ],
)
def test_ready_rows(item: Row, ready: bool) -> None:
    assert ledger(item).ready_rows("email", NOW) == ([item] if ready else [])


def test_rows_keep_their_place() -> None:
    item = ledger(row(recipient=ADA), row(recipient=BOB))
    item.put(row(S.SENT, recipient=ADA))
    assert [entry.recipient for entry in item.rows_of("email")] == [ADA, BOB]
    assert item.in_state(S.SENT) == [row(S.SENT, recipient=ADA)]


def test_taking_part() -> None:
    item = ledger(row())
    item.processors["slack"] = Selection(name="slack", reason="Filtered")
    item.processors["inbox"] = Selection(name="inbox", reason="Cancelled")
    assert taking_part(item) == ["email"]


OUTCOMES = st.sampled_from(
    [
        Receipt(message="x" * 80, code=250, enhanced_code="2.0.0"),
        Skip(reason=Reason.NO_ADDRESS, message="x" * 80),
        error(Reason.RECIPIENT_REJECTED, "x" * 80, retryable=False, code=550),
        error(Reason.GREYLISTED, "x" * 80, code=451, enhanced_code="4.7.1"),
        error(Reason.AUTH_FAILED, "x" * 80, scope=Scope.PROCESSOR),
        error(Reason.AMBIGUOUS, "x" * 80),
    ]
)
POLICY = Policy(retry=RetryPolicy(), on_ambiguous=OnAmbiguous.RESEND)


@given(st.lists(OUTCOMES, min_size=1, max_size=40))
def test_minimal_record_is_no_bigger_than_the_claim_it_follows(outcomes: list[Outcome]) -> None:
    """So whatever could be claimed can be recorded, also at the limit of the object's size."""
    item = ledger(
        *[
            claim(row(recipient=f"user:default/u{number}"), holder="0/pod-1_abcd1234/1.1", now=NOW)
            for number in range(len(outcomes))
        ]
    )
    claimed = _size(minimal_status(dump(item)))
    for entry, outcome in zip(list(item.rows.values()), outcomes, strict=True):
        item.put(record(entry, outcome, policy=POLICY, now=LATER, jitter=0.0))
    recorded = minimal_status(dump(item))
    assert _size(recorded) <= claimed + _MARKS
    for kept in recorded.deliveries:
        stored = item.rows[kept.key]
        assert (kept.state, kept.reason, kept.attempts, kept.revision) == (
            stored.state,
            stored.reason,
            stored.attempts,
            stored.revision,
        )
        assert kept.next_attempt_time == stored.next_attempt_time


_MARKS = 250
"""Bytes that the end of a Notification adds once: completion time, reason, longer states."""


def _size(status: NotificationStatus) -> int:
    return len(json.dumps(status.to_wire()).encode())
