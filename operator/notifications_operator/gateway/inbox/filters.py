"""What part of an inbox is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func

from ...api.notification import Severity
from .tables import notification

SEARCH_SEPARATOR = "\n"


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


def conditions(
    filters: Filters,
    *,
    dialect: str,
    read: ColumnElement[datetime | None],
    saved: ColumnElement[datetime | None],
) -> list[ColumnElement[bool]]:
    """Return the filters as SQL.

    Parameters
    ----------
    filters
        What is asked for.
    dialect
        SQLAlchemy's name of the kind of database.
    read, saved
        Where the user's own state is.
    """
    found: list[ColumnElement[bool]] = []
    if filters.read is not None:
        found.append(read.is_not(None) if filters.read else read.is_(None))
    if filters.saved is not None:
        found.append(saved.is_not(None) if filters.saved else saved.is_(None))
    if filters.topic is not None:
        found.append(notification.c.topic == filters.topic)
    if filters.search is not None:
        # Literal, so that % and _ stand for themselves.
        position = func.strpos if dialect == "postgresql" else func.instr
        found.append(position(notification.c.search, filters.search.casefold()) > 0)
    if filters.created_after is not None:
        found.append(notification.c.created >= filters.created_after)
    if filters.minimum_severity is not None:
        found.append(notification.c.severity <= filters.minimum_severity.rank)
    return found
