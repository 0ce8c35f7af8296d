"""The inbox: all that is asked of it, each request in a transaction of its own."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..columns import now
from ..errors import InputError
from ..signals.outbox import append
from . import choosing, delivering, marking, views
from .choosing import Preferences
from .database import Database
from .filters import Filters, Page
from .ids import row_id as row_id
from .matrix import (
    MOST_CHOICES,
    WEB,
    Choices,
    Key,
    SettingsMatrix,
    effective_matrix,
    fold,
    sources_of,
    unique_names,
    without_topics_of_origins_off,
)
from .statements import upsert
from .tables import BROADCAST, broadcast_status, notification, reader
from .types import Change, InboxNotification, Row

BROADCAST_HISTORY = timedelta(days=30)
"""What was broadcast longer before a user first looked is not the user's: nobody begins with
hundreds of unread ones."""

_REMEMBERED_READERS = 100_000


class Status(NamedTuple):
    """How many notifications a user has (upstream's ``NotificationStatus``)."""

    unread: int
    read: int


class Inbox:
    """What people read.

    All methods raise `ServiceUnavailableError` while the database is away.

    Parameters
    ----------
    database
        Where it is kept.
    defaults
        What users get who chose nothing.
    channels
        Names of the channels that users can choose about, beside those of the defaults.
    clock
        Tells the present moment.
    """

    def __init__(
        self,
        database: Database,
        *,
        defaults: SettingsMatrix | None = None,
        channels: Iterable[str] = (WEB,),
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database = database
        self._default_matrix = defaults or SettingsMatrix()
        self._defaults = self._default_matrix.choices()
        named = (channel.id for channel in self._default_matrix.channels)
        self._channels = unique_names((WEB, *channels, *named))
        self._clock = clock
        self._since: dict[str, datetime] = {}

    async def deliver(self, rows: Sequence[Row]) -> builtins.list[tuple[UUID, Change]]:
        """Store what the operator delivers, and signal what changed; safe to repeat.

        Returns
        -------
        list
            Id and change of each row, in their order.
        """
        if not rows:
            return []

        async def work(connection: AsyncConnection) -> builtins.list[tuple[UUID, Change]]:
            return await delivering.deliver(connection, rows, moment=self._clock())

        return await self._database.write(work)

    async def list(
        self, user: str, filters: Filters, page: Page
    ) -> tuple[int, builtins.list[InboxNotification]]:
        """Return how many notifications the filters leave, and one page of them."""
        since = await self._reader_since(user)
        dialect = self._database.dialect

        async def work(
            connection: AsyncConnection,
        ) -> tuple[int, builtins.list[InboxNotification]]:
            who = await self._reader(connection, user, since)
            chosen = views.page_query(who, filters, page, dialect=dialect)
            rows = (await connection.execute(*chosen)).all()
            return rows[0].total, [views.from_row(row) for row in rows if row.id is not None]

        return await self._database.read(work)

    async def get(self, user: str, id: UUID) -> InboxNotification | None:  # noqa: A002
        """Return one notification if the user may see it."""
        since = await self._reader_since(user)

        async def work(connection: AsyncConnection) -> InboxNotification | None:
            found = await _visible(connection, views.Reader(user=user, since=since), [id])
            return found[0] if found else None

        return await self._database.read(work)

    async def find(self, ids: Sequence[UUID]) -> builtins.list[InboxNotification]:
        """Return notifications by id, whosever they are, in the order of the ids."""

        async def work(connection: AsyncConnection) -> builtins.list[InboxNotification]:
            found = {}
            for part in marking.chunks(ids, marking.IDS_PER_STATEMENT):
                for row in await connection.execute(*views.plain_query(part)):
                    found[row.id] = views.from_row(row)
            return [found[id_] for id_ in dict.fromkeys(ids) if id_ in found]

        return await self._database.read(work)

    async def update(
        self, user: str, ids: Sequence[UUID], *, read: bool | None, saved: bool | None
    ) -> builtins.list[InboxNotification]:
        """Mark a user's notifications; ``None`` leaves a mark as it is, others' are left alone.

        Returns
        -------
        list
            Those of the ids that the user may see, as they are now.
        """
        since = await self._reader_since(user)
        parts = list(marking.chunks(sorted(set(ids)), marking.IDS_PER_STATEMENT))

        async def work(connection: AsyncConnection) -> builtins.list[InboxNotification]:
            moment = self._clock()
            changed: builtins.list[UUID] = []
            for part in parts:
                if read is True:
                    changed += await marking.mark_read(connection, user, part, moment)
                elif read is False:
                    changed += await marking.mark_unread(connection, user, part)
                if saved is not None:
                    when = moment if saved else None
                    await marking.mark_saved(connection, user, part, when)
            await append(connection, marking.read_signals(user, changed, read=bool(read)))
            who = views.Reader(user=user, since=since)
            return [item for part in parts for item in await _visible(connection, who, part)]

        if read is None and saved is None:
            return await self._database.read(work)
        return await self._database.write(work)

    async def mark_all_read(self, user: str, filters: Filters) -> int:
        """Mark all that the filters leave as read; returns how many were unread."""
        since = await self._reader_since(user)

        async def work(connection: AsyncConnection) -> int:
            who = await self._reader(connection, user, since)
            changed = await marking.mark_every_read(connection, who, filters, self._clock())
            await append(connection, marking.read_signals(user, changed, read=True))
            return len(changed)

        return await self._database.write(work)

    async def status(self, user: str) -> Status:
        """Return how many notifications are unread and read."""
        since = await self._reader_since(user)

        async def work(connection: AsyncConnection) -> Status:
            who = await self._reader(connection, user, since)
            unread, every = (await connection.execute(*views.status_query(who))).one()
            return Status(unread=unread, read=every - unread)

        return await self._database.read(work)

    async def topics(self, user: str, filters: Filters) -> builtins.list[str]:
        """Return the topics of what the filters leave, in order."""
        since = await self._reader_since(user)

        async def work(connection: AsyncConnection) -> builtins.list[str]:
            who = await self._reader(connection, user, since)
            chosen = views.topics_query(who, filters, dialect=self._database.dialect)
            return list((await connection.execute(*chosen)).scalars())

        return await self._database.read(work)

    async def settings(self, user: str) -> SettingsMatrix:
        """Return what holds for a user: origins and topics of what there is, and the defaults'."""

        async def work(connection: AsyncConnection) -> SettingsMatrix:
            return await self._matrix(connection, user)

        return await self._database.read(work)

    async def save_settings(self, user: str, matrix: SettingsMatrix) -> SettingsMatrix:
        """Make this all that a user chose; returns what holds now.

        Raises
        ------
        InputError
            If the matrix names a channel that there is not, or has more than `MOST_CHOICES`.
        """
        known = {fold(channel) for channel in self._channels}
        for channel in matrix.channels:
            if fold(channel.id) not in known:
                valid = ", ".join(self._channels)
                raise InputError(f"Invalid channel {channel.id!r}; valid: {valid}")
        choices = without_topics_of_origins_off(matrix.choices())
        chosen = {key: on for key, on in choices.items() if self._is_choice(key, on)}
        if len(chosen) > MOST_CHOICES:
            raise InputError(
                f"The settings have {len(chosen)} choices; valid: at most {MOST_CHOICES}. "
                "Topics that are as their origin do not count"
            )

        async def work(connection: AsyncConnection) -> SettingsMatrix:
            await choosing.replace_choices(connection, user, chosen)
            return await self._matrix(connection, user)

        return await self._database.write(work)

    def _is_choice(self, key: Key, enabled: bool) -> bool:
        """Whether anything is chosen: clients send back all that they were shown.

        A channel that is as by default is no choice, nor is a topic that is on, as its origin is,
        unless the defaults say something of it.
        """
        _, origin, topic = key
        if topic:
            return not enabled or key in self._defaults
        return bool(origin) or enabled is not self._defaults.get(key)

    async def preferences(
        self,
        origin: str,
        topic: str | None,
        channels: Sequence[str],
        *,
        after: str | None,
        limit: int,
    ) -> Preferences:
        """Return who wants notifications of an origin and topic by which channels; one page."""

        async def work(connection: AsyncConnection) -> Preferences:
            return await choosing.preferences(
                connection,
                self._defaults,
                origin=origin,
                topic=topic,
                channels=channels,
                after=after,
                limit=limit,
            )

        return await self._database.read(work)

    async def muted_by(
        self, users: Sequence[str], *, origin: str, topic: str | None
    ) -> frozenset[str]:
        """Return those of the users who do not want an origin and topic in their inbox."""

        async def work(connection: AsyncConnection) -> frozenset[str]:
            return await choosing.muted_by(
                connection, self._defaults, users, origin=origin, topic=topic, channel=WEB
            )

        return await self._database.read(work)

    async def delete_expired(self, *, before: datetime, limit: int) -> int:
        """Delete some notifications that were not changed since; saved ones are kept."""
        saved_by_someone = exists().where(
            broadcast_status.c.notification_id == notification.c.id,
            broadcast_status.c.saved.is_not(None),
        )
        chosen = (
            select(notification.c.id)
            .where(
                notification.c.changed < before,
                notification.c.saved.is_(None),
                ~saved_by_someone,
            )
            .limit(limit)
        )

        async def work(connection: AsyncConnection) -> int:
            statement = delete(notification).where(notification.c.id.in_(chosen))
            return (await connection.execute(statement)).rowcount

        return await self._database.write(work)

    async def _matrix(self, connection: AsyncConnection, user: str) -> SettingsMatrix:
        own = await choosing.own_choices(connection, user)
        sources = await choosing.known_sources(connection, user, BROADCAST)
        return effective_matrix(
            Choices(own=own, defaults=self._defaults),
            self._channels,
            [*sources, *sources_of(self._default_matrix)],
        )

    async def _reader(
        self, connection: AsyncConnection, user: str, since: datetime
    ) -> views.Reader:
        muted = await choosing.muted_broadcasts(connection, user, WEB, self._defaults)
        return views.Reader(user=user, since=since, muted=muted)

    async def _reader_since(self, user: str) -> datetime:
        """Return from when on broadcasts are the user's; a user who is new is noted."""
        if (known := self._since.get(user)) is not None:
            return known

        async def look(connection: AsyncConnection) -> datetime | None:
            statement = select(reader.c.since).where(reader.c.recipient == user)
            return (await connection.execute(statement)).scalar_one_or_none()

        async def note(connection: AsyncConnection) -> None:
            statement = upsert(connection.dialect.name, reader).on_conflict_do_nothing()
            await connection.execute(statement, {"recipient": user, "since": self._clock()})

        since = await self._database.read(look)
        if since is None:
            await self._database.write(note)
            since = await self._database.read(look) or self._clock()
        if len(self._since) >= _REMEMBERED_READERS:
            self._since.clear()
        self._since[user] = since - BROADCAST_HISTORY
        return self._since[user]


async def _visible(
    connection: AsyncConnection, who: views.Reader, ids: Sequence[UUID]
) -> list[InboxNotification]:
    return [views.from_row(row) for row in await connection.execute(*views.visible_query(who, ids))]
