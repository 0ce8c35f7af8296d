"""Metrics: their names and labels are an interface, and never hold a recipient."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import REGISTRY, generate_latest

from notifications_operator.api.notification import (
    Delivery,
    DeliveryState,
    Notification,
    NotificationState,
    NotificationStatus,
)
from notifications_operator.api.reasons import Reason
from notifications_operator.telemetry import metrics

NAMES = {
    "notifications_attempts_total": {"processor", "result"},
    "notifications_deliveries_total": {"processor", "state", "reason"},
    "notifications_finished_total": {"state"},
    "notifications_created_to_finished_seconds_bucket": {"le"},
    "notifications_unfinished": set(),
    "notifications_oldest_unfinished_seconds": set(),
    "notifications_processor_waiting": {"processor"},
    "notifications_processor_ready": {"processor"},
    "notifications_tasks": set(),
}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def finished(*rows: Delivery, created: datetime) -> Notification:
    return Notification.model_validate(
        {
            "metadata": {
                "namespace": "team",
                "name": "n",
                "uid": "u",
                "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "spec": {"recipients": {"type": "broadcast"}, "payload": {"title": "t"}},
        }
    ).model_copy(
        update={
            "status": NotificationStatus(
                state=NotificationState.PARTIALLY_DELIVERED, deliveries=list(rows)
            )
        }
    )


def row(state: DeliveryState, reason: Reason | None = None) -> Delivery:
    return Delivery(
        processor="test-metrics", recipient="user:default/secret-ada", state=state, reason=reason
    )


def test_attempts_are_counted_by_result() -> None:
    before = value("notifications_attempts_total", processor="test-metrics", result="sent")
    metrics.count_attempt("test-metrics", "sent")
    metrics.count_attempt("test-metrics", Reason.GREYLISTED)
    after = value("notifications_attempts_total", processor="test-metrics", result="sent")
    assert after == before + 1
    assert value("notifications_attempts_total", processor="test-metrics", result="Greylisted") >= 1


def test_end_counts_deliveries_and_time() -> None:
    count = value("notifications_created_to_finished_seconds_count")
    total = value("notifications_created_to_finished_seconds_sum")
    metrics.count_finished(
        finished(
            row(DeliveryState.SENT),
            row(DeliveryState.SENT),
            row(DeliveryState.FAILED, Reason.MAILBOX_FULL),
            created=datetime.now(UTC) - timedelta(seconds=100),
        )
    )
    labels = {"processor": "test-metrics"}
    assert value("notifications_deliveries_total", state="Sent", reason="", **labels) == 2
    assert (
        value("notifications_deliveries_total", state="Failed", reason="MailboxFull", **labels) == 1
    )
    assert value("notifications_created_to_finished_seconds_count") == count + 1
    assert 99 <= value("notifications_created_to_finished_seconds_sum") - total < 200


def test_names_and_labels() -> None:
    metrics.count_attempt("test-metrics", "sent")
    metrics.count_finished(finished(row(DeliveryState.SENT), created=datetime.now(UTC)))
    metrics.QUEUE.labels("test-metrics").set(0)
    metrics.READY.labels("test-metrics").set(1)
    found = {
        sample.name: set(sample.labels)
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name.startswith("notifications_")
    }
    assert {name: found[name] for name in NAMES} == NAMES
    assert b"secret-ada" not in generate_latest()
