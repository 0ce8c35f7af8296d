"""The inbox, its settings, and the outbox of signals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_PAGE = ["recipient", "created", "delivered", "id"]


def upgrade() -> None:
    """Make all tables."""
    _make_notification()
    _make_settings()
    _make_signal()


def _make_notification() -> None:
    op.create_table(
        "notification",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("link", sa.Text),
        sa.Column("severity", sa.SmallInteger, nullable=False),
        sa.Column("topic", sa.Text),
        sa.Column("scope", sa.Text),
        sa.Column("icon", sa.Text),
        sa.Column("metadata", sa.JSON),
        sa.Column("search_head", sa.Text, nullable=False),
        sa.Column("search_whole", sa.Text),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("delivered", _MOMENT, nullable=False),
        sa.Column("updated", _MOMENT),
        sa.Column("changed", _MOMENT, nullable=False),
        sa.Column("read", _MOMENT),
        sa.Column("saved", _MOMENT),
    )
    op.create_index(
        "notification_page",
        "notification",
        _PAGE,
        postgresql_include=["read", "saved", "severity", "topic", "search_head"],
    )
    for name, columns, condition in (
        ("notification_long", ["recipient"], sa.text("search_whole IS NOT NULL")),
        ("notification_unread", _PAGE, sa.text("read IS NULL")),
        ("notification_saved", _PAGE, sa.text("saved IS NOT NULL")),
    ):
        op.create_index(
            name, "notification", columns, postgresql_where=condition, sqlite_where=condition
        )
    op.create_index("notification_topic", "notification", ["recipient", "topic", "origin"])
    op.create_index("notification_changed", "notification", ["changed"])
    if op.get_bind().dialect.name == "postgresql":
        # Reading the index alone needs a recent vacuum.
        op.execute(
            "ALTER TABLE notification SET (autovacuum_vacuum_scale_factor = 0.02, "
            "autovacuum_vacuum_insert_scale_factor = 0.02)"
        )
    op.create_table(
        "broadcast_status",
        sa.Column(
            "notification_id",
            sa.Uuid,
            sa.ForeignKey("notification.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("read", _MOMENT),
        sa.Column("read_identity", sa.Text),
        sa.Column("saved", _MOMENT),
    )


def _make_settings() -> None:
    op.create_table(
        "user_setting",
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("enabled", sa.Boolean, nullable=False),
    )
    op.create_index(
        "user_setting_origin",
        "user_setting",
        ["channel", "origin", "topic", "enabled", "recipient"],
    )
    op.create_table(
        "reader",
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("since", _MOMENT, nullable=False),
    )


def _make_signal() -> None:
    op.create_table(
        "signal",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("signal_created", "signal", ["created"])


def downgrade() -> None:
    """Drop all tables."""
    for table in ("signal", "reader", "user_setting", "broadcast_status", "notification"):
        op.drop_table(table)
