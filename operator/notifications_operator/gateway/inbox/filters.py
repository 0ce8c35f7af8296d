"""What part of an inbox is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, SmallInteger, Text, bindparam, func, or_

from ...api.notification import Severity
from ..columns import Moment
from .tables import notification

SEARCH_SEPARATOR = "\n"

SEARCH_HEAD = 400
"""Characters of the searched text that are in an index: PostgreSQL's tuples there have at most
2,704 bytes."""


class Texts(Enum):
    """Where a search looks."""

    HEADS = "heads"
    """At the beginnings, which are in an index."""
    LONG = "long"
    """At what is longer than that, unless its beginning has it."""
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which notifications; ``None`` leaves the choice open.

    Attributes
    ----------
    search
        Text that the title or the description contains, in any case and literally.
    created_after
        The earliest creation time, itself included.
    minimum_severity
        This one and the more severe.
    """

    read: bool | None = None
    saved: bool | None = None
    topic: str | None = None
    search: str | None = None
    created_after: datetime | None = None
    minimum_severity: Severity | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """One field to sort by, a name of `ORDER_FIELDS`."""

    field: str
    descending: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which of them, in which order; by default the newest first."""

    limit: int | None = None
    offset: int = 0
    order: tuple[Order, ...] = ()


ORDER_FIELDS = (
    "created",
    "topic",
    "origin",
    "severity",
    "title",
    "updated",
    "read",
    "saved",
    "scope",
    "icon",
    "user",
    "id",
)
"""What can be sorted by; severities from the most severe on."""


def search_text(title: str, description: str | None) -> str:
    """Return the text in which a search looks."""
    return f"{title}{SEARCH_SEPARATOR}{description or ''}".casefold()


_TOPIC = bindparam("asked_topic", type_=Text())
_SEARCH = bindparam("asked_search", type_=Text())
_CREATED_AFTER = bindparam("asked_created_after", type_=Moment())
_SEVERITY = bindparam("asked_severity", type_=SmallInteger())


def shape(filters: Filters) -> Filters:
    """Return filters that have the same statement: with values that do not matter to it."""
    return Filters(
        read=filters.read,
        saved=filters.saved,
        topic=None if filters.topic is None else "",
        search=None if filters.search is None else "",
        created_after=None if filters.created_after is None else datetime.min,
        minimum_severity=None if filters.minimum_severity is None else Severity.LOW,
    )


def filter_values(filters: Filters) -> dict[str, Any]:
    """Return what `conditions` has parameters for."""
    severity = filters.minimum_severity
    return {
        "asked_topic": filters.topic,
        "asked_search": None if filters.search is None else filters.search.casefold(),
        "asked_created_after": filters.created_after,
        "asked_severity": None if severity is None else severity.rank,
    }


def conditions(
    filters: Filters,
    *,
    dialect: str,
    read: ColumnElement[datetime | None],
    saved: ColumnElement[datetime | None],
    texts: Texts = Texts.ALL,
) -> list[ColumnElement[bool]]:
    """Return the filters as SQL, with parameters for their values.

    Parameters
    ----------
    filters
        What is asked for.
    dialect
        SQLAlchemy's name of the kind of database.
    read, saved
        Where the user's own state is.
    texts
        Where a search looks.
    """
    found: list[ColumnElement[bool]] = []
    if filters.read is not None:
        found.append(read.is_not(None) if filters.read else read.is_(None))
    if filters.saved is not None:
        found.append(saved.is_not(None) if filters.saved else saved.is_(None))
    if filters.topic is not None:
        found.append(notification.c.topic == _TOPIC)
    if filters.search is not None:
        found += _search_conditions(dialect, texts)
    if filters.created_after is not None:
        found.append(notification.c.created >= _CREATED_AFTER)
    if filters.minimum_severity is not None:
        found.append(notification.c.severity <= _SEVERITY)
    return found


def _search_conditions(dialect: str, texts: Texts) -> list[ColumnElement[bool]]:
    # Literal, so that % and _ stand for themselves.
    position = func.strpos if dialect == "postgresql" else func.instr
    head = position(notification.c.search_head, _SEARCH)
    whole = notification.c.search_whole
    match texts:
        case Texts.HEADS:
            return [head > 0]
        case Texts.LONG:
            return [whole.is_not(None), head == 0, position(whole, _SEARCH) > 0]
        case Texts.ALL:
            return [or_(head > 0, position(whole, _SEARCH) > 0)]
