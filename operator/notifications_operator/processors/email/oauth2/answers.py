"""Meanings of a token endpoint's answers (RFC 6749 section 5), and of missing ones.

A token is asked for before anything is sent, so whatever goes wrong concerns the processor alone.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from ....api.reasons import Reason
from ...errors import DeliveryError, Scope
from ..redaction import Redactor

SHOWN = 300
"""Most characters of the endpoint's own words that are repeated."""

LONGEST_TOKEN = 16384
"""Most characters of an access token; SMTP takes fewer."""

LONGEST_LIFE = 24 * 3600.0
"""Seconds for which a token is believed to live at most, whatever the answer says."""

ASSUMED_LIFE = 600.0
"""Seconds that a token lives whose answer does not say so, or nothing that can be."""

LONGEST_PAUSE = 3600.0
"""Most seconds that an endpoint can ask for."""

_TOKEN = re.compile(r"[\x21-\x7e]+")
"""RFC 6750 section 2.1, and whatever else cannot end a line or a field."""

_REFRESH_TOKEN = re.compile(r"[\x20-\x7e]{1,16384}")
"""RFC 6749 appendix A.17."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of the token endpoint, with its body complete."""

    status: int
    content_type: str
    retry_after: str | None
    body: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    """The content of a good answer.

    Attributes
    ----------
    access_token
        The token.
    seconds
        How long it lives from the moment of the request.
    refresh_token
        A refresh token that replaces the one that was used, if there is one.
    """

    access_token: str = field(repr=False)
    seconds: float
    refresh_token: str | None = field(default=None, repr=False)


class TokenRefused(DeliveryError):
    """The endpoint said no, for a reason of RFC 6749 section 5.2.

    Attributes
    ----------
    error_code
        Its ``error``, such as ``invalid_grant``.
    """

    def __init__(
        self, error_code: str, message: str, reason: Reason, *, retry_after: float | None = None
    ) -> None:
        super().__init__(
            reason, message, scope=Scope.PROCESSOR, retryable=True, retry_after=retry_after
        )
        self.error_code = error_code


_REASONS: Mapping[str, Reason] = {
    "invalid_scope": Reason.INVALID_CONFIG,
    "invalid_request": Reason.INVALID_CONFIG,
    "invalid_resource": Reason.INVALID_CONFIG,
    "invalid_target": Reason.INVALID_CONFIG,
    "unsupported_grant_type": Reason.INVALID_CONFIG,
    "temporarily_unavailable": Reason.SERVER_BUSY,
    "server_error": Reason.SERVER_BUSY,
    "slow_down": Reason.RATE_LIMITED,
}
"""RFC 6749 sections 5.2 and 4.1.2.1, RFC 8628 3.5, RFC 8707 2. All others are about who asks:
``invalid_client``, ``invalid_grant``, ``unauthorized_client``, ``access_denied``."""

_REMEDIES: Mapping[str, str] = {
    "invalid_scope": "correct oauth2.scopes",
    "invalid_resource": "correct oauth2.scopes",
    "invalid_target": "correct oauth2.scopes",
    "invalid_request": "check oauth2.tokenUrl (the tenant), clientId and scopes",
    "unsupported_grant_type": "this endpoint does not have oauth2.grant; check it and tokenUrl",
}


def read_answer(
    answer: Answer, *, endpoint: str, remedies: Mapping[str, str], redactor: Redactor
) -> IssuedToken:
    """Return what an answer gives.

    Parameters
    ----------
    endpoint
        How messages name the endpoint.
    remedies
        What to do about an ``error``; those that depend on the grant.
    redactor
        Takes secrets out of what the endpoint says.

    Raises
    ------
    DeliveryError
        If it gives nothing.
    """
    said = _object(answer.body)
    if answer.status != HTTPStatus.OK or (said is not None and "access_token" not in said):
        code = said.get("error") if said is not None else None
        if said is not None and isinstance(code, str):
            raise _refusal(answer, code, said, endpoint, remedies, redactor)
        raise _unhappy(answer, endpoint)
    if said is None:
        raise _lie(endpoint, f"it answered with no JSON object ({_type_of(answer)})")
    token = said["access_token"]
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise _lie(endpoint, "its access_token is none (empty, too long, blanks or control codes)")
    kind = said.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _lie(endpoint, "its token_type is not Bearer")
    return IssuedToken(
        access_token=token,
        seconds=_life(said.get("expires_in")),
        refresh_token=_refresh_token(said.get("refresh_token")),
    )


def no_answer(error: Exception, *, endpoint: str, redactor: Redactor) -> DeliveryError:
    """Say why the endpoint gave no answer, or half of one."""
    words = redactor.cleaned(str(error) or type(error).__name__, SHOWN)
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            reason = Reason.TLS_FAILED
            text = (
                f"{words} (an authority that the system does not know belongs into "
                "transportConfig.tls.caSecretRef)"
            )
        case aiohttp.ClientConnectorDNSError():
            reason, text = Reason.DNS_FAILED, "the name cannot be looked up"
        case TimeoutError():
            reason, text = Reason.TIMEOUT, "no answer in time"
        case _:
            reason, text = Reason.CONNECT_FAILED, words
    return _error(reason, endpoint, text)


def too_large(endpoint: str, limit: int) -> DeliveryError:
    """Say that an answer is larger than any with a token."""
    return _lie(endpoint, f"it answered with more than {limit} octets")


def _refusal(
    answer: Answer,
    code: str,
    said: Mapping[str, Any],
    endpoint: str,
    remedies: Mapping[str, str],
    redactor: Redactor,
) -> TokenRefused:
    busy = _busy(answer.status)
    reason = busy or _REASONS.get(code, Reason.AUTH_FAILED)
    description = said.get("error_description")
    words = redactor.cleaned(
        f"{code}: {description}" if isinstance(description, str) else code, SHOWN
    )
    remedy = remedies.get(code) or _REMEDIES.get(code)
    if remedy is None and reason is Reason.AUTH_FAILED:
        remedy = "check what the application may do there"
    text = f"it answered {answer.status}: {words}"
    return TokenRefused(
        code,
        _message(endpoint, f"{text}; {remedy}" if remedy and not busy else text),
        reason,
        retry_after=_pause(answer.retry_after),
    )


def _unhappy(answer: Answer, endpoint: str) -> DeliveryError:
    """Return the error for an answer that is not one of OAuth 2."""
    status = answer.status
    hint = "is oauth2.tokenUrl right?"
    if (busy := _busy(status)) is not None:
        return _error(busy, endpoint, f"it answered {status}", pause=_pause(answer.retry_after))
    if 300 <= status <= 399:
        return _error(
            Reason.INVALID_CONFIG,
            endpoint,
            f"it answered {status}, a redirect, which secrets do not follow; {hint}",
        )
    if status == HTTPStatus.OK:
        return _lie(endpoint, "it answered without an access_token")
    return _error(
        Reason.INVALID_CONFIG,
        endpoint,
        f"it answered {status} and no error of OAuth 2 ({_type_of(answer)}); {hint}",
    )


def _busy(status: int) -> Reason | None:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Reason.RATE_LIMITED
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= 500:
        return Reason.SERVER_BUSY
    return None


def _life(value: object) -> float:
    """Read ``expires_in``; some endpoints write it as a string."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,12}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ASSUMED_LIFE
    # NaN is not greater than 0 either.
    return float(min(value, LONGEST_LIFE)) if value > 0 else ASSUMED_LIFE


def _refresh_token(value: object) -> str | None:
    return value if isinstance(value, str) and _REFRESH_TOKEN.fullmatch(value) else None


def _pause(retry_after: str | None) -> float | None:
    """Read ``Retry-After``: seconds or a date (RFC 9110 section 10.2.3)."""
    if retry_after is None:
        return None
    if re.fullmatch("[0-9]{1,9}", retry_after):
        return min(float(retry_after), LONGEST_PAUSE)
    try:
        moment = parsedate_to_datetime(retry_after).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - time.time(), 0.0), LONGEST_PAUSE)


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _type_of(answer: Answer) -> str:
    kind = answer.content_type
    return kind if re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+-]+", kind) else "no known type"


def _lie(endpoint: str, text: str) -> DeliveryError:
    return _error(Reason.CONNECT_FAILED, endpoint, f"{text}; is oauth2.tokenUrl right?")


def _error(
    reason: Reason, endpoint: str, text: str, *, pause: float | None = None
) -> DeliveryError:
    return DeliveryError(
        reason,
        _message(endpoint, text),
        scope=Scope.PROCESSOR,
        retryable=True,
        retry_after=pause,
    )


def _message(endpoint: str, text: str) -> str:
    return f"the token endpoint {endpoint}: {text}"
