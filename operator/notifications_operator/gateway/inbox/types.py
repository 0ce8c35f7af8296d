"""What goes into the inbox and comes out of it; plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ...api.notification import Severity


@dataclass(frozen=True, kw_only=True)
class Payload:
    """What a notification says (upstream's ``NotificationPayload``)."""

    title: str
    description: str | None = None
    link: str | None = None
    severity: Severity = Severity.NORMAL
    topic: str | None = None
    scope: str | None = None
    icon: str | None = None
    metadata: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return upstream's JSON: null for what is unset."""
        return {
            "title": self.title,
            "description": self.description,
            "link": self.link,
            "severity": str(self.severity),
            "topic": self.topic,
            "scope": self.scope,
            "icon": self.icon,
            "metadata": self.metadata,
        }


@dataclass(frozen=True, kw_only=True)
class InboxNotification:
    """A notification as one user sees it (upstream's ``Notification``).

    Attributes
    ----------
    user
        Whom it is for; ``None``: everybody.
    created
        When it was first made; an update keeps it.
    updated
        When it was last overwritten by a newer one of its scope, or by an edit.
    read, saved
        When the user marked it so.
    origin
        Who sent it.
    """

    id: UUID
    user: str | None
    created: datetime
    updated: datetime | None
    read: datetime | None
    saved: datetime | None
    origin: str
    payload: Payload

    def to_json(self) -> dict[str, Any]:
        """Return upstream's JSON: null for what is unset, moments as JavaScript writes them."""
        return {
            "id": str(self.id),
            "user": self.user,
            "created": format_moment(self.created),
            "updated": format_moment(self.updated),
            "read": format_moment(self.read),
            "saved": format_moment(self.saved),
            "origin": self.origin,
            "payload": self.payload.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the operator hands over: one for each recipient, or one for a broadcast.

    Attributes
    ----------
    user
        The recipient's entity ref in lower case; empty: a broadcast.
    uid
        UID of the Notification resource.
    sequence
        Orders what is written to one row, see `pack_sequence`.
    identity
        Identity of the delivery: 32 hexadecimal digits, the same on every attempt.
    created
        When the Notification was created.
    """

    user: str
    uid: str
    sequence: int
    identity: str
    origin: str
    created: datetime
    payload: Payload


@dataclass(frozen=True, kw_only=True)
class MutedBroadcasts:
    """Which broadcasts a user does not want; false if there are none.

    Attributes
    ----------
    origins
        Those that are off as a whole.
    topics
        Origin and topic, of origins that are on.
    """

    origins: frozenset[str] = frozenset()
    topics: frozenset[tuple[str, str]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.origins or self.topics)


class Change(StrEnum):
    """What became of a row that was handed over."""

    INSERTED = "Inserted"
    UPDATED = "Updated"
    UNCHANGED = "Unchanged"
    """The same delivery was there already."""
    SUPERSEDED = "Superseded"
    """A newer one was there already."""


def format_moment(moment: datetime | None) -> str | None:
    """Format a moment as ``Date.prototype.toISOString``: UTC with milliseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_CHANGE_BITS = 11


def pack_sequence(created: datetime, change: int) -> int:
    """Pack what orders the writes to one row into a signed integer of 64 bits.

    Parameters
    ----------
    created
        Creation time of the Notification: the later of two in one scope is the newer.
    change
        What was changed since; for one Notification, the sum of its revision and redelivery rises
        with each of them. Changes beyond the 2,047th count as the 2,047th.
    """
    microseconds = round(created.timestamp() * 1_000_000)
    return (microseconds << _CHANGE_BITS) + min(change, (1 << _CHANGE_BITS) - 1)
