"""Events: what ``kubectl describe`` shows beneath a resource."""

from __future__ import annotations

import logging
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..api.errors import KubernetesError, NotFoundError
from ..telemetry.redaction import redact
from .client import KubernetesClient

CONTROLLER = "notifications.orchestrator.io/operator"
"""Name of the component that reports."""

NOTE_LIMIT = 1024
"""Longest note of an Event, in bytes (``events.k8s.io/v1`` validation)."""

REMEMBERED = 1024
"""Events that are remembered, so that the same one again becomes their series."""

SameEvent = tuple[str, ...]

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Written:
    """An Event that is in the cluster, and how often it has happened."""

    name: str
    count: int = 1


class EventRecorder:
    """Writes Events; they are a courtesy, so a failure is logged and never in the way.

    The same Event again (object, type, reason, action and note) raises the count of the first one's
    series instead of making another (``events.k8s.io/v1`` EventSeries), so that something that goes
    on failing is one line in ``kubectl describe``. An Event that has expired in the cluster begins
    anew, as does one that was not repeated while `REMEMBERED` others were written.
    """

    def __init__(self, client: KubernetesClient, *, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._written: OrderedDict[SameEvent, _Written] = OrderedDict()

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
            "regarding": dict(regarding),
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "action": action,
            "note": _cut(redact(note)),
        }
        same = (namespace, *(str(value) for value in body.values()))
        try:
            if not await self._repeat(namespace, same):
                await self._create(namespace, same, body)
        except KubernetesError as error:
            extra = {"reason": reason, "regarding": f"{namespace}/{regarding['name']}"}
            logger.warning("could not write an Event: %s", error, extra=extra)

    async def _repeat(self, namespace: str, same: SameEvent) -> bool:
        """Raise the count of an Event that is there; False if it is not."""
        written = self._written.get(same)
        if written is None:
            return False
        self._written.move_to_end(same)
        written.count += 1
        series = {"count": written.count, "lastObservedTime": _now()}
        try:
            await self._client.patch_event(namespace, written.name, {"series": series})
        except NotFoundError:
            self._written.pop(same, None)
            return False
        return True

    async def _create(self, namespace: str, same: SameEvent, body: Mapping[str, Any]) -> None:
        name = f"{body['regarding']['name'][:200]}.{uuid.uuid4().hex[:16]}"
        await self._client.create_event(
            namespace,
            {
                "apiVersion": "events.k8s.io/v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "eventTime": _now(),
                "reportingController": CONTROLLER,
                "reportingInstance": self._instance[:128],
                **body,
            },
        )
        self._written[same] = _Written(name=name)
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cut(note: str) -> str:
    return note.encode()[:NOTE_LIMIT].decode(errors="ignore")
