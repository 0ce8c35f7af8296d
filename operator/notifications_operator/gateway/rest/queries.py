"""What is asked of the reading routes, in queries and bodies, as upstream names and reads it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated
from uuid import UUID

from fastapi import Request
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StrictBool,
    StrictStr,
)

from ...api.notification import Severity
from ..errors import InputError
from ..inbox.filters import ORDER_FIELDS, Filters, Order, Page

LARGEST_NUMBER = 2_147_483_647
"""Largest ``limit`` and ``offset``."""

MAX_IDS = 25_000
"""Most ids of one request; they are 36 characters each, so that a body holds no more anyway."""

_YEAR_OR_MONTH = re.compile(r"[0-9]{4}(-[0-9]{2})?")


def parse_date(text: str) -> datetime:
    """Read a date as ``Date.parse`` reads its standard forms: ISO 8601, or that of RFC 5322.

    Without a zone it is UTC.

    Raises
    ------
    ValueError
        If it is neither, or no date of the years 1 to 9999.
    """
    text = text.strip()
    if _YEAR_OR_MONTH.fullmatch(text):
        text = f"{text}-01-01"[:10]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            raise ValueError("Unexpected date format") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("Unexpected date format") from None


def parse_order(text: str) -> Order:
    """Read ``field`` or ``field,asc`` or ``field,desc``.

    Raises
    ------
    ValueError
        If there is no such field or direction.
    """
    field, comma, direction = text.partition(",")
    if field not in ORDER_FIELDS:
        raise ValueError(f"cannot sort by {field[:64]!r}; valid: {', '.join(ORDER_FIELDS)}")
    if comma and direction not in ("asc", "desc"):
        raise ValueError(f"{direction[:64]!r} is no direction; valid: asc, desc")
    return Order(field=field, descending=direction == "desc")


def _check_date(text: str) -> str:
    if text:
        parse_date(text)
    return text


def _check_order(text: str) -> str:
    parse_order(text)
    return text


def _check_id(text: str) -> str:
    try:
        UUID(text)
    except ValueError:
        raise ValueError(f"{text[:64]!r} is no UUID") from None
    return text


def _refuse_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


DateText = Annotated[str, AfterValidator(_check_date)]
OrderText = Annotated[str, AfterValidator(_check_order)]
PlainText = Annotated[str, Field(max_length=1000), AfterValidator(_refuse_nul)]
SeverityText = Annotated[str, Field(pattern=f"^({'|'.join(Severity)})$")]
IdText = Annotated[StrictStr, AfterValidator(_check_id)]
Flag = Annotated[str, Field(pattern="^(true|false)$")]
Count = Annotated[int, Field(ge=0, le=LARGEST_NUMBER)]


class TopicQuery(BaseModel):
    """Which notifications; what is left out leaves the choice open."""

    model_config = ConfigDict(populate_by_name=True)

    search: PlainText | None = None
    """Text in title or description, in any case and literally."""

    read: Flag | None = None
    saved: Flag | None = None

    created_after: DateText | None = Field(None, alias="createdAfter")
    """The earliest creation time, itself included: ISO 8601 or RFC 5322, UTC without a zone."""

    minimum_severity: SeverityText | None = Field(None, alias="minimumSeverity")
    """This severity and the more severe."""

    def filters(self) -> Filters:
        """Return what is asked for; an empty text counts as none, as upstream."""
        return Filters(
            read=_flag(self.read),
            saved=_flag(self.saved),
            search=self.search or None,
            created_after=_moment(self.created_after),
            minimum_severity=_severity(self.minimum_severity),
        )


class NotificationQuery(TopicQuery):
    """Which notifications, in which order, and which part of them."""

    topic: PlainText | None = None

    limit: Count | None = None
    """Most notifications of the answer; without it, all."""

    offset: Count = 0

    order_field: list[OrderText] = Field([], alias="orderField", max_length=len(ORDER_FIELDS))
    """``field``, ``field,asc`` or ``field,desc``; several sort within each other."""

    def filters(self) -> Filters:
        """Return what is asked for, the topic included."""
        return replace(super().filters(), topic=self.topic or None)

    def page(self) -> Page:
        """Return the part that is asked for."""
        return Page(
            limit=self.limit,
            offset=self.offset,
            order=tuple(parse_order(text) for text in self.order_field),
        )


class UpdateRequest(BaseModel):
    """Which notifications to mark, and how; ``null`` or nothing leaves a mark as it is."""

    ids: Annotated[list[IdText], Field(max_length=MAX_IDS), FailFast()]
    read: StrictBool | None = None
    saved: StrictBool | None = None

    def parsed_ids(self) -> list[UUID]:
        """Return the ids."""
        return [UUID(text) for text in self.ids]


class ReadAllRequest(BaseModel):
    """Which notifications to mark as read: those that the filters leave, or all.

    A misspelt filter is refused: it would mark everything.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    search: PlainText | None = None
    saved: StrictBool | None = None
    topic: PlainText | None = None
    created_after: DateText | None = Field(None, alias="createdAfter")
    minimum_severity: SeverityText | None = Field(None, alias="minimumSeverity")

    def filters(self) -> Filters:
        """Return what is asked for."""
        return Filters(
            saved=self.saved,
            topic=self.topic or None,
            search=self.search or None,
            created_after=_moment(self.created_after),
            minimum_severity=_severity(self.minimum_severity),
        )


def _flag(text: str | None) -> bool | None:
    return None if text is None else text == "true"


def _moment(text: str | None) -> datetime | None:
    return parse_date(text) if text else None


def _severity(text: str | None) -> Severity | None:
    return Severity(text) if text else None


TOPIC_PARAMETERS = frozenset({"search", "read", "saved", "createdAfter", "minimumSeverity"})
NOTIFICATION_PARAMETERS = TOPIC_PARAMETERS | {"topic", "limit", "offset", "orderField"}
_REPEATABLE = frozenset({"orderField"})


def check_parameters(request: Request, known: Collection[str] = ()) -> None:
    """Refuse query parameters that a route does not have, as upstream does.

    Raises
    ------
    InputError
        Naming the parameter that is unknown or that is given twice.
    """
    for name in request.query_params:
        if name not in known:
            valid = f"; valid: {', '.join(sorted(known))}" if known else ""
            raise InputError(f"Unknown query parameter '{name[:64]}'{valid}")
        if name not in _REPEATABLE and len(request.query_params.getlist(name)) > 1:
            raise InputError(f"Query parameter '{name}' is given twice")
