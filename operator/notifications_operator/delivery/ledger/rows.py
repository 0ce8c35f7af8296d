"""What may happen to one row of the ledger; pure, each function returns the new row.

A row is claimed in the cluster before the first byte is sent and recorded after (DESIGN section
2.2). `attempts` is raised by the claim, so a crash in between has cost its attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from ...api.notification import Delivery, DeliveryState
from ...api.processor import OnAmbiguous, RetryPolicy
from ...api.reasons import Reason
from ...processors.errors import DeliveryError, Outcome, Receipt, Scope, Skip
from ...telemetry.redaction import redact
from .outcomes import Held, NotTried
from .retry import exhausted, retry_delay

RowKey = tuple[str, str]
"""Processor and recipient."""

MESSAGE_LIMIT = 512
"""Longest message of a row, in characters."""


_BEFORE_THE_END = timedelta(seconds=2)
"""How long before its age ends it a held delivery is tried for the last time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One recipient of one processor: the fields of `Delivery` in a fraction of its memory."""

    processor: str
    recipient: str
    state: DeliveryState
    reason: str | None = None
    message: str | None = None
    code: int | None = None
    enhanced_code: str | None = None
    attempts: int = 0
    revision: int = 1
    holder: str | None = None
    opened_time: datetime | None = None
    last_attempt_time: datetime | None = None
    next_attempt_time: datetime | None = None

    @classmethod
    def of(cls, delivery: Delivery) -> Row:
        """Return the row that a status keeps."""
        return cls(**{name: getattr(delivery, name) for name in _FIELDS})

    def to_delivery(self) -> Delivery:
        """Return the row as a status keeps it."""
        return Delivery.model_construct(**{name: getattr(self, name) for name in _FIELDS})

    @property
    def key(self) -> RowKey:
        """What identifies the row within its Notification."""
        return (self.processor, self.recipient)


_FIELDS = tuple(item.name for item in fields(Row))


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a processor wants done with failures and doubts.

    ``idempotent`` says that it can have no doubts: sending again changes nothing.
    """

    retry: RetryPolicy
    on_ambiguous: OnAmbiguous
    idempotent: bool = False


def open_row(
    processor: str, recipient: str, *, skip: Skip | None, revision: int, now: datetime
) -> Row:
    """Make a row for a recipient, pending or skipped from the start."""
    row = Row(
        processor=processor,
        recipient=recipient,
        state=DeliveryState.PENDING,
        revision=revision,
        opened_time=now,
    )
    return end(row, DeliveryState.SKIPPED, skip.reason, skip.message) if skip else row


def claim(row: Row, *, holder: str, now: datetime) -> Row:
    """Claim a row for one attempt by this process."""
    return replace(
        row,
        state=DeliveryState.CLAIMED,
        attempts=row.attempts + 1,
        holder=holder,
        last_attempt_time=now,
        next_attempt_time=None,
        reason=None,
        message=None,
        code=None,
        enhanced_code=None,
    )


def unclaim(row: Row) -> Row:
    """Take back a claim under which nothing was begun; it costs no attempt."""
    back = replace(row, state=DeliveryState.PENDING, attempts=row.attempts - 1, holder=None)
    return _let_go(row, back)


def record(row: Row, outcome: Outcome, *, policy: Policy, now: datetime, jitter: float) -> Row:
    """Record what became of a claimed row's attempt."""
    return _let_go(row, _record(row, outcome, policy=policy, now=now, jitter=jitter))


def _record(row: Row, outcome: Outcome, *, policy: Policy, now: datetime, jitter: float) -> Row:
    match outcome:
        case Receipt():
            return _noted(row, DeliveryState.SENT, None, outcome)
        case Skip():
            return end(row, DeliveryState.SKIPPED, outcome.reason, outcome.message)
        case NotTried():
            ended = _noted(row, DeliveryState.FAILED, outcome.reason, outcome)
            return replace(ended, attempts=row.attempts - 1)
        case Held():
            return _hold(row, outcome, policy=policy, now=now)
        case DeliveryError(scope=Scope.PROCESSOR):
            return replace(
                _noted(row, DeliveryState.PENDING, outcome.reason, outcome),
                attempts=row.attempts - 1,
            )
        case DeliveryError(reason=Reason.AMBIGUOUS):
            return _record_doubt(row, outcome, policy=policy, now=now, jitter=jitter)
        case DeliveryError(retryable=True):
            return _retry(
                row, outcome, policy=policy, now=now, jitter=jitter, otherwise=DeliveryState.FAILED
            )
        case _:
            return _noted(row, DeliveryState.FAILED, outcome.reason, outcome)


def doubt(row: Row, *, policy: Policy, now: datetime, jitter: float) -> Row:
    """Settle another process's claim that has no record: it may or may not have sent."""
    if policy.idempotent:
        return _let_go(row, replace(row, state=DeliveryState.PENDING, holder=None))
    error = DeliveryError(
        Reason.AMBIGUOUS,
        "an earlier process claimed this delivery and left no record; it may have been sent",
        scope=Scope.MESSAGE,
        retryable=True,
    )
    return _let_go(row, _record_doubt(row, error, policy=policy, now=now, jitter=jitter))


def lost(row: Row, *, policy: Policy, now: datetime) -> Row:
    """Doubt a row whose record was deleted: it may or may not have been sent."""
    if policy.idempotent:
        return row
    error = DeliveryError(
        Reason.AMBIGUOUS,
        "the slice that recorded this delivery was deleted; it may have been sent",
        scope=Scope.MESSAGE,
        retryable=True,
    )
    return _record_doubt(row, error, policy=policy, now=now, jitter=1.0)


def reopen(row: Row, *, revision: int, now: datetime) -> Row:
    """Make a row pending again, as new: for another revision or a redelivery."""
    return Row(
        processor=row.processor,
        recipient=row.recipient,
        state=DeliveryState.PENDING,
        revision=revision,
        opened_time=now,
    )


def end(row: Row, state: DeliveryState, reason: Reason, message: str) -> Row:
    """Put a row into a terminal state without an attempt."""
    return replace(
        row,
        state=state,
        reason=reason,
        message=redact(message)[:MESSAGE_LIMIT],
        holder=None,
        next_attempt_time=None,
    )


def blame(row: Row, reason: Reason, message: str) -> Row:
    """Say why a row is still pending."""
    return replace(row, reason=reason, message=redact(message)[:MESSAGE_LIMIT])


def remove(row: Row) -> Row:
    """Take a row out whose recipient was removed.

    One that is claimed is only marked, by its reason: its attempt is finished, and is the last.
    """
    match row.state:
        case DeliveryState.SENT:
            return blame(row, Reason.CANCELLED, "removed from the recipients after it was sent")
        case DeliveryState.CLAIMED:
            return blame(row, Reason.CANCELLED, "removed from the recipients while it was sent")
        case DeliveryState.SKIPPED:
            return row
        case DeliveryState.FAILED | DeliveryState.UNKNOWN | DeliveryState.RETRYING:
            message = f"removed from the recipients; it was {row.state}: {row.reason}"
            return end(row, DeliveryState.SKIPPED, Reason.CANCELLED, message)
        case _:
            message = "removed from the recipients before it was sent"
            return end(row, DeliveryState.SKIPPED, Reason.CANCELLED, message)


def _let_go(claimed: Row, row: Row) -> Row:
    """Return what a claimed row became, taken out if its recipient was removed meanwhile."""
    return remove(row) if claimed.reason == Reason.CANCELLED else row


def is_user(recipient: str) -> bool:
    """Whether the recipient of a row is a user, and not what else a processor sends to."""
    return recipient.startswith("user:")


def await_user(row: Row, *, until: datetime) -> Row:
    """Let a row wait for its user, whom the catalog does not know, at no attempt's cost.

    `stop_awaiting` ends the wait when the catalog has the user, and `end` when the time is over.
    """
    until = _whole_seconds(until)
    message = f"the catalog does not know {row.recipient}; waiting until {until:%Y-%m-%dT%H:%M:%SZ}"
    return replace(
        blame(row, Reason.UNKNOWN_ENTITIES, message),
        state=DeliveryState.PENDING,
        code=None,
        enhanced_code=None,
        next_attempt_time=until,
    )


def awaits_user(row: Row) -> bool:
    """Whether a row waits for a user whom the catalog does not know."""
    return row.state is DeliveryState.PENDING and row.next_attempt_time is not None


def stop_awaiting(row: Row) -> Row:
    """Make a row that waited for its user ready to be sent."""
    return replace(row, reason=None, message=None, next_attempt_time=None)


def is_unknown(row: Row) -> bool:
    """Whether a row failed because the catalog did not know its recipient in time."""
    return row.state is DeliveryState.FAILED and row.reason == Reason.UNKNOWN_ENTITIES


def _record_doubt(
    row: Row, error: DeliveryError, *, policy: Policy, now: datetime, jitter: float
) -> Row:
    if policy.idempotent:
        return _retry(
            row, error, policy=policy, now=now, jitter=jitter, otherwise=DeliveryState.FAILED
        )
    if policy.on_ambiguous is OnAmbiguous.HOLD:
        return _noted(row, DeliveryState.UNKNOWN, Reason.AMBIGUOUS, error)
    return _retry(
        row, error, policy=policy, now=now, jitter=jitter, otherwise=DeliveryState.UNKNOWN
    )


def _retry(
    row: Row,
    error: DeliveryError,
    *,
    policy: Policy,
    now: datetime,
    jitter: float,
    otherwise: DeliveryState,
) -> Row:
    """Schedule the next attempt, or end in ``otherwise`` when there is none."""
    delay = retry_delay(
        policy.retry, attempts=max(row.attempts, 1), retry_after=error.retry_after, jitter=jitter
    )
    next_time = _whole_seconds(now + delay)
    opened = row.opened_time or now
    if exhausted(policy.retry, attempts=row.attempts, opened=opened, next_time=next_time):
        return _noted(row, otherwise, error.reason, error)
    return replace(
        _noted(row, DeliveryState.RETRYING, error.reason, error), next_attempt_time=next_time
    )


def _hold(row: Row, error: Held, *, policy: Policy, now: datetime) -> Row:
    """Schedule the next attempt of a delivery whose refusal may be the processor's fault.

    Only its age ends it, as nobody knows yet whether the attempt was its own: however long the
    wait, the last attempt comes before that.
    """
    last = (row.opened_time or now) + policy.retry.max_age - _BEFORE_THE_END
    next_time = min(_whole_seconds(now + timedelta(seconds=error.retry_after or 0.0)), last)
    if next_time <= now:
        return _noted(row, DeliveryState.FAILED, error.reason, error.refusal)
    held = _noted(row, DeliveryState.RETRYING, error.reason, error)
    return replace(held, attempts=row.attempts - 1, next_attempt_time=next_time)


def _whole_seconds(moment: datetime) -> datetime:
    """Round up to what a timestamp in the status can say, so that no delay gets shorter."""
    return (moment + timedelta(microseconds=999_999)).replace(microsecond=0)


def _noted(
    row: Row, state: DeliveryState, reason: Reason | None, outcome: Receipt | DeliveryError
) -> Row:
    return replace(
        row,
        state=state,
        reason=reason,
        message=redact(outcome.message)[:MESSAGE_LIMIT] or None,
        code=outcome.code,
        enhanced_code=outcome.enhanced_code,
        holder=None,
        next_attempt_time=None,
    )
