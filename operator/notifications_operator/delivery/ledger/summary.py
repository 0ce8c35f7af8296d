"""Derives a Notification's counters, state and conditions from its rows; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ...api.conditions import (
    Condition,
    ConditionType,
    condition,
    find_condition,
    merge_conditions,
)
from ...api.notification import DeliveryState, NotificationState, ProcessorSummary
from ...api.reasons import Reason
from .tally import Tally

IN_PROGRESS = "Progressing"
"""Reason of conditions while deliveries are under way."""

_UNREACHABLE = (Reason.NO_ADDRESS, Reason.INVALID_ADDRESS, Reason.UNKNOWN_ENTITIES)
"""Reasons of skipped deliveries that nobody wanted."""

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


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Reason for which a Notification waits, or ended without deliveries.

    ``denied`` says that the API server refuses a write that the deliveries need.
    """

    reason: str
    message: str
    denied: bool = False


@dataclass(frozen=True, kw_only=True)
class Progress:
    """All that state and conditions are derived from.

    ``planned`` says that recipients and processors are settled; ``waiting`` that something may
    still add rows; ``verdict`` that the Notification ended as a whole. ``remarks`` is what is odd
    about the recipients, or ``None`` if they were not resolved anew.
    """

    tally: Tally
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


def count(tally: Tally, processor: str | None = None) -> Counter[str]:
    """Count rows by the name of their counter in ``status.processors``."""
    counts: Counter[str] = Counter()
    for state, amount in tally.states(processor).items():
        counts[_STATE_COUNTER[state]] += amount
    return counts


def summarize_processor(
    name: str, tally: Tally, *, reason: str | None, message: str | None
) -> ProcessorSummary:
    """Count one processor's rows."""
    counts = count(tally, name)
    return ProcessorSummary(
        name=name,
        reason=reason,
        message=message,
        total=counts.total(),
        sent=counts["sent"],
        failed=counts["failed"],
        skipped=counts["skipped"],
        retrying=counts["retrying"],
        pending=counts["pending"],
        unknown=counts["unknown"],
        next_attempt_time=tally.next_attempts.get(name),
    )


def judge(progress: Progress) -> Verdict:
    """Derive the state of a Notification."""
    tally = progress.tally
    counts = count(tally)
    open_rows = counts["pending"] + counts["retrying"]
    settled = progress.planned and not open_rows and progress.waiting is None
    under_way = tally.states()[DeliveryState.CLAIMED] > 0
    complete = settled or (progress.verdict is not None and not under_way)
    state = _final_state(progress, counts) if complete else _current_state(progress)
    total = tally.total - counts["skipped"]
    obstacle = progress.verdict or progress.waiting
    reason = obstacle.reason if obstacle else _leading_reason(tally)
    message = obstacle.message if obstacle else _describe(counts, tally)
    if state is NotificationState.NO_RECIPIENTS:
        message = _describe_nobody(tally)
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
    obstacle = progress.verdict or progress.waiting
    if obstacle is not None and obstacle.denied:
        new.append(make(ConditionType.RECORDED, False, obstacle.reason, obstacle.message))
    return merge_conditions(old, new)


def _all_delivered(verdict: Verdict) -> bool:
    return verdict.state is NotificationState.DELIVERED


def _final_state(progress: Progress, counts: Counter[str]) -> NotificationState:
    if progress.verdict is not None:
        expired = progress.verdict.reason == Reason.EXPIRED
        return NotificationState.EXPIRED if expired else NotificationState.FAILED
    bad = progress.tally.reasons(DeliveryState.FAILED, DeliveryState.UNKNOWN)
    if bad:
        if counts["sent"]:
            return NotificationState.PARTIALLY_DELIVERED
        expired = set(bad) == {Reason.EXPIRED}
        return NotificationState.EXPIRED if expired else NotificationState.FAILED
    if _reached_nobody(progress, counts):
        return NotificationState.NO_RECIPIENTS
    return NotificationState.DELIVERED


def _reached_nobody(progress: Progress, counts: Counter[str]) -> bool:
    """Whether nobody was reached though somebody should have been.

    Whom users or processors leave out on purpose is no case of it.
    """
    if not progress.tally.total:
        return not progress.users
    skipped = progress.tally.reasons(DeliveryState.SKIPPED)
    return not counts["sent"] and any(skipped[reason] for reason in _UNREACHABLE)


def _describe_nobody(tally: Tally) -> str:
    if not tally.total:
        return "the recipients resolved to no user"
    reasons = tally.reasons(DeliveryState.SKIPPED)
    amounts = ", ".join(f"{reasons[name]} {name}" for name in sorted(reasons) if name)
    return f"nobody could be reached: {amounts}"


def _current_state(progress: Progress) -> NotificationState:
    if progress.suspended:
        return NotificationState.SUSPENDED
    states = progress.tally.states()
    untouched = states[DeliveryState.PENDING] + states[DeliveryState.SKIPPED]
    started = progress.tally.total > untouched
    return NotificationState.DELIVERING if started else NotificationState.PENDING


def _leading_reason(tally: Tally) -> str | None:
    """Return the commonest reason among the worst rows: failed, then retrying, then pending."""
    for states in (
        (DeliveryState.FAILED, DeliveryState.UNKNOWN),
        (DeliveryState.RETRYING,),
        (DeliveryState.PENDING,),
        (DeliveryState.SKIPPED,),
    ):
        reasons = tally.reasons(*states)
        del reasons[""]
        if reasons:
            return min(reasons, key=lambda reason: (-reasons[reason], reason))
    return None


def _describe(counts: Counter[str], tally: Tally) -> str:
    parts = [
        f"{counts[name]} {name}"
        for name in ("sent", "failed", "unknown", "retrying", "pending", "skipped")
        if counts[name]
    ]
    text = ", ".join(parts) or "nothing to send"
    worst = tally.failed or tally.troubled
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
    noun = "user" if progress.users == 1 else "users"
    message = "; ".join([f"{progress.users} {noun}", *(progress.remarks or ())])
    return make(kind, True, "Resolved", message)
