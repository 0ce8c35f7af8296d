"""Read and saved: what users do with their notifications."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ..signals.outbox import Signal
from .delivering import SIGNAL_CHANNEL
from .filters import Filters, filter_values
from .statements import upsert
from .tables import BROADCAST, broadcast_status, notification
from .views import (
    BROADCAST_READ,
    USER,
    Reader,
    broadcast_conditions,
    own_conditions,
    with_status,
)

IDS_PER_STATEMENT = 1000
"""Bounds the parameters of one statement."""

IDS_PER_SIGNAL = 1000
"""Bounds the length of one message to browsers."""


def chunks(ids: Sequence[UUID], size: int) -> Iterator[Sequence[UUID]]:
    """Yield ids in pieces."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


async def mark_read(
    connection: AsyncConnection, user: str, ids: Sequence[UUID], moment: datetime
) -> list[UUID]:
    """Mark unread ones of some notifications as read; returns which."""
    return await _mark_own(
        connection, user, ids, {"read": moment}, notification.c.read.is_(None)
    ) + await _mark_broadcasts_read(
        connection, user, moment, and_(_is_broadcast(ids), BROADCAST_READ.is_(None))
    )


async def mark_unread(connection: AsyncConnection, user: str, ids: Sequence[UUID]) -> list[UUID]:
    """Mark read ones of some notifications as unread; returns which."""
    mine = await _mark_own(connection, user, ids, {"read": None}, notification.c.read.is_not(None))
    says_now = (
        select(notification.c.identity)
        .where(notification.c.id == broadcast_status.c.notification_id)
        .scalar_subquery()
    )
    statement = (
        update(broadcast_status)
        .where(
            broadcast_status.c.recipient == user,
            broadcast_status.c.notification_id.in_(ids),
            broadcast_status.c.read_identity == says_now,
        )
        .values(read=None, read_identity=None)
        .returning(broadcast_status.c.notification_id)
    )
    return mine + list((await connection.execute(statement)).scalars())


async def mark_saved(
    connection: AsyncConnection, user: str, ids: Sequence[UUID], moment: datetime | None
) -> None:
    """Mark some notifications as saved, or as not saved."""
    change = notification.c.saved.is_(None) if moment else notification.c.saved.is_not(None)
    await _mark_own(connection, user, ids, {"saved": moment}, change)
    if moment is None:
        await connection.execute(
            update(broadcast_status)
            .where(
                broadcast_status.c.recipient == user,
                broadcast_status.c.notification_id.in_(ids),
            )
            .values(saved=None)
        )
        return
    chosen = select(
        notification.c.id, literal(user), literal(moment, broadcast_status.c.saved.type)
    )
    statement = upsert(connection.dialect.name, broadcast_status).from_select(
        ["notification_id", "recipient", "saved"], chosen.where(_is_broadcast(ids))
    )
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["notification_id", "recipient"],
            set_={"saved": statement.excluded.saved},
            where=broadcast_status.c.saved.is_(None),
        )
    )


async def mark_every_read(
    connection: AsyncConnection, reader: Reader, filters: Filters, moment: datetime
) -> list[UUID]:
    """Mark all that the filters leave as read, in one statement each; returns which were not."""
    dialect = connection.dialect.name
    asked = reader.values() | filter_values(filters)
    mine = and_(notification.c.read.is_(None), *own_conditions(filters, dialect))
    statement = (
        update(notification)
        .where(mine.params(asked))
        .values(read=moment)
        .returning(notification.c.id)
    )
    changed = list((await connection.execute(statement)).scalars())
    theirs = broadcast_conditions(filters, dialect, muted=bool(reader.muted))
    condition = and_(BROADCAST_READ.is_(None), *theirs).params(asked)
    return changed + await _mark_broadcasts_read(connection, reader.user, moment, condition)


def read_signals(user: str, ids: Sequence[UUID], *, read: bool) -> list[Signal]:
    """Return what tells a user's other pages that these were marked."""
    action = "notification_read" if read else "notification_unread"
    return [
        Signal(
            users=(user,),
            channel=SIGNAL_CHANNEL,
            message={"action": action, "notification_ids": [str(id_) for id_ in part]},
        )
        for part in chunks(ids, IDS_PER_SIGNAL)
    ]


def _is_broadcast(ids: Sequence[UUID]) -> ColumnElement[bool]:
    return and_(notification.c.recipient == BROADCAST, notification.c.id.in_(ids))


async def _mark_own(
    connection: AsyncConnection,
    user: str,
    ids: Sequence[UUID],
    values: dict[str, Any],
    condition: ColumnElement[bool],
) -> list[UUID]:
    statement = (
        update(notification)
        .where(notification.c.recipient == user, notification.c.id.in_(ids), condition)
        .values(values)
        .returning(notification.c.id)
    )
    return list((await connection.execute(statement)).scalars())


async def _mark_broadcasts_read(
    connection: AsyncConnection, user: str, moment: datetime, condition: ColumnElement[bool]
) -> list[UUID]:
    chosen = (
        select(
            notification.c.id,
            USER,
            literal(moment, broadcast_status.c.read.type),
            notification.c.identity,
        )
        .select_from(with_status())
        .where(condition)
    )
    statement = upsert(connection.dialect.name, broadcast_status).from_select(
        ["notification_id", "recipient", "read", "read_identity"], chosen
    )
    new, old = statement.excluded, broadcast_status.c
    marked = statement.on_conflict_do_update(
        index_elements=["notification_id", "recipient"],
        set_={"read": new.read, "read_identity": new.read_identity},
        where=or_(old.read_identity.is_(None), old.read_identity != new.read_identity),
    ).returning(old.notification_id)
    return list((await connection.execute(marked, {"asked_user": user})).scalars())
