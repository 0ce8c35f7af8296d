"""What a request can come to, and upstream's envelope for it.

The names and statuses are those of ``@backstage/errors`` and of the error middleware of
``@backstage/backend-defaults`` (``MiddlewareFactory.error``).
"""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

logger = logging.getLogger(__name__)


class GatewayError(Exception):
    """A request that is answered with an error; the message is for whoever asked."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    name: ClassVar[str] = "Error"

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the answer carries."""
        return {}


class InputError(GatewayError):
    """The request is not as it must be."""

    status = HTTPStatus.BAD_REQUEST
    name = "InputError"


class AuthenticationError(GatewayError):
    """It is not known who asks."""

    status = HTTPStatus.UNAUTHORIZED
    name = "AuthenticationError"

    @property
    def headers(self) -> dict[str, str]:
        """RFC 9110 section 15.5.2 asks for a challenge."""
        return {"WWW-Authenticate": "Bearer"}


class SessionEndedError(AuthenticationError):
    """A browser shows a session that has ended, as every one does: nobody is guessing.

    Parameters
    ----------
    set_cookie
        Header by which the browser forgets it.
    """

    def __init__(self, message: str, *, set_cookie: str) -> None:
        super().__init__(message)
        self._set_cookie = set_cookie

    @property
    def headers(self) -> dict[str, str]:
        """The challenge, and the cookie that replaces the old one."""
        return {**super().headers, "Set-Cookie": self._set_cookie}


class NotAllowedError(GatewayError):
    """Whoever asks may not do this."""

    status = HTTPStatus.FORBIDDEN
    name = "NotAllowedError"


class NotFoundError(GatewayError):
    """There is no such thing, or not for whoever asks."""

    status = HTTPStatus.NOT_FOUND
    name = "NotFoundError"


class ConflictError(GatewayError):
    """Something that happened meanwhile is against it."""

    status = HTTPStatus.CONFLICT
    name = "ConflictError"


class _UnreadError(GatewayError):
    """The body was not read to its end, so that nothing can follow it on the connection."""

    @property
    def headers(self) -> dict[str, str]:
        """RFC 9112 section 9.6."""
        return {"Connection": "close"}


class RequestTimeoutError(_UnreadError):
    """The body did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    name = "RequestTimeoutError"


class PayloadTooLargeError(_UnreadError):
    """The body is larger than the gateway reads."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    name = "PayloadTooLargeError"


class UnsupportedMediaTypeError(GatewayError):
    """The body is of a kind that the gateway does not read."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    name = "UnsupportedMediaTypeError"


class UnprocessableError(GatewayError):
    """The request contradicts an earlier one with the same ``Idempotency-Key``."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    name = "UnprocessableError"


class _TryAgainError(GatewayError):
    """Something that passes; ``retry_after`` is in seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """RFC 9110 section 10.2.3: whole seconds."""
        return {"Retry-After": str(max(round(self.retry_after), 1))}


class TooManyRequestsError(_TryAgainError):
    """Whoever asks has asked for too much."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    name = "TooManyRequestsError"


class ServiceUnavailableError(_TryAgainError):
    """Something that the gateway needs is away."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    name = "ServiceUnavailableError"


def envelope(request: Request, status: int, name: str, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {
        "error": {"name": name, "message": message},
        "request": {"method": request.method, "url": request.url.path},
        "response": {"statusCode": status},
    }


def install_error_handlers(application: FastAPI) -> None:
    """Answer all errors with upstream's envelope."""
    application.add_exception_handler(GatewayError, _answer_gateway_error)
    application.add_exception_handler(HTTPException, _answer_http_exception)
    application.add_exception_handler(RequestValidationError, _answer_validation_error)
    application.add_exception_handler(Exception, _answer_fault)


async def _answer_gateway_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GatewayError)
    body = envelope(request, error.status, error.name, str(error))
    return JSONResponse(body, status_code=error.status, headers=error.headers)


async def _answer_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    name = "NotFoundError" if error.status_code == HTTPStatus.NOT_FOUND else "InputError"
    body = envelope(request, error.status_code, name, str(error.detail))
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _answer_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [
        f"{'.'.join(map(str, item['loc'][1:])) or item['loc'][0]}: {item['msg']}"
        for item in error.errors()
    ]
    body = envelope(request, HTTPStatus.BAD_REQUEST, "InputError", "; ".join(problems))
    return JSONResponse(body, status_code=HTTPStatus.BAD_REQUEST)


async def _answer_fault(request: Request, error: Exception) -> JSONResponse:
    """Answer what nobody foresaw: the client learns where to look, and nothing else."""
    log_id = secrets.token_hex(8)
    logger.error("a request failed (logId=%s)", log_id, exc_info=error)
    body = envelope(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Error",
        f"An internal error occurred logId={log_id}",
    )
    return JSONResponse(body, status_code=HTTPStatus.INTERNAL_SERVER_ERROR)
