"""``POST /notifications``: services send."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ..callers.limits import CallerRates
from ..errors import InputError
from ..principals import Access
from ..sending.answer import Answers
from ..sending.names import check_key
from ..sending.request import parse_request
from ..sending.sender import Sender
from .bodies import BodyLimits, parse_json, read_body
from .document import SEND
from .queries import check_parameters

RESOURCE_HEADER = "Notification-Resource"
"""Names the Notification that an answer is about: ``<namespace>/<name>``."""

RESPOND_ASYNC = "respond-async"
"""Preference not to wait for the rows (RFC 7240 section 4.1)."""


def sending_router(
    sender: Sender, answers: Answers, access: Access, *, rates: CallerRates, limits: BodyLimits
) -> APIRouter:
    """Return the route to send by and its deprecated alias, below ``/api/notifications``."""
    router = APIRouter()

    async def send(request: Request) -> JSONResponse:
        check_parameters(request)
        key = _idempotency_key(request)
        body = await read_body(request, limits)
        caller = await access.service(request)
        rates.check(caller)
        wanted = parse_request(parse_json(body))
        if wanted.recipients is None:
            return JSONResponse([])
        stored = await sender.send(wanted, caller=caller, key=key)
        at_once = _prefers(request, RESPOND_ASYNC)
        rows = await answers.answer(wanted, stored, origin=caller.subject, wait=not at_once)
        headers = {RESOURCE_HEADER: f"{stored.namespace}/{stored.name}"}
        if at_once:
            headers["Preference-Applied"] = RESPOND_ASYNC
        return JSONResponse([row.to_json() for row in rows], headers=headers)

    document: dict[str, Any] = {"openapi_extra": SEND, "response_model": None}
    router.add_api_route(
        "/notifications", send, methods=["POST"], operation_id="createNotification", **document
    )
    router.add_api_route(
        "/",
        send,
        methods=["POST"],
        operation_id="createNotificationDeprecated",
        deprecated=True,
        **document,
    )
    router.add_api_route("", send, methods=["POST"], include_in_schema=False)
    return router


def _idempotency_key(request: Request) -> str | None:
    """Return the key of draft-ietf-httpapi-idempotency-key-header, taken as it stands."""
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise InputError("Idempotency-Key: must be given once")
    return check_key(keys[0]) if keys else None


def _prefers(request: Request, preference: str) -> bool:
    """Tell whether a preference is among those of the ``Prefer`` headers (RFC 7240 section 2)."""
    given = ",".join(request.headers.getlist("prefer")).split(",")
    return preference in (item.split(";")[0].strip().lower() for item in given)
