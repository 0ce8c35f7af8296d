"""Prometheus metrics of the gateway, in a registry of their own; never a person in a label.

Routes are templates (``/api/notifications/{id}``), so that the number of series is bounded.
"""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from . import metrics

REGISTRY = CollectorRegistry()
"""What ``/metrics`` of the gateway shows; the operator's metrics are not among it."""

REQUESTS = Counter(
    "notifications_gateway_requests",
    "Requests answered, by route and status.",
    ["method", "route", "code"],
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "notifications_gateway_request_seconds",
    "Seconds from a request's head to the end of its answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
SENT = Counter(
    "notifications_gateway_sent",
    "Requests to send that were stored: the Notification was created, or found by its name.",
    ["result"],
    registry=REGISTRY,
)
UNFINISHED = Gauge(
    "notifications_gateway_unfinished",
    "Notifications of a namespace that were not finished when they were last counted.",
    ["namespace"],
    registry=REGISTRY,
)
AUTHENTICATION_FAILURES = Counter(
    "notifications_gateway_authentication_failures",
    "Requests with credentials that were not valid.",
    registry=REGISTRY,
)
SOCKETS = Gauge(
    "notifications_gateway_sockets", "WebSockets of signals that are open.", registry=REGISTRY
)
SOCKETS_CLOSED = Counter(
    "notifications_gateway_sockets_closed",
    "WebSockets that the gateway closed: token_expired, try_again_later (it reads too slowly) or "
    "policy_violation (it sends too much).",
    ["reason"],
    registry=REGISTRY,
)
CHECK = Gauge(
    "notifications_gateway_ready_check",
    "Whether a check of the readiness probe finds nothing wrong.",
    ["check"],
    registry=REGISTRY,
)
TASKS = metrics.TASKS

for _result in ("created", "found"):
    SENT.labels(_result)
for _reason in ("token_expired", "try_again_later", "policy_violation"):
    SOCKETS_CLOSED.labels(_reason)
for _collector in (metrics.BUILD_INFO, metrics.REQUESTS, TASKS):
    REGISTRY.register(_collector)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def exposition() -> tuple[bytes, str]:
    """Return all metrics in Prometheus' text format, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
