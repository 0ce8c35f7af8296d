"""An inbox as SQL: a user's own notifications and the broadcasts, as that user sees them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    Select,
    and_,
    case,
    func,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.sql.selectable import CompoundSelect

from ...api.notification import Severity
from .filters import Filters, Order, Page, conditions
from .tables import BROADCAST, broadcast_status, notification
from .types import InboxNotification, Payload

_SEVERITIES = tuple(Severity)

_COLUMNS = tuple(
    notification.c[name]
    for name in (
        "id",
        "recipient",
        "origin",
        "title",
        "description",
        "link",
        "severity",
        "topic",
        "scope",
        "icon",
        "metadata",
        "created",
        "delivered",
        "updated",
    )
)

NEWEST_FIRST = (Order(field="created", descending=True), Order(field="delivered", descending=True))

BROADCAST_READ: ColumnElement[datetime | None] = case(
    (broadcast_status.c.read_identity == notification.c.identity, broadcast_status.c.read)
)
"""A broadcast is read if what was read is what it says now."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Who looks.

    Attributes
    ----------
    user
        The user's entity ref.
    since
        What was broadcast before is not the user's.
    muted
        Origins and topics whose broadcasts the user does not want; an empty topic is none.
    """

    user: str
    since: datetime
    muted: Collection[tuple[str, str]] = ()


def own(user: str) -> ColumnElement[bool]:
    """Return the condition that a notification is addressed to a user."""
    return notification.c.recipient == user


def broadcast(reader: Reader) -> ColumnElement[bool]:
    """Return the condition that a notification is a broadcast that a user is to see."""
    condition = and_(
        notification.c.recipient == BROADCAST,
        func.coalesce(notification.c.updated, notification.c.delivered) >= reader.since,
    )
    if not reader.muted:
        return condition
    source = tuple_(notification.c.origin, func.coalesce(notification.c.topic, ""))
    return and_(condition, source.not_in(sorted(reader.muted)))


def with_status(user: str) -> FromClause:
    """Return the notifications joined with what a user did with the broadcasts."""
    return notification.outerjoin(
        broadcast_status,
        and_(
            broadcast_status.c.notification_id == notification.c.id,
            broadcast_status.c.recipient == user,
        ),
    )


def select_own(user: str) -> Select[Any]:
    """Select a user's own notifications."""
    return select(*_COLUMNS, notification.c.read, notification.c.saved).where(own(user))


def select_broadcasts(reader: Reader) -> Select[Any]:
    """Select the broadcasts, with what a user did with them."""
    return (
        select(*_COLUMNS, BROADCAST_READ.label("read"), broadcast_status.c.saved)
        .select_from(with_status(reader.user))
        .where(broadcast(reader))
    )


def select_plain(ids: Sequence[UUID]) -> Select[Any]:
    """Select notifications by id, as nobody's: broadcasts are neither read nor saved."""
    columns = select(*_COLUMNS, notification.c.read, notification.c.saved)
    return columns.where(notification.c.id.in_(ids))


def _filtered(
    reader: Reader, filters: Filters, dialect: str
) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    mine = conditions(
        filters, dialect=dialect, read=notification.c.read, saved=notification.c.saved
    )
    everyones = conditions(
        filters, dialect=dialect, read=BROADCAST_READ, saved=broadcast_status.c.saved
    )
    return [own(reader.user), *mine], [broadcast(reader), *everyones]


def select_page(reader: Reader, filters: Filters, page: Page, *, dialect: str) -> Select[Any]:
    """Select one page of an inbox."""
    mine, everyones = _filtered(reader, filters, dialect)
    branches = [
        select_own(reader.user).where(*mine),
        select_broadcasts(reader).where(*everyones),
    ]
    if page.limit is not None:
        # Each half brings what could be on the page, in order, so that an index can stop early.
        most = page.offset + page.limit
        branches = [
            branch.order_by(*_ordering(branch, page.order)).limit(most) for branch in branches
        ]
    both = union_all(*(select(branch.subquery()) for branch in branches)).subquery()
    statement = select(both).order_by(*_ordering(select(both), page.order))
    if page.limit is not None:
        statement = statement.limit(page.limit)
    elif page.offset:
        # SQLite knows an offset only with a limit.
        statement = statement.limit(_ALL)
    return statement.offset(page.offset) if page.offset else statement


_ALL = 2**62


def _ordering(statement: Select[Any], order: Iterable[Order]) -> list[ColumnElement[Any]]:
    columns = statement.selected_columns
    found: list[ColumnElement[Any]] = []
    asked = tuple(order)
    descending = asked[0].descending if asked else True
    for item in (*asked, *NEWEST_FIRST):
        column = columns["recipient" if item.field == "user" else item.field]
        if item.field in _NEVER_NULL:
            found.append(column.desc() if item.descending else column.asc())
        else:
            # As PostgreSQL by default: nothing is the greatest.
            found.append(
                column.desc().nulls_first() if item.descending else column.asc().nulls_last()
            )
    identity = columns["id"]
    return [*found, identity.desc() if descending else identity.asc()]


_NEVER_NULL = frozenset({"id", "user", "origin", "title", "severity", "created", "delivered"})


def select_count(reader: Reader, filters: Filters, *, dialect: str) -> Select[tuple[int]]:
    """Select how many notifications the filters leave."""
    mine, everyones = _filtered(reader, filters, dialect)
    count = select(func.count()).select_from(notification).where(*mine).scalar_subquery()
    others = (
        select(func.count()).select_from(with_status(reader.user)).where(*everyones)
    ).scalar_subquery()
    return select(count + others)


def select_status(reader: Reader) -> Select[tuple[int, int]]:
    """Select how many are unread, and how many there are."""
    unread = (
        select(func.count())
        .select_from(notification)
        .where(own(reader.user), notification.c.read.is_(None))
    ).scalar_subquery()
    every = select(func.count()).select_from(notification).where(own(reader.user)).scalar_subquery()
    theirs = (
        select(
            func.count().label("every"),
            func.count().filter(BROADCAST_READ.is_(None)).label("unread"),
        )
        .select_from(with_status(reader.user))
        .where(broadcast(reader))
    ).subquery()
    return select(unread + theirs.c.unread, every + theirs.c.every)


def select_topics(reader: Reader, filters: Filters, *, dialect: str) -> CompoundSelect[tuple[str]]:
    """Select the topics of what the filters leave, in order."""
    mine, everyones = _filtered(reader, filters, dialect)
    topic = notification.c.topic
    some = topic.is_not(None)
    own_topics = select(topic).distinct().where(*mine, some)
    broadcast_topics = (
        select(topic).distinct().select_from(with_status(reader.user)).where(*everyones, some)
    )
    return own_topics.union(broadcast_topics).order_by("topic")


def select_visible(reader: Reader, ids: Sequence[UUID]) -> Select[Any]:
    """Select those of some notifications that a user may see; muted ones are among them."""
    seeing = Reader(user=reader.user, since=reader.since)
    chosen = notification.c.id.in_(ids)
    both = union_all(
        select_own(reader.user).where(chosen), select_broadcasts(seeing).where(chosen)
    ).subquery()
    return select(both).order_by(*_ordering(select(both), ()))


def from_row(row: Row[Any]) -> InboxNotification:
    """Read a selected row."""
    return InboxNotification(
        id=row.id,
        user=row.recipient or None,
        created=row.created,
        updated=row.updated,
        read=row.read,
        saved=row.saved,
        origin=row.origin,
        payload=Payload(
            title=row.title,
            description=row.description,
            link=row.link,
            severity=_SEVERITIES[row.severity],
            topic=row.topic,
            scope=row.scope,
            icon=row.icon,
            metadata=row.metadata,
        ),
    )
