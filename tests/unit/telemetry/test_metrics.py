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
from notifications_operator.telemetry.metrics import ProcessorGauges

NAMES = {
    "notifications_attempts_total": {"processor", "result"},
    "notifications_deliveries_total": {"processor", "state", "reason"},
    "notifications_finished_total": {"state"},
    "notifications_created_to_finished_seconds_bucket": {"le"},
    "notifications_unfinished": set(),
    "notifications_newer_format": set(),
    "notifications_oldest_unfinished_seconds": set(),
    "notifications_processor_waiting": {"processor"},
    "notifications_leader": set(),
    "notifications_processor_ready": {"processor"},
    "notifications_processor_suspended": {"processor"},
    "notifications_processor_breaker_open": {"processor"},
    "notifications_processor_breaker_trips_total": {"processor", "reason"},
    "notifications_processor_slowdowns_total": {"processor", "reason"},
    "notifications_processor_window": {"processor"},
    "notifications_processor_claimed": {"processor"},
    "notifications_processor_throttled_seconds_total": {"processor"},
    "notifications_created_to_sent_seconds_bucket": {"processor", "le"},
    "notifications_send_seconds_bucket": {"processor", "le"},
    "notifications_kubernetes_requests_total": {"method", "resource", "code"},
    "notifications_catalog_entities": set(),
    "notifications_catalog_users": set(),
    "notifications_catalog_built_timestamp_seconds": set(),
    "notifications_catalog_problems": set(),
    "notifications_catalog_unreadable_namespaces": set(),
    "notifications_resyncs_total": {"resource", "result"},
    "notifications_watch_missed_total": {"resource"},
    "notifications_build_info": {"version"},
    "notifications_ready_check": {"check"},
    "notifications_event_loop_tasks": set(),
}
GAUGES = ProcessorGauges(
    waiting=3, ready=True, suspended=False, breaker_open=True, window=10, claimed=7
)


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
    metrics.attempts("test-metrics", "sent").inc()
    metrics.attempts("test-metrics", Reason.GREYLISTED).inc()
    after = value("notifications_attempts_total", processor="test-metrics", result="sent")
    assert after == before + 1
    assert value("notifications_attempts_total", processor="test-metrics", result="Greylisted") >= 1


def test_end_counts_deliveries_and_time() -> None:
    count = value("notifications_created_to_finished_seconds_count")
    total = value("notifications_created_to_finished_seconds_sum")
    metrics.count_finished(
        finished(created=datetime.now(UTC) - timedelta(seconds=100)),
        [
            (("test-metrics", "Sent", None), 2),
            (("test-metrics", "Failed", Reason.MAILBOX_FULL), 1),
        ],
    )
    labels = {"processor": "test-metrics"}
    assert value("notifications_deliveries_total", state="Sent", reason="", **labels) == 2
    assert (
        value("notifications_deliveries_total", state="Failed", reason="MailboxFull", **labels) == 1
    )
    assert value("notifications_created_to_finished_seconds_count") == count + 1
    assert 99 <= value("notifications_created_to_finished_seconds_sum") - total < 200


def test_names_and_labels() -> None:
    metrics.attempts("test-metrics", "sent").inc()
    metrics.count_finished(
        finished(created=datetime.now(UTC)), [(("test-metrics", "Sent", None), 1)]
    )
    metrics.count_sent("test-metrics", datetime.now(UTC), 1)
    metrics.measure_processors({"test-metrics": GAUGES})
    metrics.measure_checks({"catalog": None})
    metrics.count_request("GET", "notifications", 200)
    metrics.set_build("1.2.3")
    metrics.TRIPS.labels("test-metrics", Reason.AUTH_FAILED)
    metrics.SLOWDOWNS.labels("test-metrics", Reason.RATE_LIMITED)
    metrics.throttled("test-metrics")
    metrics.send_seconds("test-metrics")
    found = {
        sample.name: set(sample.labels)
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name.startswith("notifications_")
    }
    derived = ("_count", "_sum", "_created")
    assert {name: labels for name, labels in found.items() if not name.endswith(derived)} == NAMES
    assert b"secret-ada" not in generate_latest()


def test_gauges_of_a_processor_that_is_gone_vanish() -> None:
    metrics.measure_processors({"test-gone": GAUGES, "test-stays": GAUGES})
    assert value("notifications_processor_waiting", processor="test-gone") == 3
    metrics.measure_processors({"test-stays": GAUGES})
    for name in ("waiting", "ready", "suspended", "breaker_open", "window", "claimed"):
        full = f"notifications_processor_{name}"
        assert REGISTRY.get_sample_value(full, {"processor": "test-gone"}) is None
        assert REGISTRY.get_sample_value(full, {"processor": "test-stays"}) is not None


def test_what_alerts_count_is_there_before_it_happens() -> None:
    """Prometheus cannot see the increase from nothing to one."""
    metrics.measure_processors({"test-new": GAUGES})
    unknown = {"processor": "test-new", "state": "Unknown", "reason": "Ambiguous"}
    assert REGISTRY.get_sample_value("notifications_deliveries_total", unknown) == 0
    for state in ("Failed", "PartiallyDelivered", "Expired", "Delivered", "NoRecipients"):
        assert (
            REGISTRY.get_sample_value("notifications_finished_total", {"state": state}) is not None
        )


def test_request_without_an_answer_is_an_error() -> None:
    labels = {"method": "PATCH", "resource": "test/status"}
    metrics.count_request(**labels, code=None)
    metrics.count_request(**labels, code=409)
    assert value("notifications_kubernetes_requests_total", code="<error>", **labels) == 1
    assert value("notifications_kubernetes_requests_total", code="409", **labels) == 1
