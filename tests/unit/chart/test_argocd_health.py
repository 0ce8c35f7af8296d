"""Argo CD's view of our kinds: over what the operator's own code writes, and over nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from notifications_operator.api.conditions import ConditionType, condition
from notifications_operator.api.notification import (
    DeliveryState,
    NotificationState,
    NotificationStatus,
)
from notifications_operator.api.processor import ProcessorReason
from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.ledger.summary import Obstacle, Progress, conditions, judge
from notifications_operator.delivery.ledger.tally import Tally
from tests.support.argocd import Health, health
from tests.unit.delivery.builders import NOW, row

EXPECTED = {
    NotificationState.PENDING: "Progressing",
    NotificationState.DELIVERING: "Progressing",
    NotificationState.DELIVERED: "Healthy",
    NotificationState.PARTIALLY_DELIVERED: "Healthy",
    NotificationState.FAILED: "Degraded",
    NotificationState.SUSPENDED: "Suspended",
    NotificationState.EXPIRED: "Healthy",
    NotificationState.NO_RECIPIENTS: "Healthy",
}
PENDING = row(DeliveryState.PENDING)
SENT = row(DeliveryState.SENT)
FAILED = row(
    DeliveryState.FAILED,
    recipient="user:default/bob",
    reason=Reason.MAILBOX_FULL,
    message="552 full",
)
PROGRESS = {
    NotificationState.PENDING: Progress(tally=Tally.of([PENDING]), planned=True, users=1),
    NotificationState.DELIVERING: Progress(tally=Tally.of([SENT, PENDING]), planned=True, users=2),
    NotificationState.DELIVERED: Progress(tally=Tally.of([SENT]), planned=True, users=1),
    NotificationState.PARTIALLY_DELIVERED: Progress(
        tally=Tally.of([SENT, FAILED]), planned=True, users=2
    ),
    NotificationState.FAILED: Progress(tally=Tally.of([FAILED]), planned=True, users=1),
    NotificationState.SUSPENDED: Progress(
        tally=Tally.of([PENDING]), planned=True, users=1, suspended=True
    ),
    NotificationState.EXPIRED: Progress(
        tally=Tally.of([]),
        planned=True,
        verdict=Obstacle(reason=Reason.EXPIRED, message="too late"),
    ),
    NotificationState.NO_RECIPIENTS: Progress(tally=Tally.of([]), planned=True),
}


def notification(status: Any, *, generation: int = 3) -> dict[str, Any]:
    return {
        "apiVersion": "notifications.orchestrator.io/v1alpha1",
        "kind": "Notification",
        "metadata": {"name": "n", "generation": generation},
        "spec": {"payload": {"title": "t"}},
        **({} if status is None else {"status": status}),
    }


def written(state: NotificationState) -> dict[str, Any]:
    """Return the status as the operator writes it."""
    progress = PROGRESS[state]
    verdict = judge(progress)
    assert verdict.state is state
    return NotificationStatus(
        observed_generation=3,
        state=verdict.state,
        summary=verdict.summary,
        reason=verdict.reason,
        conditions=conditions(progress, verdict, old=[], generation=3, now=NOW),
    ).to_wire()


@pytest.mark.parametrize("state", NotificationState)
def test_every_state_has_its_health(state: NotificationState) -> None:
    found = health(notification(written(state)))
    assert found.status == EXPECTED[state]
    assert found.message and found.message != "Waiting for the operator"


def test_message_says_why() -> None:
    failed = health(notification(written(NotificationState.FAILED)))
    assert "MailboxFull" in failed.message
    partly = health(notification(written(NotificationState.PARTIALLY_DELIVERED)))
    assert partly.message.startswith("PartiallyDelivered: 1 sent, 1 failed")
    assert health(notification(written(NotificationState.DELIVERED))).message == "1 sent"


@pytest.mark.parametrize("state", NotificationState)
def test_edit_is_progress_until_the_operator_saw_it(state: NotificationState) -> None:
    found = health(notification(written(state), generation=4))
    assert found == Health("Progressing", "Waiting for the operator")


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        {"observedGeneration": -1, "state": "Pending"},
        {"observedGeneration": 3},
        {"observedGeneration": 3, "conditions": []},
        {"observedGeneration": 3, "conditions": None, "state": None},
        {"observedGeneration": 3, "conditions": [{"type": "Complete", "status": "False"}]},
        {"observedGeneration": 3, "conditions": [{"type": "Ready", "status": "Unknown"}]},
        {"observedGeneration": "3", "conditions": [{"type": "Ready", "status": "True"}]},
    ],
)
def test_status_that_says_nothing_is_progress(status: Any) -> None:
    assert health(notification(status)).status == "Progressing"
    assert health({**notification(status), "kind": "NotificationProcessor"}).status == "Progressing"


def test_hostile_messages_are_shown_as_they_are() -> None:
    hostile = ']] .. os.exit() --\n" \u202e %s </script>'
    stalled = {"type": "Stalled", "status": "True", "message": hostile}
    found = health(notification({"observedGeneration": 3, "conditions": [stalled]}))
    assert found == Health("Degraded", hostile)


@pytest.mark.parametrize("reason", ProcessorReason)
def test_every_reason_of_a_processor_has_its_health(reason: ProcessorReason) -> None:
    ready = reason is ProcessorReason.CONNECTED
    made = condition(ConditionType.READY, ready, reason, "why", generation=3, now=NOW)
    status = {"observedGeneration": 3, "conditions": [made.to_wire()]}
    found = health({**notification(status), "kind": "NotificationProcessor"})
    expected = {"Connected": "Healthy", "Connecting": "Progressing", "Suspended": "Suspended"}
    assert found.status == expected.get(reason, "Degraded")
    assert found.message == (f"{reason}: why" if found.status == "Degraded" else "why")
