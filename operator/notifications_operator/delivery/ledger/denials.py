"""Status of a Notification while the API server refuses a write that it needs; pure.

A quota, an admission policy or a missing right refuses until a person changes it. So it is shown
where that person looks, and waited for as long as for everything else.
"""

from __future__ import annotations

from datetime import datetime

from ...api.conditions import ConditionType, find_condition
from ...api.notification import DeliveryState, Notification, NotificationStatus, ProcessorSummary
from ...api.reasons import Reason
from ...telemetry.redaction import redact
from .ledger import LONGEST_WAIT, Ledger, give_up
from .rows import Row
from .summary import Obstacle
from .tally import Tally

ANSWER_LIMIT = 512
"""Characters of the API server's answer that are repeated."""


def describe_denial(namespace: str, answer: str) -> str:
    """Return what is refused and what to do about it."""
    shown = redact(answer)[:ANSWER_LIMIT]
    return (
        f"the API server refuses what the deliveries need: {shown}; allow it in the quotas, "
        f"admission policies or roles of namespace {namespace}"
    )


def deadline_of(notification: Notification, now: datetime) -> datetime:
    """Return when a Notification whose writes are refused is given up."""
    end = (_refused_since(notification.status) or now) + LONGEST_WAIT
    expires = notification.spec.expires_at
    return end if expires is None else min(end, expires)


def is_said(notification: Notification) -> bool:
    """Whether the status says already that something is refused."""
    return _refused_since(notification.status) is not None


def still_denied(wanted: NotificationStatus, stored: NotificationStatus) -> NotificationStatus:
    """Return a status that goes on saying what the stored one says of a refusal.

    What can be written between two refusals does not show that there will be no third.
    """
    recorded = find_condition(stored.conditions, ConditionType.RECORDED)
    complete = find_condition(wanted.conditions, ConditionType.COMPLETE)
    if recorded is None or (complete is not None and complete.status == "True"):
        return wanted
    others = [item for item in wanted.conditions if item.type != ConditionType.RECORDED]
    return wanted.model_copy(update={"conditions": [*others, recorded]})


def denied_status(notification: Notification, answer: str, now: datetime) -> NotificationStatus:
    """Return the status that shows a refusal, or ends the Notification if its time is over.

    Rows and counters stay as they are stored. An edit that could not be planned is not observed,
    unless this is the end.
    """
    status = notification.status
    ledger = Ledger.load(status).with_rows(map(Row.of, status.deliveries))
    tally = _stored_tally(status) if ledger.slices is not None else None
    if _refused_since(status) is None:
        ledger.conditions = [
            item for item in status.conditions if item.type != ConditionType.RECORDED
        ]
    if notification.restarts:
        ledger.start_time = None
    message = describe_denial(notification.metadata.namespace, answer)
    over = now >= deadline_of(notification, now)
    if over:
        verdict = Obstacle(reason=_final_reason(notification, now), message=message, denied=True)
        ledger.verdict = verdict
        if ledger.slices is None:
            give_up(ledger, verdict)
    else:
        ledger.waiting = Obstacle(reason=Reason.POLICY_DENIED, message=message, denied=True)
    if over or not ledger.planned:
        ledger.last_redeliver = notification.redeliver
    wanted = ledger.dump(
        generation=notification.metadata.generation,
        suspended=notification.spec.suspend,
        note=None,
        now=now,
        tally=tally,
    )
    if ledger.planned and not over:
        return wanted.model_copy(update={"observed_generation": status.observed_generation})
    return wanted


def _refused_since(status: NotificationStatus) -> datetime | None:
    """Return since when writes have been refused, as far as that could be stored."""
    complete = find_condition(status.conditions, ConditionType.COMPLETE)
    recorded = find_condition(status.conditions, ConditionType.RECORDED)
    if recorded is None or (complete is not None and complete.status == "True"):
        return None
    return recorded.last_transition_time


def _final_reason(notification: Notification, now: datetime) -> Reason:
    expires = notification.spec.expires_at
    return Reason.EXPIRED if expires is not None and now >= expires else Reason.POLICY_DENIED


def _stored_tally(status: NotificationStatus) -> Tally:
    """Return what the rows of slices add up to, as the status says it."""
    tally = Tally()
    for summary in status.processors:
        for state, amount in _amounts(summary).items():
            if amount:
                tally.counts[summary.name, state, None] += amount
        if summary.next_attempt_time is not None:
            tally.next_attempts[summary.name] = summary.next_attempt_time
    return tally


def _amounts(summary: ProcessorSummary) -> dict[DeliveryState, int]:
    return {
        DeliveryState.PENDING: summary.pending,
        DeliveryState.RETRYING: summary.retrying,
        DeliveryState.SENT: summary.sent,
        DeliveryState.FAILED: summary.failed,
        DeliveryState.SKIPPED: summary.skipped,
        DeliveryState.UNKNOWN: summary.unknown,
    }
