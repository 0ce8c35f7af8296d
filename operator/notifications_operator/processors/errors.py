"""What a processor says of a delivery: a receipt, a skip, or an error with its consequences."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..api.reasons import Reason


class Scope(StrEnum):
    """Reach of a refusal, on which the engine acts."""

    RECIPIENT = "recipient"
    """One delivery: it is tried again or fails, and nothing else changes."""

    MESSAGE = "message"
    """The message itself: a refusal for good ends the Notification's other deliveries too."""

    PROCESSOR = "processor"
    """Everything that the processor sends: it pauses, and no delivery fails because of it."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The next hop took responsibility for the message (RFC 5321 section 4.2.5)."""

    message: str = ""
    code: int | None = None
    enhanced_code: str | None = None


@dataclass(frozen=True, kw_only=True)
class Skip:
    """The recipient is left out on purpose; nothing was sent and nothing will be."""

    reason: Reason
    message: str


class DeliveryError(Exception):
    """A delivery that did not succeed.

    Parameters
    ----------
    reason
        Why. `Reason.AMBIGUOUS` says that the message was completely sent and the answer lost, so
        that nobody knows whether it was accepted.
    message
        For people; must not contain secrets.
    scope
        What is affected. `Scope.PROCESSOR` promises that nothing was sent, or that sending it
        again changes nothing: it opens the processor's breaker and costs the recipient no attempt.
    retryable
        Whether trying again later can help.
    retry_after
        Lower bound in seconds for the next attempt, when the other side named one; for a whole
        processor, of its next trial.
    code
        Reply code of the protocol, such as 550.
    enhanced_code
        Enhanced status code (RFC 3463), such as ``5.1.1``.
    conclusive
        Whether the other side said whose fault it is. A permanent refusal that did not is judged
        by evidence: what other deliveries of the processor meet with.
    signature
        What identifies the same refusal of two deliveries: the other side's answer without
        addresses, hosts, numbers and identifiers. ``None``: `reason`, `code` and `enhanced_code`
        are compared.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        scope: Scope,
        retryable: bool,
        retry_after: float | None = None,
        code: int | None = None,
        enhanced_code: str | None = None,
        conclusive: bool = True,
        signature: str | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.scope = scope
        self.retryable = retryable
        self.retry_after = retry_after
        self.code = code
        self.enhanced_code = enhanced_code
        self.conclusive = conclusive
        self.signature = signature


class LeaseLost(DeliveryError):
    """The process ceased to lead before the delivery was sent; the next leader will send it."""

    def __init__(self) -> None:
        super().__init__(
            Reason.UNKNOWN,
            "the operator lost its Lease before this was sent",
            scope=Scope.PROCESSOR,
            retryable=True,
        )


class InvalidProcessorConfig(Exception):
    """The configuration cannot work; the message names field, value and what is valid."""


class SecretNotFound(Exception):
    """A Secret, or a key of it, that the processor needs is not there; the message names both."""


Outcome = Receipt | Skip | DeliveryError
