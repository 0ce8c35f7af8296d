"""An inbox as SQL: a user's own notifications and the broadcasts, as that user sees them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, reduce
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Executable,
    FromClause,
    Row,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    select,
    true,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.sql.base import ColumnCollection, ReadOnlyColumnCollection
from sqlalchemy.sql.selectable import CompoundSelect

from ...api.notification import Severity
from ..columns import Moment
from .filters import Filters, Order, Page, Texts, conditions, filter_values, shape
from .tables import BROADCAST, broadcast_status, notification
from .types import InboxNotification, MutedBroadcasts, Payload

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

BROADCAST_READ: ColumnElement[datetime | None] = case(
    (broadcast_status.c.read_identity == notification.c.identity, broadcast_status.c.read)
)
"""A broadcast is read if what was read is what it says now."""


USER = bindparam("asked_user", type_=Text())
_SINCE = bindparam("asked_since", type_=Moment())
_MUTED_ORIGINS: BindParameter[Any] = bindparam("asked_muted_origins", type_=Text(), expanding=True)
_MUTED_TOPICS: BindParameter[Any] = bindparam("asked_muted_topics", expanding=True)
_LIMIT = bindparam("asked_limit", type_=BigInteger())
_OFFSET = bindparam("asked_offset", type_=BigInteger())
_MOST = bindparam("asked_most", type_=BigInteger())
_IDS = bindparam("asked_ids", type_=Uuid(), expanding=True)

_EVERY = 2**62
"""A limit that is none: SQLite knows an offset only with a limit."""

_SHAPES = 64
"""Statements of a kind that are kept: building one takes longer than PostgreSQL takes to answer it.
Each takes up to half a megabyte, compiled, and users can ask for any number of orders."""


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
        Which broadcasts the user does not want.
    """

    user: str
    since: datetime
    muted: MutedBroadcasts = field(default_factory=MutedBroadcasts)

    def values(self) -> dict[str, Any]:
        """Return what the statements have parameters for."""
        values: dict[str, Any] = {"asked_user": self.user, "asked_since": self.since}
        if not self.muted:
            return values
        return values | {
            "asked_muted_origins": sorted(self.muted.origins),
            "asked_muted_topics": sorted(self.muted.topics),
        }


Query = tuple[Executable, Mapping[str, Any]]
"""A statement and its parameters."""


def own() -> ColumnElement[bool]:
    """Return the condition that a notification is addressed to the user."""
    return notification.c.recipient == USER


def broadcast(*, muted: bool) -> ColumnElement[bool]:
    """Return the condition that a notification is a broadcast that the user is to see."""
    condition = and_(
        notification.c.recipient == BROADCAST,
        func.coalesce(notification.c.updated, notification.c.delivered) >= _SINCE,
    )
    if not muted:
        return condition
    source = tuple_(notification.c.origin, func.coalesce(notification.c.topic, ""))
    return and_(
        condition, notification.c.origin.not_in(_MUTED_ORIGINS), source.not_in(_MUTED_TOPICS)
    )


def with_status() -> FromClause:
    """Return the notifications joined with what the user did with the broadcasts."""
    return notification.outerjoin(broadcast_status, _status_of_user())


def _status_of_user() -> ColumnElement[bool]:
    return and_(
        broadcast_status.c.notification_id == notification.c.id,
        broadcast_status.c.recipient == USER,
    )


def own_conditions(
    filters: Filters, dialect: str, texts: Texts = Texts.ALL
) -> list[ColumnElement[bool]]:
    """Return what holds for the user's own notifications that are asked for."""
    state = notification.c
    asked = conditions(filters, dialect=dialect, read=state.read, saved=state.saved, texts=texts)
    return [own(), *asked]


def _own_parts(filters: Filters, dialect: str) -> list[list[ColumnElement[bool]]]:
    """Return the same in parts without overlap, each for an index."""
    if filters.search is None:
        return [own_conditions(filters, dialect)]
    return [own_conditions(filters, dialect, texts) for texts in (Texts.HEADS, Texts.LONG)]


def broadcast_conditions(
    filters: Filters, dialect: str, *, muted: bool
) -> list[ColumnElement[bool]]:
    """Return what holds for the broadcasts that are asked for."""
    saved = broadcast_status.c.saved
    return [
        broadcast(muted=muted),
        *conditions(filters, dialect=dialect, read=BROADCAST_READ, saved=saved),
    ]


def _select_own() -> Select[Any]:
    return select(*_COLUMNS, notification.c.read, notification.c.saved)


def _select_broadcasts() -> Select[Any]:
    columns = select(*_COLUMNS, BROADCAST_READ.label("read"), broadcast_status.c.saved)
    return columns.select_from(with_status())


def page_query(reader: Reader, filters: Filters, page: Page, *, dialect: str) -> Query:
    """Return what selects one page of an inbox, and in each row how many there are in all.

    There is one row at least: that of an empty page has no id.
    """
    limit = _EVERY if page.limit is None else page.limit
    asked = shape(filters), bool(reader.muted), dialect
    if page.limit is not None and not page.order:
        statement = _newest(*asked)
    else:
        statement = _ordered(*asked, page.order, page.limit is not None)
    return statement, {
        **reader.values(),
        **filter_values(filters),
        "asked_limit": limit,
        "asked_offset": page.offset,
        # What is not on the page must be counted nevertheless.
        "asked_most": max(limit + page.offset, 1),
    }


@lru_cache(_SHAPES)
def _newest(filters: Filters, muted: bool, dialect: str) -> Select[Any]:
    """Select the newest: the index alone tells which they are, and few rows are read."""
    keys = select(notification.c.id, notification.c.created, notification.c.delivered)
    everyones = broadcast_conditions(filters, dialect, muted=muted)
    branches = [
        *(keys.where(*part) for part in _own_parts(filters, dialect)),
        keys.select_from(with_status()).where(*everyones),
    ]
    total: ColumnElement[int]
    if filters.search is None:
        total = _count(filters, muted, dialect)
        found = _union(_first(branch) for branch in branches).subquery()
    else:
        # A search looks at all there are: once, for the page and for the count.
        searched = [
            _first(branch.add_columns(func.count().over().label("every"))).cte(f"searched_{number}")
            for number, branch in enumerate(branches)
        ]
        every = [
            select(func.coalesce(func.max(part.c.every), 0)).scalar_subquery() for part in searched
        ]
        total = reduce(operator.add, every)
        found = union_all(*(select(part) for part in searched)).subquery()
    newest = _ordering(found.c)
    chosen = select(found.c.id).order_by(*newest).limit(_LIMIT).offset(_OFFSET).subquery()
    count = select(total.label("total")).subquery()
    rows = count.outerjoin(chosen, true()).outerjoin(notification, notification.c.id == chosen.c.id)
    columns = select(
        count.c.total,
        *_COLUMNS,
        # Of the two states of one notification only one is ever set.
        func.coalesce(notification.c.read, BROADCAST_READ).label("read"),
        func.coalesce(notification.c.saved, broadcast_status.c.saved).label("saved"),
    )
    return columns.select_from(rows.outerjoin(broadcast_status, _status_of_user())).order_by(
        *_ordering(notification.c)
    )


@lru_cache(_SHAPES)
def _ordered(
    filters: Filters, muted: bool, dialect: str, order: tuple[Order, ...], limited: bool
) -> Select[Any]:
    """Select in any order, or all there are."""
    everyones = broadcast_conditions(filters, dialect, muted=muted)
    branches = [
        *(_select_own().where(*part) for part in _own_parts(filters, dialect)),
        _select_broadcasts().where(*everyones),
    ]
    if limited:
        branches = [_first(branch, order) for branch in branches]
    both = _union(branches).subquery()
    page = select(both).order_by(*_ordering(both.c, order)).limit(_LIMIT).offset(_OFFSET)
    count = select(_count(filters, muted, dialect).label("total")).subquery()
    rows = page.subquery()
    columns = select(count.c.total, *rows.c).select_from(count.outerjoin(rows, true()))
    return columns.order_by(*_ordering(rows.c, order))


def _first(branch: Select[Any], order: tuple[Order, ...] = ()) -> Select[Any]:
    """Select what could be on the page, in order, so that an index can stop early."""
    return branch.order_by(*_ordering(branch.selected_columns, order)).limit(_MOST)


def _union(branches: Iterable[Select[Any]]) -> CompoundSelect[Any]:
    # Each within a select of its own: SQLite takes no order or limit in a part of a union.
    return union_all(*(select(branch.subquery()) for branch in branches))


def _ordering(
    columns: ColumnCollection[str, Any] | ReadOnlyColumnCollection[str, Any],
    order: tuple[Order, ...] = (),
) -> list[ColumnElement[Any]]:
    found: list[ColumnElement[Any]] = []
    for item in (*order, *_NEWEST_FIRST):
        column = _shown_recipient(columns) if item.field == "user" else columns[item.field]
        if item.field in _NEVER_NULL:
            found.append(column.desc() if item.descending else column.asc())
        else:
            # As PostgreSQL by default: nothing is the greatest.
            found.append(
                column.desc().nulls_first() if item.descending else column.asc().nulls_last()
            )
    return [*found, columns["id"].desc()]


def _shown_recipient(
    columns: ColumnCollection[str, Any] | ReadOnlyColumnCollection[str, Any],
) -> ColumnElement[str | None]:
    """Return the user as answers show it: a broadcast has none."""
    return func.nullif(columns["recipient"], BROADCAST)


_NEWEST_FIRST = (Order(field="created", descending=True), Order(field="delivered", descending=True))
_NEVER_NULL = frozenset({"id", "origin", "title", "severity", "created", "delivered"})


def _count(filters: Filters, muted: bool, dialect: str) -> ColumnElement[int]:
    """Return the number of notifications that the filters leave."""
    counts = [
        select(func.count()).select_from(notification).where(*part)
        for part in _own_parts(filters, dialect)
    ]
    everyones = (
        select(func.count())
        .select_from(with_status())
        .where(*broadcast_conditions(filters, dialect, muted=muted))
    )
    every = [count.scalar_subquery() for count in (*counts, everyones)]
    return reduce(operator.add, every)


def status_query(reader: Reader) -> Query:
    """Return what counts the unread, and all there are."""
    return _status(bool(reader.muted)), reader.values()


@lru_cache(_SHAPES)
def _status(muted: bool) -> Select[tuple[int, int]]:
    mine = select(func.count()).select_from(notification).where(own())
    unread = mine.where(notification.c.read.is_(None)).scalar_subquery()
    everyones = (
        select(
            func.count().label("every"),
            func.count().filter(BROADCAST_READ.is_(None)).label("unread"),
        )
        .select_from(with_status())
        .where(broadcast(muted=muted))
    ).subquery()
    return select(unread + everyones.c.unread, mine.scalar_subquery() + everyones.c.every)


def topics_query(reader: Reader, filters: Filters, *, dialect: str) -> Query:
    """Return what selects the topics of what the filters leave, in order."""
    statement = _topics(shape(filters), bool(reader.muted), dialect)
    return statement, reader.values() | filter_values(filters)


@lru_cache(_SHAPES)
def _topics(filters: Filters, muted: bool, dialect: str) -> CompoundSelect[tuple[str | None]]:
    some = notification.c.topic.is_not(None)
    topic = select(notification.c.topic).distinct().where(some)
    everyones = topic.select_from(with_status()).where(
        *broadcast_conditions(filters, dialect, muted=muted)
    )
    mine = [topic.where(*part) for part in _own_parts(filters, dialect)]
    return union(*mine, everyones).order_by("topic")


def visible_query(reader: Reader, ids: Sequence[UUID]) -> Query:
    """Return what selects those of some notifications that a user may see, muted ones too."""
    return _visible(), reader.values() | {"asked_ids": list(ids)}


@lru_cache(_SHAPES)
def _visible() -> Select[Any]:
    chosen = notification.c.id.in_(_IDS)
    both = union_all(
        _select_own().where(own(), chosen),
        _select_broadcasts().where(broadcast(muted=False), chosen),
    ).subquery()
    return select(both).order_by(*_ordering(both.c))


def plain_query(ids: Sequence[UUID]) -> Query:
    """Return what selects notifications by id, as nobody's: broadcasts have no marks."""
    return _select_own().where(notification.c.id.in_(_IDS)), {"asked_ids": list(ids)}


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
