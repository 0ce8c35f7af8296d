"""Prometheus metrics; never a recipient in a label (DESIGN section 7)."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client import Counter, Gauge, Histogram

from ..api.notification import Notification
from ..api.reasons import Reason

ATTEMPTS = Counter(
    "notifications_attempts",
    "Attempts to send one delivery, by result: sent, skipped, or the reason of the error.",
    ["processor", "result"],
)
DELIVERIES = Counter(
    "notifications_deliveries",
    "Deliveries of Notifications that finished, by the state they ended in and its reason.",
    ["processor", "state", "reason"],
)
FINISHED = Counter("notifications_finished", "Notifications that finished, by state.", ["state"])
LATENCY = Histogram(
    "notifications_created_to_finished_seconds",
    "Seconds from the creation of a Notification until it finished.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
)
UNFINISHED = Gauge("notifications_unfinished", "Notifications that are not finished.")
OLDEST = Gauge(
    "notifications_oldest_unfinished_seconds", "Age of the oldest Notification not finished."
)
QUEUE = Gauge(
    "notifications_processor_waiting", "Notifications that wait for a processor.", ["processor"]
)
TASKS = Gauge("notifications_tasks", "Tasks of the event loop; at rest their number is steady.")
READY = Gauge("notifications_processor_ready", "Whether a processor can send.", ["processor"])


def count_attempt(processor: str, result: str | Reason) -> None:
    """Count one attempt by its result."""
    ATTEMPTS.labels(processor, result).inc()


def count_finished(notification: Notification) -> None:
    """Count a Notification that has just finished, and its deliveries."""
    status = notification.status
    FINISHED.labels(status.state).inc()
    for row in status.deliveries:
        DELIVERIES.labels(row.processor, row.state, row.reason or "").inc()
    created = notification.metadata.creation_timestamp
    if created is not None:
        LATENCY.observe((datetime.now(UTC) - created).total_seconds())
