"""Readiness of a processor, as its ``Ready`` condition says it; pure."""

from __future__ import annotations

from dataclasses import dataclass

from ....api.processor import ProcessorReason
from ....api.reasons import Reason
from ....processors.errors import DeliveryError

_UNREACHABLE = frozenset({Reason.SERVER_BUSY, Reason.RATE_LIMITED, Reason.UNKNOWN})
"""Reasons that mean, where a processor cannot be used at all, that nobody is there for it."""


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """State of a processor: ready to send, or the reason against it."""

    ready: bool
    reason: ProcessorReason
    message: str

    @classmethod
    def of(cls, error: DeliveryError) -> Readiness:
        """Return what a failure of the whole processor means for it."""
        return cls(ready=False, reason=_processor_reason(error.reason), message=error.message)


CONNECTED = Readiness(ready=True, reason=ProcessorReason.CONNECTED, message="ready to send")

CONNECTING = Readiness(ready=False, reason=ProcessorReason.CONNECTING, message="not verified yet")


def _processor_reason(reason: Reason) -> ProcessorReason:
    try:
        return ProcessorReason(reason)
    except ValueError:
        unreachable = reason in _UNREACHABLE
        return ProcessorReason.CONNECT_FAILED if unreachable else ProcessorReason.POLICY_DENIED
