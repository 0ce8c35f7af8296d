"""Makes sure that a watch brings everything: lists now and then, and compares."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

from ..api.errors import KubernetesError, NotFoundError
from ..api.references import ObjectRef
from ..kube.client import KubernetesClient, ObjectVersion
from ..telemetry import metrics

logger = logging.getLogger(__name__)

CATCH_UP_SECONDS = 10.0
"""Seconds within which the watch must have brought what a list showed; the interval if shorter."""

POLL_SECONDS = 0.2
"""Seconds between comparisons while the watch catches up."""

JITTER = 0.2
"""Part by which pauses differ, so that kinds and pods do not list in step."""


def next_pause(interval: float) -> float:
    """Return the seconds until the next comparison."""
    return interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret


class WatchCheck:
    """Compares what the watch of one kind brought with a list of its own.

    A watch can be silently dead (nolar/kopf issues 585, 980, 1276), skip an event after an
    error, or begin anew after a gap in which objects vanished, of which kopf says nothing. What
    it did not bring is read and handed over, and what it did not take back is withdrawn.

    Parameters
    ----------
    plural
        The kind, by its plural name.
    offer
        Takes an object as the API server has it.
    withdraw
        Takes the metadata of an object that is gone, under ``metadata``.
    interval
        Seconds between comparisons, give or take a fifth.
    """

    def __init__(
        self,
        client: KubernetesClient,
        plural: str,
        *,
        offer: Callable[[dict[str, Any]], None],
        withdraw: Callable[[dict[str, Any]], None],
        interval: float,
    ) -> None:
        self._client = client
        self._plural = plural
        self._offer = offer
        self._withdraw = withdraw
        self._interval = interval
        self._catch_up = min(CATCH_UP_SECONDS, interval)
        self._known: dict[str, ObjectVersion] = {}
        self.problem: str | None = f"{plural} not compared with a list yet"

    def saw(self, body: Mapping[str, Any]) -> None:
        """Note what the watch brought."""
        found = ObjectVersion.of(body)
        if self._is_missed(found):
            self._known[found.uid] = found

    def forget(self, body: Mapping[str, Any]) -> None:
        """Note that the watch reported a deletion."""
        self._known.pop(body["metadata"]["uid"], None)

    async def run(self) -> None:
        """Compare now and then, until cancelled."""
        while True:
            await self._compare()
            pause = self._catch_up if self.problem else self._interval
            await asyncio.sleep(next_pause(pause))

    async def _compare(self) -> None:
        # A list shows whatever the watch had brought before it began, or that is gone for good.
        before = list(self._known.values())
        try:
            listed = await self._client.list_versions(self._plural)
            missed, gone = await self._let_catch_up(listed, before)
            amount = await self._make_up(missed, gone)
        except KubernetesError as error:
            problem = f"cannot compare {self._plural} with a list: {error}"
            if problem != self.problem:
                logger.warning(problem)
            self.problem = problem
            metrics.RESYNCS.labels(self._plural, "failed").inc()
            return
        if not amount:
            self._passed()
            return
        self.problem = f"the watch did not bring {amount} changes of {self._plural}"
        logger.error(self.problem)
        metrics.RESYNCS.labels(self._plural, "missed").inc()
        metrics.WATCH_MISSED.labels(self._plural).inc(amount)

    async def _let_catch_up(
        self, listed: list[ObjectVersion], before: list[ObjectVersion]
    ) -> tuple[list[ObjectVersion], list[ObjectVersion]]:
        """Return what the watch does not bring, and what it does not take back, in good time."""
        there = {item.uid for item in listed}
        missed, gone = listed, [item for item in before if item.uid not in there]
        for _ in range(max(int(self._catch_up / POLL_SECONDS), 1)):
            missed = [item for item in missed if self._is_missed(item)]
            gone = [item for item in gone if item.uid in self._known]
            if not missed and not gone:
                break
            await asyncio.sleep(POLL_SECONDS)
        return missed, gone

    async def _make_up(self, missed: list[ObjectVersion], gone: list[ObjectVersion]) -> int:
        """Do what the watch should have caused; return how much of that there was."""
        amount = 0
        for item in gone:
            if self._known.pop(item.uid, None) is not None:
                amount += 1
                self._take_back(item)
        failure: KubernetesError | None = None
        for item in missed:
            if not self._is_missed(item):
                continue
            try:
                body = await self._read(item)
            except KubernetesError as error:
                # One that cannot be read does not hold up the others.
                failure = error
                continue
            if body is not None and self._is_missed(ObjectVersion.of(body)):
                amount += 1
                self._hand_over(body)
        if failure is not None:
            raise failure
        return amount

    async def _read(self, item: ObjectVersion) -> dict[str, Any] | None:
        ref = ObjectRef(plural=self._plural, namespace=item.namespace, name=item.name, uid=item.uid)
        try:
            return await self._client.get(ref)
        except NotFoundError:
            return None

    def _hand_over(self, body: dict[str, Any]) -> None:
        """Offer what was missed; one that cannot be taken does not hold up the others."""
        try:
            self._offer(body)
        except Exception:
            logger.exception("%s: one cannot be taken", self._plural)
        # Tried or taken: it is not brought again before it changes.
        self.saw(body)

    def _take_back(self, item: ObjectVersion) -> None:
        metadata = {
            "namespace": item.namespace,
            "name": item.name,
            "uid": item.uid,
            "resourceVersion": item.resource_version,
        }
        try:
            self._withdraw({"metadata": metadata})
        except Exception:
            logger.exception("%s: one cannot be withdrawn", self._plural)

    def _passed(self) -> None:
        if self.problem is not None:
            logger.info("the watch brings everything", extra={"resource": self._plural})
        self.problem = None
        metrics.RESYNCS.labels(self._plural, "complete").inc()

    def _is_missed(self, item: ObjectVersion) -> bool:
        known = self._known.get(item.uid)
        return known is None or known.number < item.number
