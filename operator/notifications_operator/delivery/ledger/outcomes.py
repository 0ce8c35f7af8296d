"""Outcomes that the engine adds to those of processors."""

from __future__ import annotations

from ...processors.errors import DeliveryError, Scope


class Held(DeliveryError):
    """A refusal that may be the processor's fault: it costs no attempt and is tried again soon.

    Parameters
    ----------
    error
        The refusal.
    seconds
        After how long the delivery is tried again.
    """

    def __init__(self, error: DeliveryError, seconds: float) -> None:
        super().__init__(
            error.reason,
            f"{error.message}; tried again until it is clear whether others are refused too",
            scope=Scope.RECIPIENT,
            retryable=True,
            retry_after=seconds,
            code=error.code,
            enhanced_code=error.enhanced_code,
            conclusive=False,
            signature=error.signature,
        )
        self.refusal = error


class NotTried(DeliveryError):
    """A delivery that ends before it began, as its message was refused for another recipient."""

    def __init__(self, error: DeliveryError) -> None:
        super().__init__(
            error.reason,
            f"not tried: the server refused this message for another recipient: {error.message}",
            scope=Scope.MESSAGE,
            retryable=False,
            code=error.code,
            enhanced_code=error.enhanced_code,
        )


def charged(error: DeliveryError) -> DeliveryError:
    """Return a processor's refusal as one of the delivery alone: it costs an attempt.

    What the other side asked of the whole processor does not hold for the delivery.
    """
    return DeliveryError(
        error.reason,
        error.message,
        scope=Scope.RECIPIENT,
        retryable=True,
        code=error.code,
        enhanced_code=error.enhanced_code,
    )
