"""Messages that the other side refused for good; their other deliveries are not tried.

The ledger says so on the processor of its snapshot, which an edit of the Notification replaces
and a redelivery clears. What was not stored before a crash costs one more attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...api.notification import DeliveryState
from ...api.reasons import Reason
from ...processors.base import OutboundNotification
from ...processors.errors import DeliveryError, Outcome, Scope
from ...telemetry.redaction import redact
from .ledger import UNSENT, Ledger, Selection
from .outcomes import NotTried
from .rows import MESSAGE_LIMIT, end

_Occasion = tuple[int, int, str | None, str | None]
"""Revision, redelivery, redeliver value and recipients: another message, or another attempt."""


@dataclass(kw_only=True)
class _Refusal:
    """A refusal of the message; its occasion is known once a ledger was seen with it."""

    revision: int
    redelivery: int
    error: NotTried
    occasion: _Occasion | None = None


class RefusedMessages:
    """Refusals of one Notification's message that this process has seen, by processor."""

    def __init__(self) -> None:
        self._refusals: dict[str, _Refusal] = {}

    def note(self, processor: str, outbound: OutboundNotification, outcome: Outcome) -> None:
        """Take in an outcome; only a permanent refusal of the message itself counts."""
        if (
            isinstance(outcome, DeliveryError)
            and outcome.scope is Scope.MESSAGE
            and outcome.conclusive
            and not outcome.retryable
            and not isinstance(outcome, NotTried)
        ):
            self._refusals[processor] = _Refusal(
                revision=outbound.revision,
                redelivery=outbound.redelivery,
                error=NotTried(outcome),
            )

    def verdict(self, processor: str, outbound: OutboundNotification) -> NotTried | None:
        """Return why a message need not be sent any more, if so."""
        refusal = self._refusals.get(processor)
        if refusal is None:
            return None
        of = (refusal.revision, refusal.redelivery)
        return refusal.error if of == (outbound.revision, outbound.redelivery) else None

    def mark(self, ledger: Ledger) -> None:
        """Say in a ledger what was refused, and forget refusals of another occasion."""
        occasion = _occasion(ledger)
        for processor, refusal in list(self._refusals.items()):
            if refusal.occasion is None and occasion[:2] == (refusal.revision, refusal.redelivery):
                refusal.occasion = occasion
            selection = ledger.processors.get(processor)
            if refusal.occasion != occasion or selection is None:
                del self._refusals[processor]
            elif selection.reason is None or selection.message_refused:
                error = refusal.error
                ledger.processors[processor] = Selection(
                    name=processor,
                    reason=str(error.reason),
                    message=redact(error.message)[:MESSAGE_LIMIT],
                    code=error.code,
                    enhanced_code=error.enhanced_code,
                )


def end_refused(ledger: Ledger) -> None:
    """End what is not sent of messages that were refused; what is claimed is recorded."""
    for selection in ledger.processors.values():
        if not selection.message_refused or selection.reason is None:
            continue
        for row in ledger.in_state(*UNSENT):
            if row.processor == selection.name and row.revision == ledger.revision:
                ended = end(
                    row, DeliveryState.FAILED, Reason(selection.reason), selection.message or ""
                )
                ledger.put(
                    replace(ended, code=selection.code, enhanced_code=selection.enhanced_code)
                )


def forget_refused(ledger: Ledger) -> None:
    """Let messages be tried again that were refused."""
    for name, selection in ledger.processors.items():
        if selection.message_refused:
            ledger.processors[name] = Selection(name=name)


def _occasion(ledger: Ledger) -> _Occasion:
    return (
        ledger.revision,
        ledger.redelivery,
        ledger.last_redeliver,
        ledger.recipients_digest,
    )
