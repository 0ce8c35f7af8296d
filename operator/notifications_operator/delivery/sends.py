"""The sends of one Notification that are under way, and outcomes that are not recorded yet."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..api.notification import Delivery
from ..api.reasons import Reason
from ..catalog import Directory
from ..processors.base import OutboundNotification
from ..processors.errors import DeliveryError, Outcome, Receipt, Scope, Skip
from ..telemetry import metrics
from .ledger import RowKey
from .supervisor import Supervisor


@dataclass(frozen=True, kw_only=True)
class Result:
    """An outcome, with the claim it belongs to and all that its record must not vary by."""

    outcome: Outcome
    holder: str | None
    moment: datetime
    jitter: float


class Sends:
    """Starts sends and keeps their outcomes until they are recorded."""

    def __init__(self, supervisor: Supervisor, *, wake: Callable[[], None]) -> None:
        self._supervisor = supervisor
        self._wake = wake
        self._in_flight: dict[RowKey, asyncio.Task[None]] = {}
        self._results: dict[RowKey, Result] = {}

    @property
    def results(self) -> Mapping[RowKey, Result]:
        """Outcomes that are not recorded."""
        return self._results

    @property
    def in_flight(self) -> bool:
        """Whether anything is being sent."""
        return bool(self._in_flight)

    def concerns(self, key: RowKey) -> bool:
        """Whether a row is being sent, or has an outcome that is not recorded."""
        return key in self._in_flight or key in self._results

    def recorded(self, keys: Sequence[RowKey]) -> None:
        """Forget outcomes that are stored, or that will never be."""
        for key in keys:
            self._results.pop(key, None)

    def launch(
        self,
        processor: str,
        rows: Sequence[Delivery],
        outbound: OutboundNotification,
        directory: Directory,
    ) -> None:
        """Start to send claimed rows, in the processor's batches."""
        channel = self._supervisor.get(processor)
        size = channel.max_batch if channel else 1
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            task = asyncio.create_task(self._send(batch, outbound, directory))
            self._in_flight.update({row.key: task for row in batch})

    def abandon(self) -> None:
        """Stop sends that are still under way; what they did is in doubt."""
        for task in self._in_flight.values():
            task.cancel()

    async def _send(
        self, rows: Sequence[Delivery], outbound: OutboundNotification, directory: Directory
    ) -> None:
        processor = rows[0].processor
        channel = self._supervisor.get(processor)
        recipients = [row.recipient for row in rows]
        if channel is None:
            outcomes: Sequence[Outcome] = [_gone(processor)] * len(rows)
        else:
            outcomes = await channel.send(outbound, recipients, directory)
        for row, outcome in zip(rows, outcomes, strict=True):
            metrics.count_attempt(processor, _result_label(outcome))
            del self._in_flight[row.key]
            self._results[row.key] = Result(
                outcome=outcome,
                holder=row.holder,
                moment=datetime.now(UTC),
                jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
            )
        self._wake()


def _gone(processor: str) -> DeliveryError:
    return DeliveryError(
        Reason.PROCESSOR_NOT_FOUND,
        f"the NotificationProcessor {processor!r} was deleted before it sent",
        scope=Scope.PROCESSOR,
        retryable=True,
    )


def _result_label(outcome: Outcome) -> str:
    match outcome:
        case Receipt():
            return "sent"
        case Skip():
            return "skipped"
        case DeliveryError(reason=reason):
            return reason
