"""Events: what ``kubectl describe`` shows beneath a resource."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..api.errors import KubernetesError
from ..telemetry.redaction import redact
from .client import KubernetesClient

CONTROLLER = "notifications.orchestrator.io/operator"
"""Name of the component that reports."""

NOTE_LIMIT = 1024
"""Longest note of an Event, in bytes (``events.k8s.io/v1`` validation)."""

logger = logging.getLogger(__name__)


class EventRecorder:
    """Writes Events; they are a courtesy, so a failure is logged and never in the way."""

    def __init__(self, client: KubernetesClient, *, instance: str) -> None:
        self._client = client
        self._instance = instance

    async def record(
        self, regarding: Mapping[str, Any], *, warning: bool, reason: str, action: str, note: str
    ) -> None:
        """Write one Event about an object.

        Parameters
        ----------
        regarding
            The object, as a core/v1 ``ObjectReference``.
        warning
            Whether somebody should look at it.
        reason
            Why, in CamelCase.
        action
            What was done or attempted, in CamelCase.
        note
            For people; redacted and cut to its bound.
        """
        namespace = regarding["namespace"]
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{regarding['name'][:200]}.{uuid.uuid4().hex[:16]}",
                "namespace": namespace,
            },
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "action": action,
            "reason": reason,
            "type": "Warning" if warning else "Normal",
            "regarding": dict(regarding),
            "note": _cut(redact(note)),
        }
        try:
            await self._client.create_event(namespace, body)
        except KubernetesError as error:
            logger.warning("could not write an Event: %s", error, extra={"reason": reason})


def _cut(note: str) -> str:
    return note.encode()[:NOTE_LIMIT].decode(errors="ignore")
