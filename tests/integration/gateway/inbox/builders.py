"""Rows to deliver, a clock to set, and a look into the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.api.notification import Severity
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.filters import Filters, Page
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.types import Change, InboxNotification, Payload, Row
from notifications_operator.gateway.signals.outbox import Signal, signal

ADA = "user:default/ada"
BOB = "user:default/bob"
EVERYBODY = ""
BEGIN = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
ALL = Filters()
FIRST_PAGE = Page()


@dataclass
class Clock:
    """Tells the moment it was set to."""

    moment: datetime = field(default=BEGIN)

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **amount: float) -> datetime:
        self.moment += timedelta(**amount)
        return self.moment


def row(
    user: str = ADA,
    *,
    title: str = "Build failed",
    description: str | None = None,
    link: str | None = None,
    severity: Severity = Severity.NORMAL,
    topic: str | None = None,
    scope: str | None = None,
    icon: str | None = None,
    metadata: dict[str, Any] | None = None,
    uid: str | None = None,
    sequence: int = 1,
    identity: str | None = None,
    origin: str = "plugin:builds",
    created: datetime = BEGIN,
) -> Row:
    """Return a row; without a uid it is of a Notification of its own."""
    return Row(
        user=user,
        uid=uid or str(uuid4()),
        sequence=sequence,
        identity=identity or uuid4().hex,
        origin=origin,
        created=created,
        payload=Payload(
            title=title,
            description=description,
            link=link,
            severity=severity,
            topic=topic,
            scope=scope,
            icon=icon,
            metadata=metadata,
        ),
    )


async def deliver(inbox: Inbox, *rows: Row) -> list[UUID]:
    """Deliver rows that are all new; returns their ids."""
    results = await inbox.deliver(rows)
    assert {change for _, change in results} <= {Change.INSERTED}
    return [id_ for id_, _ in results]


async def everything(
    inbox: Inbox, user: str = ADA, filters: Filters = ALL, page: Page = FIRST_PAGE
) -> list[InboxNotification]:
    """Return a page of an inbox."""
    _, found = await inbox.list(user, filters, page)
    return found


async def titles(
    inbox: Inbox, user: str = ADA, filters: Filters = ALL, page: Page = FIRST_PAGE
) -> list[str]:
    """Return the titles of a page of an inbox."""
    return [item.payload.title for item in await everything(inbox, user, filters, page)]


async def only(inbox: Inbox, user: str = ADA) -> InboxNotification:
    """Return the one notification of an inbox."""
    (found,) = await everything(inbox, user)
    return found


async def signals(database: Database) -> Sequence[Signal]:
    """Return all signals, in the order in which they were written."""

    async def work(connection: AsyncConnection) -> list[Signal]:
        bodies = (await connection.execute(select(signal.c.body).order_by(signal.c.id))).scalars()
        return [Signal.from_json(item) for body in bodies for item in body]

    return await database.read(work)
