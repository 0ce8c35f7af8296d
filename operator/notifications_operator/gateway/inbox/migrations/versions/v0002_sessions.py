"""The sessions of browsers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "session",
        sa.Column("id_digest", sa.Text, primary_key=True),
        sa.Column("entity_ref", sa.Text, nullable=False),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("last_seen", _MOMENT, nullable=False),
    )
    op.create_index("session_last_seen", "session", ["last_seen"])


def downgrade() -> None:
    """Drop the table: everybody logs in again."""
    op.drop_table("session")
