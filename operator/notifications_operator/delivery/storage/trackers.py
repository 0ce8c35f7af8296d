"""Tools that would create a deleted object again, and so have it sent again."""

from __future__ import annotations

from ...api.notification import Notification

_HOOK = "argocd.argoproj.io/hook"
_TRACKERS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "app.kubernetes.io/instance": "Argo CD or Helm",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "meta.helm.sh/release-name": "Helm",
}
"""Labels and annotations by which a tool that would create a deleted object again is known."""


def tracker(notification: Notification) -> str | None:
    """Return the tool that would create the Notification again, and so have it sent again."""
    marks = {**notification.metadata.labels, **notification.metadata.annotations}
    if _HOOK in marks:
        return None
    return next((tool for mark, tool in _TRACKERS.items() if mark in marks), None)


def ttl_note(notification: Notification) -> str | None:
    """Return what to tell the user of a TTL that is ignored."""
    if notification.spec.ttl_seconds_after_finished is None:
        return None
    tool = tracker(notification)
    if tool is None:
        return None
    return f"TTLIgnored: {tool} manages this object and would create and send it again"
