"""Prometheus metrics; never a recipient in a label (DESIGN section 7).

Labels hold names of processors, words of closed sets and HTTP status codes, so that the number of
series is bounded by the number of processors. Combinations that alerts count from are made at
once, at zero, because Prometheus cannot see the first increase of a series it did not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from ..api.notification import DeliveryState, Notification, NotificationState
from ..api.reasons import Reason
from ..api.references import NOTIFICATIONS, PROCESSORS

_LONG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)

BUILD_INFO = Gauge("notifications_build_info", "Always 1; the label has the version.", ["version"])
CHECK = Gauge(
    "notifications_ready_check", "Whether a check of the readiness probe passes.", ["check"]
)

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
    buckets=_LONG,
)
SENT_LATENCY = Histogram(
    "notifications_created_to_sent_seconds",
    "Seconds from the creation of a Notification until one delivery of its first version was sent.",
    ["processor"],
    buckets=_LONG,
)
SEND_SECONDS = Histogram(
    "notifications_send_seconds",
    "Seconds that one call of a processor took to send.",
    ["processor"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
UNFINISHED = Gauge("notifications_unfinished", "Notifications that are not finished.")
NEWER_FORMAT = Gauge(
    "notifications_newer_format",
    "Unfinished Notifications that are left alone, as a newer release wrote their ledger.",
)
OLDEST = Gauge(
    "notifications_oldest_unfinished_seconds",
    "Age of the oldest Notification that is neither finished nor suspended.",
)

QUEUE = Gauge(
    "notifications_processor_waiting", "Notifications that wait for a processor.", ["processor"]
)
LEADER = Gauge("notifications_leader", "Whether this process holds the Lease and sends.")
READY = Gauge("notifications_processor_ready", "Whether a processor can send.", ["processor"])
SUSPENDED = Gauge(
    "notifications_processor_suspended", "Whether a processor is suspended.", ["processor"]
)
BREAKER = Gauge(
    "notifications_processor_breaker_open",
    "Whether a processor pauses after a failure that concerns all of it.",
    ["processor"],
)
TRIPS = Counter(
    "notifications_processor_breaker_trips",
    "Failures that made a processor pause, by reason.",
    ["processor", "reason"],
)
SLOWDOWNS = Counter(
    "notifications_processor_slowdowns",
    "Refusals for too much load that made a processor wait, by reason.",
    ["processor", "reason"],
)
WINDOW = Gauge(
    "notifications_processor_window", "Most deliveries that may be claimed now.", ["processor"]
)
CLAIMED = Gauge(
    "notifications_processor_claimed",
    "Deliveries that are claimed and not recorded yet.",
    ["processor"],
)
THROTTLED = Counter(
    "notifications_processor_throttled_seconds",
    "Seconds that sends waited for the processor's throttle.",
    ["processor"],
)

REQUESTS = Counter(
    "notifications_kubernetes_requests",
    "Requests to the API server, kopf's watches aside; code is <error> if none came back.",
    ["method", "resource", "code"],
)
CATALOG_ENTITIES = Gauge("notifications_catalog_entities", "Entities of the catalog in use.")
CATALOG_USERS = Gauge("notifications_catalog_users", "Users among them.")
CATALOG_BUILT = Gauge(
    "notifications_catalog_built_timestamp_seconds", "When the catalog in use was built."
)
CATALOG_PROBLEMS = Gauge(
    "notifications_catalog_problems", "Problems in the catalog's ConfigMaps, broken documents."
)
CATALOG_UNREADABLE = Gauge(
    "notifications_catalog_unreadable_namespaces", "Namespaces of the catalog that cannot be read."
)
RESYNCS = Counter(
    "notifications_resyncs",
    "Lists that a watch was compared with, by result.",
    ["resource", "result"],
)
WATCH_MISSED = Counter(
    "notifications_watch_missed",
    "Changes and deletions that a list showed and the watch did not bring in time.",
    ["resource"],
)

for _state in (
    NotificationState.DELIVERED,
    NotificationState.PARTIALLY_DELIVERED,
    NotificationState.FAILED,
    NotificationState.EXPIRED,
    NotificationState.NO_RECIPIENTS,
):
    FINISHED.labels(_state)
for _resource in (NOTIFICATIONS, PROCESSORS, "configmaps"):
    WATCH_MISSED.labels(_resource)
    for _result in ("complete", "missed", "failed"):
        RESYNCS.labels(_resource, _result)


@dataclass(frozen=True, kw_only=True)
class ProcessorGauges:
    """One processor at this moment."""

    waiting: int
    ready: bool
    suspended: bool
    breaker_open: bool
    window: int
    claimed: int


def set_build(version: str) -> None:
    """Say which version runs."""
    BUILD_INFO.labels(version).set(1)


def measure_processors(processors: Mapping[str, ProcessorGauges]) -> None:
    """Bring the gauges of processors up to date; those of processors that are gone vanish."""
    for gauge in (QUEUE, READY, SUSPENDED, BREAKER, WINDOW, CLAIMED):
        gauge.clear()
    for name, found in processors.items():
        QUEUE.labels(name).set(found.waiting)
        READY.labels(name).set(found.ready)
        SUSPENDED.labels(name).set(found.suspended)
        BREAKER.labels(name).set(found.breaker_open)
        WINDOW.labels(name).set(found.window)
        CLAIMED.labels(name).set(found.claimed)
        DELIVERIES.labels(name, DeliveryState.UNKNOWN, Reason.AMBIGUOUS)


def measure_checks(checks: Mapping[str, str | None]) -> None:
    """Take over what the readiness probe says: checks with what is wrong, or ``None``."""
    for name, problem in checks.items():
        CHECK.labels(name).set(problem is None)


TASKS = Gauge(
    "notifications_event_loop_tasks", "Tasks of the event loop; steady under a steady load."
)


@cache
def attempts(processor: str, result: str) -> Counter:
    """Return the counter of attempts with a result.

    It is asked for with every mail, and a look at `Counter.labels` costs as much as a line of
    SMTP; the registry keeps a series for good, so keeping it here too leaks nothing.
    """
    return ATTEMPTS.labels(processor, result)


@cache
def throttled(processor: str) -> Counter:
    """Return the counter of seconds that a processor's throttle held sends back."""
    return THROTTLED.labels(processor)


@cache
def send_seconds(processor: str) -> Histogram:
    """Return the histogram of seconds that a call of a processor took."""
    return SEND_SECONDS.labels(processor)


@cache
def _sent_latency(processor: str) -> Histogram:
    return SENT_LATENCY.labels(processor)


def count_request(method: str, resource: str, code: int | None) -> None:
    """Count one request to the API server; no code means that no answer came."""
    REQUESTS.labels(method, resource, "<error>" if code is None else str(code)).inc()


def count_sent(processor: str, created: datetime, amount: int) -> None:
    """Count deliveries of a Notification's first version that were sent just now."""
    seconds = (datetime.now(UTC) - created).total_seconds()
    histogram = _sent_latency(processor)
    for _ in range(amount):
        histogram.observe(seconds)


def count_finished(
    notification: Notification, deliveries: Iterable[tuple[tuple[str, str, str | None], int]]
) -> None:
    """Count a Notification that has just finished, and its deliveries.

    Parameters
    ----------
    deliveries
        How many there are by processor, state and reason.
    """
    FINISHED.labels(notification.status.state).inc()
    for (processor, state, reason), amount in deliveries:
        DELIVERIES.labels(processor, state, reason or "").inc(amount)
    created = notification.metadata.creation_timestamp
    if created is not None:
        LATENCY.observe((datetime.now(UTC) - created).total_seconds())
