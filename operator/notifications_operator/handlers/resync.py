"""Makes sure that the watch brings everything: lists now and then, and compares."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ..api.errors import KubernetesError
from ..kube.client import KubernetesClient
from ..telemetry import metrics

logger = logging.getLogger(__name__)

RESYNC_SECONDS = 600.0
"""Seconds between lists."""

CATCH_UP_SECONDS = 10.0
"""Seconds within which the watch must have brought what a list showed."""

POLL_SECONDS = 0.2
"""Seconds between comparisons while the watch catches up."""


class WatchCheck:
    """Compares what the watch brought with a list of its own.

    A watch can be silently dead (nolar/kopf issues 585, 980, 1276), or skip an event after an
    error. What it did not bring is handed over from the list, and readiness says so.
    """

    def __init__(
        self, client: KubernetesClient, *, offer: Callable[[dict[str, Any]], None]
    ) -> None:
        self._client = client
        self._offer = offer
        self._seen: dict[str, int] = {}
        self.problem: str | None = "not compared with a list yet"

    def saw(self, body: dict[str, Any]) -> None:
        """Note what the watch brought."""
        self._seen[body["metadata"]["uid"]] = _version(body)

    def forget(self, uid: str) -> None:
        """Note that the watch reported a deletion."""
        self._seen.pop(uid, None)

    async def run(self) -> None:
        """Compare now and then, until cancelled."""
        while True:
            await self._compare()
            await asyncio.sleep(CATCH_UP_SECONDS if self.problem else RESYNC_SECONDS)

    async def _compare(self) -> None:
        try:
            bodies = await self._client.list_notifications()
        except KubernetesError as error:
            self.problem = f"cannot list Notifications: {error}"
            logger.warning("cannot list Notifications: %s", error)
            metrics.RESYNCS.labels("failed").inc()
            return
        missed = bodies
        for _ in range(int(CATCH_UP_SECONDS / POLL_SECONDS)):
            missed = [body for body in missed if self._is_missed(body)]
            if not missed:
                self._passed()
                return
            await asyncio.sleep(POLL_SECONDS)
        self.problem = f"the watch did not bring {len(missed)} Notifications"
        logger.error(self.problem)
        metrics.RESYNCS.labels("missed").inc()
        metrics.WATCH_MISSED.inc(len(missed))
        for body in missed:
            self._offer(body)

    def _passed(self) -> None:
        if self.problem is not None:
            logger.info("the watch brings everything")
        self.problem = None
        metrics.RESYNCS.labels("complete").inc()

    def _is_missed(self, body: dict[str, Any]) -> bool:
        return self._seen.get(body["metadata"]["uid"], -1) < _version(body)


def _version(body: dict[str, Any]) -> int:
    return int(body["metadata"]["resourceVersion"])
