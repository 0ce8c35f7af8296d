"""The routes by which people read their notifications and choose what they want."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError

from ...api.notification import Severity
from ..errors import InputError, NotFoundError
from ..inbox.inbox import Inbox
from ..inbox.matrix import SettingsMatrix
from ..principals import Access
from .bodies import parse_json
from .queries import (
    NOTIFICATION_PARAMETERS,
    TOPIC_PARAMETERS,
    NotificationQuery,
    ReadAllRequest,
    TopicQuery,
    UpdateRequest,
    check_parameters,
)

ReadBody = Callable[[Request], Awaitable[bytes]]
"""Reads a request's body within bounds."""

MAX_PROBLEMS = 10
"""Most faults of one body that an answer names."""

M = TypeVar("M", bound=BaseModel)


class PayloadBody(BaseModel):
    """What a notification says; upstream's ``NotificationPayload``."""

    title: str
    description: str | None
    link: str | None
    severity: Severity
    topic: str | None
    scope: str | None
    icon: str | None
    metadata: dict[str, Any] | None


class NotificationBody(BaseModel):
    """A notification as one user sees it; upstream's ``Notification``."""

    id: UUID
    user: str | None = Field(description="Whom it is for; null: everybody.")
    created: str
    updated: str | None
    read: str | None
    saved: str | None
    origin: str
    payload: PayloadBody


class PageBody(BaseModel):
    """One page of notifications."""

    totalCount: int  # noqa: N815 - upstream's name
    notifications: list[NotificationBody]


class StatusBody(BaseModel):
    """How many notifications there are."""

    unread: int
    read: int


class TopicsBody(BaseModel):
    """The topics there are, in order."""

    topics: list[str]


class ReadAllBody(BaseModel):
    """How many were unread before."""

    updated: int


def read_router(inbox: Inbox, access: Access, *, read_body: ReadBody) -> APIRouter:
    """Make the routes below ``/api/notifications``; all are for users, of what is theirs alone.

    The query is judged before the credentials, as upstream does; the body after them, as one
    can be made that takes long to read.
    """
    router = APIRouter(tags=["inbox"])

    async def list_notifications(
        request: Request, query: Annotated[NotificationQuery, Query()]
    ) -> JSONResponse:
        """List the user's notifications, the newest first."""
        check_parameters(request, NOTIFICATION_PARAMETERS)
        user = await access.user(request)
        total, found = await inbox.list(user.entity_ref, query.filters(), query.page())
        return JSONResponse(
            {"totalCount": total, "notifications": [item.to_json() for item in found]}
        )

    async def get_notification(request: Request, id: UUID) -> JSONResponse:  # noqa: A002
        """Return one notification."""
        check_parameters(request)
        user = await access.user(request)
        found = await inbox.get(user.entity_ref, id)
        if found is None:
            raise NotFoundError("Not found")
        return JSONResponse(found.to_json())

    async def update_notifications(request: Request) -> JSONResponse:
        """Mark notifications as read or saved, or not; others' are left alone."""
        check_parameters(request)
        given = await read_body(request)
        user = await access.user(request)
        body = _parse(UpdateRequest, parse_json(given))
        found = await inbox.update(
            user.entity_ref, body.parsed_ids(), read=body.read, saved=body.saved
        )
        return JSONResponse([item.to_json() for item in found])

    async def read_all(request: Request) -> JSONResponse:
        """Mark all notifications as read, or those that the filters leave."""
        check_parameters(request)
        given = await read_body(request)
        user = await access.user(request)
        body = _parse(ReadAllRequest, parse_json(given))
        updated = await inbox.mark_all_read(user.entity_ref, body.filters())
        return JSONResponse({"updated": updated})

    async def get_status(request: Request) -> JSONResponse:
        """Count the unread and the read ones."""
        check_parameters(request)
        user = await access.user(request)
        status = await inbox.status(user.entity_ref)
        return JSONResponse({"unread": status.unread, "read": status.read})

    async def get_topics(request: Request, query: Annotated[TopicQuery, Query()]) -> JSONResponse:
        """List the topics of the user's notifications."""
        check_parameters(request, TOPIC_PARAMETERS)
        user = await access.user(request)
        return JSONResponse({"topics": await inbox.topics(user.entity_ref, query.filters())})

    async def get_settings(request: Request) -> JSONResponse:
        """Return what the user gets by which channel."""
        check_parameters(request)
        user = await access.user(request)
        return JSONResponse((await inbox.settings(user.entity_ref)).to_json())

    async def save_settings(request: Request) -> JSONResponse:
        """Replace all that the user chose."""
        check_parameters(request)
        given = await read_body(request)
        user = await access.user(request)
        matrix = _parse(SettingsMatrix, parse_json(given))
        return JSONResponse((await inbox.save_settings(user.entity_ref, matrix)).to_json())

    get, post = router.get, router.post
    update: dict[str, Any] = {
        "response_model": list[NotificationBody],
        "openapi_extra": _body(UpdateRequest.model_json_schema()),
    }
    settings = _body({"$ref": "#/components/schemas/SettingsMatrix"})
    everything = _body(ReadAllRequest.model_json_schema())

    get("/notifications", response_model=PageBody)(list_notifications)
    post("/notifications/update", **update)(update_notifications)
    post("/notifications/read-all", response_model=ReadAllBody, openapi_extra=everything)(read_all)
    get("/notifications/{id:uuid}", response_model=NotificationBody)(get_notification)
    get("/status", response_model=StatusBody)(get_status)
    get("/topics", response_model=TopicsBody)(get_topics)
    get("/settings", response_model=SettingsMatrix)(get_settings)
    post("/settings", response_model=SettingsMatrix, openapi_extra=settings)(save_settings)

    get("", include_in_schema=False)(list_notifications)
    get("/", response_model=PageBody, deprecated=True)(list_notifications)
    get("/{id:uuid}", response_model=NotificationBody, deprecated=True)(get_notification)
    post("/update", deprecated=True, **update)(update_notifications)
    return router


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def _parse(model: type[M], value: Any) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        ]
        raise InputError("; ".join(problems)) from None
