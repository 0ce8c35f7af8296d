"""What the operator delivers becomes rows: a later one of the same id overwrites, nothing doubles.

All of it is safe to repeat: an older sequence or an equal identity changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, and_, null, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from ..signals.outbox import Signal, append
from .filters import search_head, search_text
from .ids import clean_text, row_id
from .statements import upsert
from .tables import notification
from .types import Change, InboxNotification, Payload, Row

SIGNAL_CHANNEL = "notifications"
"""Upstream's channel of signals."""

SIGNAL_LIMIT = 4096
"""Most characters of a notification that goes along with its signal; upstream's clients fetch it
anyway."""


async def deliver(
    connection: AsyncConnection, rows: Sequence[Row], *, moment: datetime
) -> list[tuple[UUID, Change]]:
    """Store rows and the signals of what changed; returns id and change of each, in their order."""
    identified = [_identified(row) for row in rows]
    results: dict[int, tuple[UUID, Change]] = {}
    fresh: dict[UUID, InboxNotification] = {}
    for round_ in _rounds([id_ for id_, _ in identified]):
        batch = {identified[index][0]: identified[index][1] for index in round_}
        written = await _write(connection, batch, moment)
        kept = await _identities(connection, [id_ for id_ in batch if id_ not in written])
        for index in round_:
            id_, row = identified[index]
            if (stored := written.get(id_)) is not None:
                change = Change.INSERTED if stored["updated"] is None else Change.UPDATED
                fresh[id_] = _seen(id_, row, stored)
            elif kept.get(id_) == row.identity:
                change = Change.UNCHANGED
            else:
                change = Change.SUPERSEDED
            results[index] = (id_, change)
    await append(connection, [_signal(item) for item in fresh.values()])
    return [results[index] for index in range(len(rows))]


def _identified(row: Row) -> tuple[UUID, Row]:
    payload = row.payload
    cleaned = Payload(
        title=clean_text(payload.title),
        description=_optional(payload.description),
        link=_optional(payload.link),
        severity=payload.severity,
        # Upstream takes an empty text for none.
        topic=_optional(payload.topic) or None,
        scope=_optional(payload.scope) or None,
        icon=_optional(payload.icon) or None,
        metadata=_clean_json(payload.metadata),
    )
    row = replace(row, user=clean_text(row.user), origin=clean_text(row.origin), payload=cleaned)
    return row_id(origin=row.origin, scope=cleaned.scope, uid=row.uid, user=row.user), row


def _optional(text: str | None) -> str | None:
    return None if text is None else clean_text(text)


def _clean_json(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return JSON that every parser reads: no numbers beyond it, no halves of characters."""
    if not value:
        return None
    text = clean_text(json.dumps(value, ensure_ascii=False))
    cleaned: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return cleaned


def _rounds(ids: Sequence[UUID]) -> Iterator[list[int]]:
    """Split positions so that no id is twice in one round: one statement writes a row once."""
    left = list(range(len(ids)))
    while left:
        seen: set[UUID] = set()
        round_: list[int] = []
        later: list[int] = []
        for index in left:
            (later if ids[index] in seen else round_).append(index)
            seen.add(ids[index])
        yield round_
        left = later


async def _write(
    connection: AsyncConnection, batch: dict[UUID, Row], moment: datetime
) -> dict[UUID, RowMapping]:
    """Insert or overwrite; returns what was written, by id."""
    statement = upsert(connection.dialect.name, notification)
    new, old = statement.excluded, notification.c
    overwritten = (
        "uid", "sequence", "identity", "title", "description", "link",
        "severity", "topic", "icon", "metadata", "search_head", "search_whole",
    )  # fmt: skip
    changed = {name: new[name] for name in overwritten}
    newer = and_(
        old.identity != new.identity,
        # Of two with one sequence the same one wins in every order.
        tuple_(new.sequence, new.identity) > tuple_(old.sequence, old.identity),
    )
    upserted = statement.on_conflict_do_update(
        index_elements=[old.id],
        set_=changed | {"updated": new.delivered, "changed": new.delivered, "read": null()},
        where=newer,
    ).returning(old.id, old.created, old.updated, old.saved)
    # In the order of their ids, so that two batches never wait for each other.
    values = [_values(id_, row, moment) for id_, row in sorted(batch.items())]
    result = await connection.execute(upserted, values)
    return {row["id"]: row for row in result.mappings()}


def _values(id_: UUID, row: Row, moment: datetime) -> dict[str, Any]:
    payload = row.payload
    search = search_text(payload.title, payload.description)
    head = search_head(search)
    created = row.created.replace(microsecond=row.created.microsecond // 1000 * 1000)
    return {
        "id": id_,
        "recipient": row.user,
        "uid": row.uid,
        "sequence": row.sequence,
        "identity": row.identity,
        "origin": row.origin,
        "title": payload.title,
        "description": payload.description,
        "link": payload.link,
        "severity": payload.severity.rank,
        "topic": payload.topic,
        "scope": payload.scope,
        "icon": payload.icon,
        "metadata": payload.metadata,
        "search_head": head,
        "search_whole": None if head == search else search,
        "created": created,
        "delivered": moment,
        "updated": None,
        "changed": created,
        "read": None,
        "saved": None,
    }


async def _identities(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, str]:
    if not ids:
        return {}
    columns = select(notification.c.id, notification.c.identity)
    result = await connection.execute(columns.where(notification.c.id.in_(ids)))
    return {row.id: row.identity for row in result}


def _seen(id_: UUID, row: Row, stored: RowMapping) -> InboxNotification:
    return InboxNotification(
        id=id_,
        user=row.user or None,
        created=stored["created"],
        updated=stored["updated"],
        read=None,
        saved=stored["saved"],
        origin=row.origin,
        payload=row.payload,
    )


def _signal(item: InboxNotification) -> Signal:
    """Return upstream's signal, and beside it the notification itself if it is short."""
    message: dict[str, Any] = {"action": "new_notification", "notification_id": str(item.id)}
    shown = item.to_json()
    if len(json.dumps(shown)) <= SIGNAL_LIMIT:
        message["notification"] = shown
    return Signal(
        users=None if item.user is None else (item.user,),
        channel=SIGNAL_CHANNEL,
        message=message,
        about=(item.origin, item.payload.topic) if item.user is None else None,
    )
