"""What may happen to one row of the ledger; pure, each function returns the new row.

A row is claimed in the cluster before the first byte is sent and recorded after (DESIGN section
2.2). `attempts` is raised by the claim, so a crash in between has cost its attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..api.notification import Delivery, DeliveryState
from ..api.processor import OnAmbiguous, RetryPolicy
from ..api.reasons import Reason
from ..processors.errors import DeliveryError, Outcome, Receipt, Scope, Skip
from ..telemetry.redaction import redact
from .retry import exhausted, retry_delay

MESSAGE_LIMIT = 512
"""Longest message of a row, in characters."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a processor wants done with failures and doubts."""

    retry: RetryPolicy
    on_ambiguous: OnAmbiguous


def open_row(
    processor: str, recipient: str, *, skip: Skip | None, revision: int, now: datetime
) -> Delivery:
    """Make a row for a recipient, pending or skipped from the start."""
    row = Delivery(
        processor=processor,
        recipient=recipient,
        state=DeliveryState.PENDING,
        revision=revision,
        opened_time=now,
    )
    return end(row, DeliveryState.SKIPPED, skip.reason, skip.message) if skip else row


def claim(row: Delivery, *, holder: str, now: datetime) -> Delivery:
    """Claim a row for one attempt by this process."""
    return row.model_copy(
        update={
            "state": DeliveryState.CLAIMED,
            "attempts": row.attempts + 1,
            "holder": holder,
            "last_attempt_time": now,
            "next_attempt_time": None,
            "reason": None,
            "message": None,
            "code": None,
            "enhanced_code": None,
        }
    )


def unclaim(row: Delivery) -> Delivery:
    """Take back a claim under which nothing was begun; it costs no attempt."""
    return row.model_copy(
        update={"state": DeliveryState.PENDING, "attempts": row.attempts - 1, "holder": None}
    )


def record(
    row: Delivery, outcome: Outcome, *, policy: Policy, now: datetime, jitter: float
) -> Delivery:
    """Record what became of a claimed row's attempt."""
    match outcome:
        case Receipt():
            return _noted(row, DeliveryState.SENT, None, outcome)
        case Skip():
            return end(row, DeliveryState.SKIPPED, outcome.reason, outcome.message)
        case DeliveryError(scope=Scope.PROCESSOR):
            return _noted(row, DeliveryState.PENDING, outcome.reason, outcome).model_copy(
                update={"attempts": row.attempts - 1}
            )
        case DeliveryError(reason=Reason.AMBIGUOUS):
            return _record_doubt(row, outcome, policy=policy, now=now, jitter=jitter)
        case DeliveryError(retryable=True):
            return _retry(
                row, outcome, policy=policy, now=now, jitter=jitter, otherwise=DeliveryState.FAILED
            )
        case _:
            return _noted(row, DeliveryState.FAILED, outcome.reason, outcome)


def doubt(row: Delivery, *, policy: Policy, now: datetime, jitter: float) -> Delivery:
    """Settle another process's claim that has no record: it may or may not have sent."""
    error = DeliveryError(
        Reason.AMBIGUOUS,
        "an earlier process claimed this delivery and left no record; it may have been sent",
        scope=Scope.MESSAGE,
        retryable=True,
    )
    return _record_doubt(row, error, policy=policy, now=now, jitter=jitter)


def reopen(row: Delivery, *, revision: int, now: datetime) -> Delivery:
    """Make a row pending again, as new: for another revision or a redelivery."""
    return Delivery(
        processor=row.processor,
        recipient=row.recipient,
        state=DeliveryState.PENDING,
        revision=revision,
        opened_time=now,
    )


def end(row: Delivery, state: DeliveryState, reason: Reason, message: str) -> Delivery:
    """Put a row into a terminal state without an attempt."""
    return row.model_copy(
        update={
            "state": state,
            "reason": reason,
            "message": redact(message)[:MESSAGE_LIMIT],
            "holder": None,
            "next_attempt_time": None,
        }
    )


def blame(row: Delivery, reason: Reason, message: str) -> Delivery:
    """Say why a row is still pending."""
    return row.model_copy(update={"reason": reason, "message": redact(message)[:MESSAGE_LIMIT]})


def is_unknown(row: Delivery) -> bool:
    """Whether a row stands for a ref that the catalog did not know in time."""
    return row.reason == Reason.UNKNOWN_ENTITIES


def _record_doubt(
    row: Delivery, error: DeliveryError, *, policy: Policy, now: datetime, jitter: float
) -> Delivery:
    if policy.on_ambiguous is OnAmbiguous.HOLD:
        return _noted(row, DeliveryState.UNKNOWN, Reason.AMBIGUOUS, error)
    return _retry(
        row, error, policy=policy, now=now, jitter=jitter, otherwise=DeliveryState.UNKNOWN
    )


def _retry(
    row: Delivery,
    error: DeliveryError,
    *,
    policy: Policy,
    now: datetime,
    jitter: float,
    otherwise: DeliveryState,
) -> Delivery:
    """Schedule the next attempt, or end in ``otherwise`` when there is none."""
    delay = retry_delay(
        policy.retry, attempts=max(row.attempts, 1), retry_after=error.retry_after, jitter=jitter
    )
    next_time = _whole_seconds(now + delay)
    opened = row.opened_time or now
    if exhausted(policy.retry, attempts=row.attempts, opened=opened, next_time=next_time):
        return _noted(row, otherwise, error.reason, error)
    return _noted(row, DeliveryState.RETRYING, error.reason, error).model_copy(
        update={"next_attempt_time": next_time}
    )


def _whole_seconds(moment: datetime) -> datetime:
    """Round up to what a timestamp in the status can say, so that no delay gets shorter."""
    return (moment + timedelta(microseconds=999_999)).replace(microsecond=0)


def _noted(
    row: Delivery, state: DeliveryState, reason: Reason | None, outcome: Receipt | DeliveryError
) -> Delivery:
    return row.model_copy(
        update={
            "state": state,
            "reason": reason,
            "message": redact(outcome.message)[:MESSAGE_LIMIT] or None,
            "code": outcome.code,
            "enhanced_code": outcome.enhanced_code,
            "holder": None,
            "next_attempt_time": None,
        }
    )
