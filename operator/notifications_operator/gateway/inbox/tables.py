"""The tables of the inbox, with indexes for the queries that exist.

The migrations make them; a test holds the two together.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from ..columns import Moment

metadata = MetaData()

BROADCAST = ""
"""Recipient of a broadcast."""

notification = Table(
    "notification",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("recipient", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("identity", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text),
    Column("link", Text),
    Column("severity", SmallInteger, nullable=False),
    Column("topic", Text),
    Column("scope", Text),
    Column("icon", Text),
    Column("metadata", JSON(none_as_null=True)),
    # Title and description, folded: a search is then a plain comparison of bytes. An index tells
    # what begins so; what is longer is here whole.
    Column("search_head", Text, nullable=False),
    Column("search_whole", Text),
    Column("created", Moment, nullable=False),
    # When it came first; of notifications made in one second the later one is shown first.
    Column("delivered", Moment, nullable=False),
    Column("updated", Moment),
    # The later of created and updated: retention counts from it.
    Column("changed", Moment, nullable=False),
    Column("read", Moment),
    Column("saved", Moment),
)
"""One row for each recipient, or one for a broadcast; those have their state elsewhere."""

Index(
    "notification_page",
    notification.c.recipient,
    notification.c.created,
    notification.c.delivered,
    notification.c.id,
    # Filters and searches read the index alone, which lies together, not rows that lie apart.
    postgresql_include=["read", "saved", "severity", "topic", "search_head"],
)
Index(
    "notification_long",
    notification.c.recipient,
    postgresql_where=notification.c.search_whole.is_not(None),
    sqlite_where=notification.c.search_whole.is_not(None),
)
Index(
    "notification_unread",
    notification.c.recipient,
    notification.c.created,
    notification.c.delivered,
    notification.c.id,
    postgresql_where=notification.c.read.is_(None),
    sqlite_where=notification.c.read.is_(None),
)
Index(
    "notification_saved",
    notification.c.recipient,
    notification.c.created,
    notification.c.delivered,
    notification.c.id,
    postgresql_where=notification.c.saved.is_not(None),
    sqlite_where=notification.c.saved.is_not(None),
)
Index("notification_topic", notification.c.recipient, notification.c.topic, notification.c.origin)
Index("notification_changed", notification.c.changed)

broadcast_status = Table(
    "broadcast_status",
    metadata,
    Column(
        "notification_id",
        Uuid,
        ForeignKey("notification.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("recipient", Text, primary_key=True),
    Column("read", Moment),
    # Identity of the delivery that was read: an update of the broadcast has another.
    Column("read_identity", Text),
    Column("saved", Moment),
)
"""What one user did with a broadcast."""

user_setting = Table(
    "user_setting",
    metadata,
    Column("recipient", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("origin", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Index("user_setting_origin", "channel", "origin", "topic", "enabled", "recipient"),
)
"""What users chose; names are folded, an empty topic is the origin, an empty origin the channel."""

reader = Table(
    "reader",
    metadata,
    Column("recipient", Text, primary_key=True),
    Column("since", Moment, nullable=False),
)
"""When a user first asked: what was broadcast long before is not theirs."""
