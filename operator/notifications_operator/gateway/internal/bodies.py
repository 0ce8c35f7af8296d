"""Bodies of the internal API: read with bounds, and checked strictly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Self, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from starlette.requests import ClientDisconnect, Request

from ...api import notification as api
from ...api.messages import describe_validation_error
from ..errors import InputError, PayloadTooLargeError
from ..inbox.types import Payload, Row, pack_sequence

BODY_LIMIT = 1024 * 1024
"""Most octets of a body: the largest payload of the API and a full batch have about half of it."""

BODY_SECONDS = 30.0
"""Seconds in which a body must arrive."""

ROW_LIMIT = 1000
"""Most rows of one batch."""

BIGINT = 2**63 - 1

User = Annotated[str, StringConstraints(max_length=256, pattern=r"^(user:[^\s/:]+/[^\s/:]+)?$")]
Moment = Annotated[
    AwareDatetime,
    Field(strict=True, ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC)),
]
"""A moment whose sequence fits into 64 bits."""

Origin = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Channel = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Body(BaseModel):
    """What every body has in common: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeliveredPayload(api.Payload):
    """The payload, within the bounds of the Notification resource, and nothing else."""

    model_config = ConfigDict(extra="forbid")


class DeliveredNotification(Body):
    """Which Notification is delivered, and what it says."""

    uid: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    namespace: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    revision: Annotated[int, Field(ge=0, le=BIGINT, strict=True)]
    redelivery: Annotated[int, Field(ge=0, le=BIGINT, strict=True)]
    origin: Origin
    created: Moment
    payload: DeliveredPayload


class DeliveredRow(Body):
    """One recipient; an empty user is everybody."""

    user: User
    identity: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Batch(Body):
    """Rows of one Notification, handed over under one acquisition of the Lease."""

    epoch: Annotated[int, Field(ge=0, le=BIGINT, strict=True)]
    notification: DeliveredNotification
    rows: Annotated[list[DeliveredRow], Field(min_length=1, max_length=ROW_LIMIT)]

    @model_validator(mode="after")
    def _users_are_unique(self) -> Self:
        if len({row.user for row in self.rows}) < len(self.rows):
            raise ValueError("rows name one user twice")
        return self

    def to_rows(self) -> Sequence[Row]:
        """Return what the inbox takes."""
        notification = self.notification
        payload = _payload(notification.payload)
        sequence = pack_sequence(
            notification.created, notification.revision + notification.redelivery
        )
        return [
            Row(
                user=row.user,
                uid=notification.uid,
                sequence=sequence,
                identity=row.identity,
                origin=notification.origin,
                created=notification.created,
                payload=payload,
            )
            for row in self.rows
        ]


class Question(Body):
    """Who wants what is sent by an origin about a topic, page by page."""

    origin: Origin
    topic: Annotated[str, StringConstraints(max_length=255)] | None = None
    channels: Annotated[list[Channel], Field(min_length=1, max_length=64)]
    after: Annotated[str, StringConstraints(max_length=256)] | None = None


B = TypeVar("B", bound=Body)


async def read_body(request: Request, model: type[B]) -> B:
    """Read and check the body of a request.

    Raises
    ------
    PayloadTooLargeError
        If it has more than `BODY_LIMIT` octets; no more of it is read.
    InputError
        If it is not as the model says, the message names the field; or if it does not come.
    """
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                data += chunk
                if len(data) > BODY_LIMIT:
                    raise PayloadTooLargeError(f"The body has more than {BODY_LIMIT} octets")
    except (ClientDisconnect, TimeoutError) as error:
        raise InputError("The body did not arrive as a whole") from error
    try:
        return model.model_validate_json(bytes(data))
    except ValidationError as error:
        raise InputError(describe_validation_error(error)) from error


def _payload(payload: api.Payload) -> Payload:
    return Payload(
        title=payload.title,
        description=payload.description,
        link=payload.link,
        severity=payload.severity,
        topic=payload.topic,
        scope=payload.scope,
        icon=payload.icon,
        metadata=payload.metadata or None,
    )
