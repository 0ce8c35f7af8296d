"""Derives a Notification's counters, state and conditions from its rows; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..api.conditions import (
    Condition,
    ConditionType,
    condition,
    find_condition,
    merge_conditions,
)
from ..api.notification import Delivery, DeliveryState, NotificationState, ProcessorSummary
from ..api.reasons import Reason

IN_PROGRESS = "Progressing"
"""Reason of conditions while deliveries are under way."""

Maker = Callable[[ConditionType, bool | None, str, str], Condition]

_STATE_COUNTER = {
    DeliveryState.PENDING: "pending",
    DeliveryState.CLAIMED: "pending",
    DeliveryState.SENT: "sent",
    DeliveryState.RETRYING: "retrying",
    DeliveryState.FAILED: "failed",
    DeliveryState.SKIPPED: "skipped",
    DeliveryState.UNKNOWN: "unknown",
}


_AT_REST = (DeliveryState.SENT, DeliveryState.SKIPPED)


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Why a Notification waits, or why it ended without deliveries."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """All that state and conditions are derived from.

    ``planned`` says that recipients and processors are settled; ``waiting`` that something may
    still add rows; ``verdict`` that the Notification ended as a whole. ``remarks`` is what is odd
    about the recipients, or ``None`` if they were not resolved anew.
    """

    rows: Sequence[Delivery]
    planned: bool
    users: int = 0
    suspended: bool = False
    waiting: Obstacle | None = None
    verdict: Obstacle | None = None
    recipients: Obstacle | None = None
    remarks: Sequence[str] | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """State, one-line summary and reason, and the conditions' reason and message."""

    state: NotificationState
    complete: bool
    summary: str
    reason: str | None
    message: str
    counts: Counter[str] = field(default_factory=Counter)


def count(rows: Iterable[Delivery]) -> Counter[str]:
    """Count rows by the name of their counter in ``status.processors``."""
    return Counter(_STATE_COUNTER[row.state] for row in rows)


def summarize_processor(
    name: str, rows: Sequence[Delivery], *, reason: str | None, message: str | None
) -> ProcessorSummary:
    """Count one processor's rows."""
    upcoming = [row.next_attempt_time for row in rows if row.next_attempt_time is not None]
    counts = count(rows)
    return ProcessorSummary(
        name=name,
        reason=reason,
        message=message,
        total=len(rows),
        sent=counts["sent"],
        failed=counts["failed"],
        skipped=counts["skipped"],
        retrying=counts["retrying"],
        pending=counts["pending"],
        unknown=counts["unknown"],
        next_attempt_time=min(upcoming, default=None),
    )


def judge(progress: Progress) -> Verdict:
    """Derive the state of a Notification."""
    counts = count(progress.rows)
    open_rows = counts["pending"] + counts["retrying"]
    settled = progress.planned and not open_rows and progress.waiting is None
    under_way = any(row.state is DeliveryState.CLAIMED for row in progress.rows)
    complete = settled or (progress.verdict is not None and not under_way)
    state = _final_state(progress, counts) if complete else _current_state(progress)
    total = len(progress.rows) - counts["skipped"]
    obstacle = progress.verdict or progress.waiting
    reason = obstacle.reason if obstacle else _leading_reason(progress.rows)
    message = obstacle.message if obstacle else _describe(counts, progress.rows)
    if state is NotificationState.NO_RECIPIENTS:
        message = "the recipients resolved to no user"
    if progress.note:
        message = f"{message}; {progress.note}"
    return Verdict(
        state=state,
        complete=complete,
        summary=f"{counts['sent']}/{total}",
        reason=reason,
        message=message,
        counts=counts,
    )


def conditions(
    progress: Progress,
    verdict: Verdict,
    *,
    old: Sequence[Condition],
    generation: int,
    now: datetime,
) -> list[Condition]:
    """Derive the conditions (DESIGN section 3; kstatus reads the last three)."""
    state, message = verdict.state, verdict.message
    failed = verdict.complete and state is NotificationState.FAILED
    ready = verdict.complete and not failed
    delivered = None if not verdict.complete else _all_delivered(verdict)
    progressing = not verdict.complete and state is not NotificationState.SUSPENDED
    reason = str(state) if verdict.complete or not progressing else IN_PROGRESS
    why = verdict.reason or reason

    def make(kind: ConditionType, status: bool | None, reason: str, message: str) -> Condition:
        return condition(kind, status, reason, message, generation=generation, now=now)

    new = [
        _resolved(progress, make, find_condition(old, ConditionType.RECIPIENTS_RESOLVED)),
        make(ConditionType.COMPLETE, verdict.complete, reason, message),
        make(ConditionType.DELIVERED, delivered, reason, message),
        make(ConditionType.READY, ready, reason, message),
        make(ConditionType.RECONCILING, progressing, why if progressing else reason, message),
        make(ConditionType.STALLED, failed, why if failed else reason, message if failed else ""),
    ]
    return merge_conditions(old, new)


def _all_delivered(verdict: Verdict) -> bool:
    return verdict.state in (NotificationState.DELIVERED, NotificationState.NO_RECIPIENTS)


def _final_state(progress: Progress, counts: Counter[str]) -> NotificationState:
    if progress.verdict is not None:
        expired = progress.verdict.reason == Reason.EXPIRED
        return NotificationState.EXPIRED if expired else NotificationState.FAILED
    bad = [
        row for row in progress.rows if row.state in (DeliveryState.FAILED, DeliveryState.UNKNOWN)
    ]
    if bad:
        if counts["sent"]:
            return NotificationState.PARTIALLY_DELIVERED
        expired = all(row.reason == Reason.EXPIRED for row in bad)
        return NotificationState.EXPIRED if expired else NotificationState.FAILED
    if not progress.rows and not progress.users:
        return NotificationState.NO_RECIPIENTS
    return NotificationState.DELIVERED


def _current_state(progress: Progress) -> NotificationState:
    if progress.suspended:
        return NotificationState.SUSPENDED
    started = any(
        row.state not in (DeliveryState.PENDING, DeliveryState.SKIPPED) for row in progress.rows
    )
    return NotificationState.DELIVERING if started else NotificationState.PENDING


def _leading_reason(rows: Sequence[Delivery]) -> str | None:
    """Return the commonest reason among the worst rows: failed, then retrying, then pending."""
    for states in (
        (DeliveryState.FAILED, DeliveryState.UNKNOWN),
        (DeliveryState.RETRYING,),
        (DeliveryState.PENDING,),
        (DeliveryState.SKIPPED,),
    ):
        reasons = Counter(row.reason for row in rows if row.state in states and row.reason)
        if reasons:
            return min(reasons, key=lambda reason: (-reasons[reason], reason))
    return None


def _describe(counts: Counter[str], rows: Sequence[Delivery]) -> str:
    parts = [
        f"{counts[name]} {name}"
        for name in ("sent", "failed", "unknown", "retrying", "pending", "skipped")
        if counts[name]
    ]
    text = ", ".join(parts) or "nothing to send"
    worst = next((row for row in rows if row.state is DeliveryState.FAILED), None) or next(
        (row for row in rows if row.reason and row.state not in _AT_REST), None
    )
    if worst is not None and worst.message:
        text += f"; {worst.processor} to {worst.recipient}: {worst.reason}: {worst.message}"
    return text


def _resolved(progress: Progress, make: Maker, old: Condition | None) -> Condition:
    kind = ConditionType.RECIPIENTS_RESOLVED
    if progress.recipients is not None:
        return make(kind, False, progress.recipients.reason, progress.recipients.message)
    if not progress.planned:
        return make(kind, None, IN_PROGRESS, "the recipients are not resolved yet")
    if progress.remarks is None and old is not None and old.status == "True":
        return make(kind, True, old.reason, old.message)
    message = "; ".join([f"{progress.users} users", *(progress.remarks or ())])
    return make(kind, True, "Resolved", message)
