"""The sends of one Notification that are under way, and outcomes that are not recorded yet."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from ...api.reasons import Reason
from ...catalog import Directory
from ...processors.base import OutboundNotification
from ...processors.errors import DeliveryError, Outcome, Receipt, Scope, Skip
from ...telemetry import metrics
from ..dispatch.supervisor import Supervisor
from ..ledger.refused_messages import RefusedMessages
from ..ledger.rows import Row

ClaimKey = tuple[str, str, str]
"""Processor, recipient and holder: what tells one claim of a row from the next."""


def claim_key(row: Row) -> ClaimKey:
    """Return what identifies the claim that a row carries."""
    return (row.processor, row.recipient, row.holder or "")


@dataclass(frozen=True, kw_only=True)
class Result:
    """An outcome, with all that its record must not vary by."""

    outcome: Outcome
    moment: datetime
    jitter: float


class Sends:
    """Starts sends and keeps their outcomes until they are recorded."""

    def __init__(self, supervisor: Supervisor, *, wake: Callable[[], None]) -> None:
        self._supervisor = supervisor
        self._wake = wake
        self._in_flight: dict[ClaimKey, asyncio.Task[None]] = {}
        self._results: dict[ClaimKey, Result] = {}
        self.refused = RefusedMessages()

    @property
    def results(self) -> Mapping[ClaimKey, Result]:
        """Outcomes that are not known to be recorded, by the claim they belong to.

        One row may have two: the answer that recorded the first was lost, and with it the news of
        the claim that came after.
        """
        return self._results

    @property
    def in_flight(self) -> int:
        """How many deliveries are being sent."""
        return len(self._in_flight)

    def concerns(self, row: Row) -> bool:
        """Whether a row's claim was acted upon: it is being sent or has an outcome."""
        claim = claim_key(row)
        return claim in self._in_flight or claim in self._results

    def recorded(self, claims: Sequence[ClaimKey]) -> None:
        """Forget outcomes that are stored, or that will never be."""
        for claim in claims:
            self._results.pop(claim, None)

    def launch(
        self,
        processor: str,
        rows: Sequence[Row],
        outbound: OutboundNotification,
        directory: Directory,
        *,
        may_send: Callable[[], bool],
        epoch: int,
    ) -> None:
        """Start to send rows that were claimed under an epoch, in the processor's batches."""
        channel = self._supervisor.get(processor)
        size = channel.max_batch if channel else 1
        verdict = partial(self.refused.verdict, processor, outbound)
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            sending = self._send(batch, outbound, directory, may_send, epoch, verdict)
            task = asyncio.create_task(sending)
            self._in_flight.update({claim_key(row): task for row in batch})

    def abandon(self) -> None:
        """Stop sends that are still under way; what they did is in doubt."""
        for task in self._in_flight.values():
            task.cancel()

    async def _send(
        self,
        rows: Sequence[Row],
        outbound: OutboundNotification,
        directory: Directory,
        may_send: Callable[[], bool],
        epoch: int,
        verdict: Callable[[], DeliveryError | None],
    ) -> None:
        processor = rows[0].processor
        channel = self._supervisor.get(processor)
        recipients = [row.recipient for row in rows]
        # Whatever happens, each claim gets an outcome: without one it stays claimed for ever.
        outcomes: Sequence[Outcome] | None = None
        try:
            if channel is None:
                outcomes = [_gone(processor)] * len(rows)
            else:
                outcomes = await channel.send(
                    outbound,
                    recipients,
                    directory,
                    may_send=may_send,
                    epoch=epoch,
                    verdict=verdict,
                )
        except Exception as error:
            self._supervisor.background.report(f"sending through {processor}", error)
        finally:
            self._note(outbound, rows, [_in_doubt()] * len(rows) if outcomes is None else outcomes)

    def _note(
        self, outbound: OutboundNotification, rows: Sequence[Row], outcomes: Sequence[Outcome]
    ) -> None:
        """Take the outcomes of a batch, which is under way no more."""
        for row, outcome in zip(rows, outcomes, strict=True):
            metrics.attempts(row.processor, _result_label(outcome)).inc()
            self.refused.note(row.processor, outbound, outcome)
            del self._in_flight[claim_key(row)]
            self._results[claim_key(row)] = Result(
                outcome=outcome,
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


def _in_doubt() -> DeliveryError:
    return DeliveryError(
        Reason.AMBIGUOUS,
        "the operator failed unexpectedly while it sent; it may have been sent",
        scope=Scope.MESSAGE,
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
