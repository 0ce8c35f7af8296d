"""Every transition of a row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import Delivery, DeliveryState
from notifications_operator.api.processor import OnAmbiguous, RetryPolicy
from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.ledger.outcomes import Held, NotTried, charged
from notifications_operator.delivery.ledger.rows import (
    MESSAGE_LIMIT,
    Policy,
    Row,
    blame,
    claim,
    doubt,
    end,
    lost,
    open_row,
    record,
    remove,
    reopen,
    unclaim,
)
from notifications_operator.processors.errors import DeliveryError, Outcome, Receipt, Scope, Skip
from notifications_operator.telemetry.redaction import remember_secrets
from tests.unit.delivery.builders import ADA, NOW, error, row, seconds

RETRY = RetryPolicy(
    min_delay=seconds(30), max_delay=seconds(900), max_attempts=3, max_age=timedelta(hours=1)
)
POLICY = Policy(retry=RETRY, on_ambiguous=OnAmbiguous.RESEND)
HOLD = Policy(retry=RETRY, on_ambiguous=OnAmbiguous.HOLD)
SURE = Policy(retry=RETRY, on_ambiguous=OnAmbiguous.HOLD, idempotent=True)
SECRET = "correct horse battery"

AMBIGUOUS = error(Reason.AMBIGUOUS, "answer lost", scope=Scope.MESSAGE)
LATER = NOW + seconds(10)


@pytest.fixture
def secret() -> Iterator[str]:
    remember_secrets("test_rows", [SECRET])
    yield SECRET
    remember_secrets("test_rows", [])


def claimed(attempts: int = 1, **fields: Any) -> Row:
    return row(DeliveryState.CLAIMED, attempts=attempts, holder="0/pod", **fields)


def recorded(before: Row, outcome: Outcome, policy: Policy = POLICY) -> Row:
    return record(before, outcome, policy=policy, now=LATER, jitter=0.0)


def test_open_row() -> None:
    opened = open_row("email", ADA, skip=None, revision=2, now=NOW)
    assert opened == Row(
        processor="email",
        recipient=ADA,
        state=DeliveryState.PENDING,
        revision=2,
        opened_time=NOW,
    )


def test_open_row_that_is_skipped() -> None:
    skip = Skip(reason=Reason.NO_ADDRESS, message="has no address")
    opened = open_row("email", ADA, skip=skip, revision=1, now=NOW)
    assert opened.state is DeliveryState.SKIPPED
    assert (opened.reason, opened.message) == (Reason.NO_ADDRESS, "has no address")
    assert opened.attempts == 0


def test_claim_raises_attempts_and_names_its_holder() -> None:
    before = row(
        DeliveryState.RETRYING,
        attempts=2,
        reason=Reason.GREYLISTED,
        message="come back",
        code=451,
        enhanced_code="4.7.1",
        next_attempt_time=NOW,
        revision=3,
    )
    assert claim(before, holder="0/pod", now=LATER) == Row(
        processor="email",
        recipient=ADA,
        state=DeliveryState.CLAIMED,
        attempts=3,
        holder="0/pod",
        revision=3,
        opened_time=NOW,
        last_attempt_time=LATER,
    )


def test_receipt_is_sent() -> None:
    receipt = Receipt(message="queued as 1A", code=250, enhanced_code="2.0.0")
    after = recorded(claimed(), receipt)
    assert after.state is DeliveryState.SENT
    assert (after.code, after.enhanced_code, after.message) == (250, "2.0.0", "queued as 1A")
    assert after.reason is None
    assert after.attempts == 1


def test_receipt_without_words_leaves_no_message() -> None:
    assert recorded(claimed(), Receipt()).message is None


def test_skip_while_sending_is_skipped() -> None:
    after = recorded(claimed(), Skip(reason=Reason.INVALID_ADDRESS, message="two @"))
    assert (after.state, after.reason) == (DeliveryState.SKIPPED, Reason.INVALID_ADDRESS)


@pytest.mark.parametrize("scope", [Scope.RECIPIENT, Scope.MESSAGE])
def test_permanent_error_fails(scope: Scope) -> None:
    failure = error(
        Reason.RECIPIENT_REJECTED,
        "no such user",
        scope=scope,
        retryable=False,
        code=550,
        enhanced_code="5.1.1",
    )
    after = recorded(claimed(), failure)
    assert (after.state, after.reason) == (DeliveryState.FAILED, Reason.RECIPIENT_REJECTED)
    assert (after.code, after.enhanced_code) == (550, "5.1.1")
    assert after.next_attempt_time is None


@pytest.mark.parametrize("scope", [Scope.RECIPIENT, Scope.MESSAGE])
def test_retryable_error_is_tried_again(scope: Scope) -> None:
    after = recorded(claimed(), error(Reason.GREYLISTED, "come back", scope=scope))
    assert (after.state, after.reason) == (DeliveryState.RETRYING, Reason.GREYLISTED)
    assert after.next_attempt_time == LATER + seconds(30)
    assert after.attempts == 1


def test_next_attempt_is_never_earlier_than_asked_for_on_the_wire() -> None:
    moment = NOW + timedelta(milliseconds=700)
    failure = error(Reason.RATE_LIMITED, retry_after=60.2)
    after = record(claimed(), failure, policy=POLICY, now=moment, jitter=0.0)
    stored = Delivery.model_validate(after.to_delivery().to_wire()).next_attempt_time
    assert stored is not None
    assert stored >= moment + seconds(60.2)


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("policy", [POLICY, HOLD])
def test_error_of_the_whole_processor_costs_no_attempt(retryable: bool, policy: Policy) -> None:
    failure = error(Reason.AUTH_FAILED, "535", scope=Scope.PROCESSOR, retryable=retryable)
    after = recorded(claimed(attempts=3), failure, policy)
    assert (after.state, after.attempts) == (DeliveryState.PENDING, 2)
    assert (after.reason, after.message) == (Reason.AUTH_FAILED, "535")
    assert after.holder is None
    assert after.next_attempt_time is None


def test_held_delivery_is_tried_again_and_costs_no_attempt() -> None:
    refusal = error(Reason.RECIPIENT_REJECTED, "550 no", retryable=False, code=550)
    after = recorded(claimed(attempts=3), Held(refusal, 2.0))
    assert (after.state, after.attempts) == (DeliveryState.RETRYING, 2)
    assert (after.reason, after.code) == (Reason.RECIPIENT_REJECTED, 550)
    assert after.next_attempt_time == LATER + seconds(2)
    assert after.message is not None
    assert after.message.startswith("550 no; tried again until")


def test_held_delivery_ends_with_its_age_alone() -> None:
    refusal = Held(error(Reason.RECIPIENT_REJECTED, "550 no", retryable=False), 2.0)
    current = row()
    for _ in range(50):
        current = recorded(claim(current, holder="0/pod", now=NOW), refusal)
    assert (current.state, current.attempts) == (DeliveryState.RETRYING, 0)
    late = NOW + RETRY.max_age
    after = record(claimed(), refusal, policy=POLICY, now=late, jitter=0.0)
    assert (after.state, after.reason) == (DeliveryState.FAILED, Reason.RECIPIENT_REJECTED)
    assert after.message == "550 no", "it is not tried again"


def test_held_delivery_is_tried_until_its_age_ends_it_however_long_the_wait() -> None:
    refusal = Held(error(Reason.RECIPIENT_REJECTED, "550 no", retryable=False), 900.0)
    retry = RETRY.model_copy(update={"max_age": seconds(600)})
    policy = Policy(retry=retry, on_ambiguous=OnAmbiguous.RESEND)
    after = record(claimed(), refusal, policy=policy, now=NOW, jitter=0.0)
    assert (after.state, after.attempts) == (DeliveryState.RETRYING, 0)
    assert after.next_attempt_time == NOW + seconds(598)


def test_delivery_that_was_not_tried_fails_without_an_attempt() -> None:
    refusal = error(Reason.CONTENT_REJECTED, "554 spam", scope=Scope.MESSAGE, code=554)
    after = recorded(claimed(), NotTried(refusal))
    assert (after.state, after.attempts, after.code) == (DeliveryState.FAILED, 0, 554)
    assert after.reason == Reason.CONTENT_REJECTED


def test_processors_refusal_that_is_charged_costs_an_attempt() -> None:
    refusal = error(Reason.POLICY_DENIED, "553", scope=Scope.PROCESSOR, retry_after=1e9, code=553)
    after = recorded(claimed(), charged(refusal))
    assert (after.state, after.attempts, after.code) == (DeliveryState.RETRYING, 1, 553)
    assert recorded(claimed(attempts=3), charged(refusal)).state is DeliveryState.FAILED


def test_error_of_the_whole_processor_never_exhausts() -> None:
    before = row(attempts=0)
    for _ in range(50):
        before = recorded(claim(before, holder="0/pod", now=NOW), error(scope=Scope.PROCESSOR))
    assert (before.state, before.attempts) == (DeliveryState.PENDING, 0)


@pytest.mark.parametrize(
    ("policy", "attempts", "state"),
    [
        (POLICY, 1, DeliveryState.RETRYING),
        (POLICY, 3, DeliveryState.UNKNOWN),
        (HOLD, 1, DeliveryState.UNKNOWN),
        (HOLD, 3, DeliveryState.UNKNOWN),
    ],
)
def test_lost_answer_obeys_on_ambiguous(
    policy: Policy, attempts: int, state: DeliveryState
) -> None:
    after = recorded(claimed(attempts), AMBIGUOUS, policy)
    assert (after.state, after.reason) == (state, Reason.AMBIGUOUS)
    assert (after.next_attempt_time is not None) is (state is DeliveryState.RETRYING)


@pytest.mark.parametrize(
    ("policy", "attempts", "state"),
    [
        (POLICY, 1, DeliveryState.RETRYING),
        (POLICY, 3, DeliveryState.UNKNOWN),
        (HOLD, 1, DeliveryState.UNKNOWN),
    ],
)
def test_claim_of_another_process_is_doubted(
    policy: Policy, attempts: int, state: DeliveryState
) -> None:
    after = doubt(claimed(attempts), policy=policy, now=LATER, jitter=0.0)
    assert (after.state, after.reason, after.holder) == (state, Reason.AMBIGUOUS, None)
    assert after.attempts == attempts, "the doubted attempt counts"
    if state is DeliveryState.RETRYING:
        assert after.next_attempt_time == LATER + seconds(30), "after its backoff"


@pytest.mark.parametrize(
    ("attempts", "opened", "state"),
    [
        (1, NOW, DeliveryState.RETRYING),
        (2, NOW, DeliveryState.RETRYING),
        (3, NOW, DeliveryState.FAILED),
        (1, LATER + seconds(30) - timedelta(hours=1), DeliveryState.RETRYING),
        (1, LATER + seconds(29) - timedelta(hours=1), DeliveryState.FAILED),
    ],
)
def test_exhaustion_by_attempts_and_by_age(
    attempts: int, opened: object, state: DeliveryState
) -> None:
    after = recorded(claimed(attempts, opened=opened), error(Reason.MAILBOX_FULL))
    assert (after.state, after.reason) == (state, Reason.MAILBOX_FULL)


def test_asking_for_longer_than_the_age_fails_at_once() -> None:
    after = recorded(claimed(), error(Reason.RATE_LIMITED, retry_after=1e18))
    assert after.state is DeliveryState.FAILED


def test_reopened_row_is_as_new() -> None:
    before = row(
        DeliveryState.FAILED,
        attempts=3,
        reason=Reason.GREYLISTED,
        message="no",
        code=451,
        enhanced_code="4.7.1",
        last_attempt_time=NOW,
        revision=1,
    )
    after = reopen(before, revision=2, now=LATER)
    assert after == open_row("email", ADA, skip=None, revision=2, now=LATER)


def test_end_keeps_what_was_done() -> None:
    before = row(DeliveryState.RETRYING, attempts=2, next_attempt_time=LATER, last_attempt_time=NOW)
    after = end(before, DeliveryState.FAILED, Reason.EXPIRED, "too late")
    assert (after.state, after.reason, after.message) == (
        DeliveryState.FAILED,
        Reason.EXPIRED,
        "too late",
    )
    assert (after.attempts, after.last_attempt_time) == (2, NOW)
    assert after.next_attempt_time is None


def test_blame_changes_nothing_else() -> None:
    after = blame(row(), Reason.PROCESSOR_NOT_FOUND, "none there")
    assert after == row(reason=Reason.PROCESSOR_NOT_FOUND, message="none there")


HOSTILE = "x" * 100_000


def noted(text: str) -> list[Row]:
    return [
        recorded(claimed(), Receipt(message=text)),
        recorded(claimed(), Skip(reason=Reason.BLOCKED, message=text)),
        recorded(claimed(), error(message=text)),
        recorded(claimed(), error(message=text, retryable=False)),
        recorded(claimed(), error(message=text, scope=Scope.PROCESSOR)),
        recorded(claimed(), error(Reason.AMBIGUOUS, text)),
        end(row(), DeliveryState.FAILED, Reason.EXPIRED, text),
        blame(row(), Reason.PROCESSOR_NOT_FOUND, text),
        open_row("email", ADA, skip=Skip(reason=Reason.BLOCKED, message=text), revision=1, now=NOW),
    ]


def test_every_message_is_bounded() -> None:
    assert {len(item.message or "") for item in noted(HOSTILE)} == {MESSAGE_LIMIT}


def test_every_message_is_redacted(secret: str) -> None:
    for item in noted(f"535 bad password {secret}"):
        assert item.message == "535 bad password ***"


def test_secret_is_not_saved_by_being_cut(secret: str) -> None:
    for item in noted("x" * (MESSAGE_LIMIT - 8) + secret):
        assert secret[:8] not in (item.message or "")


OUTCOMES = st.one_of(
    st.builds(Receipt, message=st.text(max_size=5), code=st.none() | st.integers(200, 299)),
    st.builds(Skip, reason=st.sampled_from(Reason), message=st.text(max_size=5)),
    st.builds(
        error,
        st.sampled_from(Reason),
        st.text(max_size=5),
        scope=st.sampled_from(Scope),
        retryable=st.booleans(),
        retry_after=st.none() | st.floats(),
    ),
)
POLICIES = st.sampled_from([POLICY, HOLD, SURE])


@given(OUTCOMES, POLICIES, st.integers(1, 5), st.floats(0, 1))
def test_a_record_always_lets_go_of_the_claim(
    outcome: Outcome, policy: Policy, attempts: int, jitter: float
) -> None:
    before = claimed(attempts)
    after = record(before, outcome, policy=policy, now=LATER, jitter=jitter)
    assert after.state is not DeliveryState.CLAIMED
    assert after.holder is None
    assert after.key == before.key
    assert after.opened_time == before.opened_time
    assert (after.next_attempt_time is None) is (after.state is not DeliveryState.RETRYING)
    spared = isinstance(outcome, DeliveryError) and outcome.scope is Scope.PROCESSOR
    assert after.attempts == attempts - spared
    if not isinstance(outcome, Receipt):
        assert after.reason in set(Reason)
        assert after.state is not DeliveryState.SENT


@given(st.lists(OUTCOMES, min_size=20, max_size=20), POLICIES)
def test_a_row_ends_within_its_attempts(outcomes: list[Outcome], policy: Policy) -> None:
    """Unless the processor as a whole fails, when its breaker and maxAge bound the row."""
    current = row()
    attempts = 0
    for outcome in outcomes:
        current = record(
            claim(current, holder="0/pod", now=NOW), outcome, policy=policy, now=NOW, jitter=0.5
        )
        if not (isinstance(outcome, DeliveryError) and outcome.scope is Scope.PROCESSOR):
            attempts += 1
        if current.state.terminal:
            break
        assert attempts < RETRY.max_attempts


def test_claim_of_another_process_is_simply_repeated_where_nothing_can_be_doubled() -> None:
    after = doubt(claimed(3), policy=SURE, now=LATER, jitter=0.0)
    assert (after.state, after.reason, after.holder) == (DeliveryState.PENDING, None, None)
    assert after.attempts == 3


def test_lost_answer_is_simply_repeated_where_nothing_can_be_doubled() -> None:
    first = recorded(claimed(1), AMBIGUOUS, SURE)
    assert first.state is DeliveryState.RETRYING
    assert recorded(claimed(3), AMBIGUOUS, SURE).state is DeliveryState.FAILED


def test_lost_record_is_simply_repeated_where_nothing_can_be_doubled() -> None:
    opened = row()
    assert lost(opened, policy=SURE, now=LATER) == opened
    assert lost(opened, policy=HOLD, now=LATER).state is DeliveryState.UNKNOWN


@pytest.mark.parametrize("policy", [POLICY, HOLD, SURE])
def test_a_claim_whose_recipient_was_removed_is_not_tried_again(policy: Policy) -> None:
    marked = remove(claimed())
    ends = [
        recorded(marked, error(Reason.SERVER_BUSY, "later", scope=Scope.RECIPIENT), policy),
        recorded(marked, AMBIGUOUS, policy),
        doubt(marked, policy=policy, now=LATER, jitter=0.0),
        unclaim(marked),
    ]
    expected = (DeliveryState.SKIPPED, Reason.CANCELLED)
    assert {(after.state, after.reason) for after in ends} == {expected}
    assert all(after.holder is None and after.next_attempt_time is None for after in ends)
    sent = recorded(marked, Receipt(), policy)
    assert (sent.state, sent.reason) == (DeliveryState.SENT, Reason.CANCELLED)
