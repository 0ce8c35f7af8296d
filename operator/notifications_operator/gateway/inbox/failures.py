"""Which of a database's errors pass by themselves."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_CONFLICTS = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "23503",  # foreign_key_violation: a broadcast expired meanwhile
        "23505",  # unique_violation: two did the same at once
    }
)
"""Errors of two transactions that met (PostgreSQL, appendix A): one of them is repeated."""

_AWAY = ("08", "53", "57P0", "58", "25006", "57014", "25P03")
"""Beginnings of codes of a server that is away, full, shutting down, or a read-only standby."""

_SQLITE_AWAY = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_CANTOPEN",
    "SQLITE_READONLY",
    "SQLITE_PROTOCOL",
)


def is_lost_connection(error: BaseException) -> bool:
    """Whether the connection broke; others may be good."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        return (_sqlstate(error) or "").startswith(("08", "57P0"))
    return False


def is_conflict(error: BaseException) -> bool:
    """Whether another transaction came between."""
    return isinstance(error, DBAPIError) and _sqlstate(error) in _CONFLICTS


def is_away(error: BaseException) -> bool:
    """Whether the database cannot answer now, and may later."""
    match error:
        case DBAPIError():
            if error.connection_invalidated:
                return True
            name = getattr(error.orig, "sqlite_errorname", "")
            return (_sqlstate(error) or "").startswith(_AWAY) or name.startswith(_SQLITE_AWAY)
        case asyncpg.PostgresError():
            # While connecting nothing is translated; a wrong password can be put right too.
            return True
        case OSError() | TimeoutError() | PoolTimeoutError() | asyncpg.InterfaceError():
            return True
        case _:
            return False


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)
