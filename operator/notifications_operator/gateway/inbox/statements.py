"""Statements that the two databases write differently."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an ``INSERT`` that can be given an ``ON CONFLICT`` clause."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
