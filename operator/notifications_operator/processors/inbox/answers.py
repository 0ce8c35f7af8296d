"""What the gateway's answers, and missing answers, mean for deliveries.

A batch can be repeated without effect, so a lost answer is no doubt: it concerns the processor,
which pauses, and costs the recipients nothing.
"""

from __future__ import annotations

import json
import re

import aiohttp

from ...api.reasons import Reason
from ..errors import DeliveryError, Scope

SHOWN = 300
"""Most characters of the gateway's own words that are repeated."""


def no_answer(error: Exception) -> DeliveryError:
    """Say why the gateway gave no answer, or half of one."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            reason, text = Reason.TLS_FAILED, _describe(error)
        case aiohttp.ClientConnectorDNSError():
            reason, text = Reason.DNS_FAILED, _describe(error)
        case TimeoutError():
            reason, text = Reason.TIMEOUT, "no answer in time"
        case _:
            reason, text = Reason.CONNECT_FAILED, _describe(error)
    return DeliveryError(reason, f"the gateway: {text}", scope=Scope.PROCESSOR, retryable=True)


def refusal(status: int, retry_after: str | None, answer: bytes) -> DeliveryError:
    """Say what an answer other than 200 means."""
    message = f"the gateway answered {status}{_words(answer)}"
    match status:
        case 401:
            reason, scope, retryable = Reason.AUTH_FAILED, Scope.PROCESSOR, True
        case 403 | 409:
            reason, scope, retryable = Reason.POLICY_DENIED, Scope.PROCESSOR, True
        case 400 | 422:
            # Not for good: one of the two may be of an older release, until it is replaced.
            reason, scope, retryable = Reason.CONTENT_REJECTED, Scope.MESSAGE, True
        case 413:
            reason, scope, retryable = Reason.TOO_LARGE, Scope.MESSAGE, False
        case 429 | 502 | 503 | 504:
            reason, scope, retryable = Reason.SERVER_BUSY, Scope.PROCESSOR, True
        case 500:
            # A fault that one notification meets must not stop the others.
            reason, scope, retryable = Reason.UNKNOWN, Scope.MESSAGE, True
        case _:
            message += "; is gateway.url its internal port?"
            reason, scope, retryable = Reason.CONNECT_FAILED, Scope.PROCESSOR, True
    return DeliveryError(
        reason,
        message,
        scope=scope,
        retryable=retryable,
        retry_after=_seconds(retry_after),
        code=status,
    )


def _seconds(retry_after: str | None) -> float | None:
    """Read ``Retry-After`` in seconds (RFC 9110 section 10.2.3); our gateway sends no dates."""
    if retry_after is None or not re.fullmatch("[0-9]{1,9}", retry_after):
        return None
    return float(retry_after)


def _words(answer: bytes) -> str:
    """Return the message of upstream's error envelope, if it is one."""
    try:
        message = json.loads(answer)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return ""
    return f": {message[:SHOWN]}" if isinstance(message, str) else ""


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__
