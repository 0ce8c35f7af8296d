"""The outbox: signals are written in the transaction of what they tell, and sent afterwards.

So nothing is told that did not happen, and nothing that happened goes untold while a relay runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    func,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from ..columns import Moment, now

NOTIFY_CHANNEL = "notifications_signal"
"""PostgreSQL's channel; its payload is the id of a row of `signal`."""

metadata = MetaData()

signal = Table(
    "signal",
    metadata,
    # SQLite counts up only what is exactly INTEGER; never giving an id twice lets readers go on
    # from the last one they saw.
    Column(
        "id",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("created", Moment, nullable=False),
    Column("body", JSON, nullable=False),
    Index("signal_created", "created"),
    sqlite_autoincrement=True,
)
"""One row for each batch; ``body`` is a list of news as their ``to_json`` writes them."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One message to browsers.

    Attributes
    ----------
    users
        Whom it is for, by entity ref; ``None``: everybody.
    channel
        What it is about; the inbox writes to ``notifications``.
    message
        JSON for the subscribers.
    about
        Of what origin and topic it is, if it is for everybody: who muted them hears nothing.
    """

    users: tuple[str, ...] | None
    channel: str
    message: dict[str, Any]
    about: tuple[str, str | None] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the form in which the signal is stored."""
        users = None if self.users is None else list(self.users)
        stored = {"users": users, "channel": self.channel, "message": self.message}
        return stored if self.about is None else {**stored, "about": list(self.about)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Signal:
        """Read a signal back; the previous release wrote none with ``about``."""
        users = stored["users"]
        origin, topic = stored.get("about") or (None, None)
        return cls(
            users=None if users is None else tuple(users),
            channel=stored["channel"],
            message=stored["message"],
            about=None if origin is None else (origin, topic),
        )


@dataclass(frozen=True, kw_only=True)
class SessionEnd:
    """A browser's session that is no more: its sockets are to be closed.

    Attributes
    ----------
    session
        Its key.
    """

    session: str

    def to_json(self) -> dict[str, Any]:
        """Return the form in which the end is stored."""
        return {"ended_session": self.session}


News = Signal | SessionEnd
"""What a batch holds."""


def read_news(stored: dict[str, Any]) -> News:
    """Read one part of a batch back."""
    if "ended_session" in stored:
        return SessionEnd(session=stored["ended_session"])
    return Signal.from_json(stored)


async def append(connection: AsyncConnection, news: Sequence[News]) -> None:
    """Write a batch in the transaction of a connection.

    On PostgreSQL the listeners get the row's id when the transaction is committed; the batch
    itself may be longer than the 8,000 bytes that ``NOTIFY`` carries.
    """
    if not news:
        return
    body = [item.to_json() for item in news]
    statement = insert(signal).values(created=now(), body=body).returning(signal.c.id)
    row = (await connection.execute(statement)).scalar_one()
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_notify(NOTIFY_CHANNEL, str(row))))
