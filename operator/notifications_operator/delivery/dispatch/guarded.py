"""Calls into processors, which may be plugins: their faults stay theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from pydantic import ValidationError

from ...api.messages import describe_validation_error
from ...api.processor import NotificationProcessorSpec
from ...api.reasons import Reason
from ...catalog import Directory
from ...processors.base import (
    Audience,
    OutboundNotification,
    Processor,
    ProcessorContext,
    SecretKey,
    SendContext,
    Target,
)
from ...processors.errors import (
    DeliveryError,
    InvalidProcessorConfig,
    Outcome,
    Receipt,
    Scope,
    SecretNotFound,
    Skip,
)
from ...telemetry.redaction import redact

logger = logging.getLogger(__name__)


def secret_keys(kind: type[Processor], spec: NotificationProcessorSpec) -> Sequence[SecretKey]:
    """Return the Secret keys that a processor needs; raises `InvalidProcessorConfig`."""
    try:
        return list(kind.secret_keys(spec))
    except Exception as error:
        raise _unusable(error) from error


def create(kind: type[Processor], context: ProcessorContext) -> Processor:
    """Make a processor; raises `InvalidProcessorConfig` or `SecretNotFound`."""
    try:
        made = kind.create(context)
        concurrency = made.limits.concurrency
    except Exception as error:
        raise _unusable(error) from error
    if concurrency < 1:
        raise InvalidProcessorConfig(f"the concurrency is {concurrency}; it must be at least 1")
    return made


async def verify(processor: Processor) -> None:
    """Check that sending could work; raises nothing but a `DeliveryError` of the processor."""
    try:
        await processor.verify()
    except DeliveryError as error:
        # Whatever a plugin thinks that it is about: a trial is about no delivery.
        error.scope, error.retryable = Scope.PROCESSOR, True
        raise
    except Exception as error:
        logger.exception("processor failed to verify", extra={"processor": processor.name})
        raise DeliveryError(
            Reason.INVALID_CONFIG, _describe(error), scope=Scope.PROCESSOR, retryable=True
        ) from error


def decorate(processor: Processor, notification: OutboundNotification) -> OutboundNotification:
    """Let a processor decorate a notification; a failing one leaves it as it is."""
    try:
        decorated = processor.decorate(notification)
        if not isinstance(decorated, OutboundNotification):
            raise TypeError(f"decorate returned {type(decorated).__name__}")  # noqa: TRY301
    except Exception:
        logger.exception("processor failed to decorate", extra={"processor": processor.name})
        return notification
    return decorated


def remembers(processor: Processor, user: str) -> bool:
    """Ask a processor whether it can send to a user whom the catalog has lost."""
    try:
        return processor.remembers(user) is True
    except Exception:
        logger.exception("processor failed to remember", extra={"processor": processor.name})
        return False


def targets(
    processor: Processor, notification: OutboundNotification, audience: Audience
) -> Sequence[Target] | None:
    """Return whom a processor would reach, or ``None`` if it fails to say."""
    try:
        found = list(processor.targets(notification, audience))
        if not all(isinstance(item, Target) for item in found):
            raise TypeError("targets returned something else than targets")  # noqa: TRY301
    except Exception:
        logger.exception("processor failed to name targets", extra={"processor": processor.name})
        return None
    return found


async def send(
    processor: Processor,
    notification: OutboundNotification,
    recipients: Sequence[str],
    context: SendContext,
) -> list[Outcome]:
    """Send; one outcome for each recipient, whatever the processor does.

    What a processor leaves unsaid is in doubt: nobody knows what it has sent. Secrets are taken
    out of what it says at once, as they may be forgotten before it is recorded.
    """
    try:
        outcomes = list(await processor.send(notification, recipients, context))
        if len(outcomes) != len(recipients):
            raise ValueError(  # noqa: TRY301
                f"{len(outcomes)} outcomes for {len(recipients)} recipients"
            )
        if not all(isinstance(item, Receipt | Skip | DeliveryError) for item in outcomes):
            raise TypeError("send returned something else than outcomes")  # noqa: TRY301
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return _in_doubt(processor, error, recipients)
    except Exception as error:
        return _in_doubt(processor, error, recipients)
    return [_redacted(outcome) for outcome in outcomes]


def domain(processor: Processor, recipient: str, directory: Directory) -> str:
    """Return the domain of a recipient's address; the recipient if a processor fails to say."""
    try:
        return str(processor.domain(recipient, directory))
    except Exception:
        logger.exception("processor failed to name a domain", extra={"processor": processor.name})
        return recipient


async def close(processor: Processor) -> None:
    """Let a processor let go of its connections."""
    try:
        await processor.close()
    except Exception:
        logger.exception("processor failed to close", extra={"processor": processor.name})


def _redacted(outcome: Outcome) -> Outcome:
    if isinstance(outcome, DeliveryError):
        outcome.message = redact(outcome.message)
        return outcome
    message = redact(outcome.message)
    return outcome if message == outcome.message else replace(outcome, message=message)


def _in_doubt(
    processor: Processor, error: BaseException, recipients: Sequence[str]
) -> list[Outcome]:
    logger.error("processor failed to send", exc_info=error, extra={"processor": processor.name})
    reason = Reason.UNKNOWN if processor.idempotent else Reason.AMBIGUOUS
    outcome = DeliveryError(reason, _describe(error), scope=Scope.MESSAGE, retryable=True)
    return [outcome] * len(recipients)


def _unusable(error: Exception) -> InvalidProcessorConfig | SecretNotFound:
    match error:
        case InvalidProcessorConfig() | SecretNotFound():
            return error
        case ValidationError():
            return InvalidProcessorConfig(describe_validation_error(error))
        case _:
            logger.error("processor cannot be made", exc_info=error)
            return InvalidProcessorConfig(_describe(error))


def _describe(error: BaseException) -> str:
    return f"the processor failed unexpectedly: {type(error).__name__}"
