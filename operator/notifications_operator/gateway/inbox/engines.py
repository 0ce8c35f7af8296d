"""SQLAlchemy's engines for SQLite and PostgreSQL, as the inbox needs them."""

from __future__ import annotations

import fcntl
import os
import ssl
from pathlib import Path
from typing import Any, Self

import asyncpg
from sqlalchemy import URL, Connection, NullPool, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from .settings import DatabaseSettings

_COMPILED = 100
"""Compiled statements that are kept, each of up to half a megabyte; SQLAlchemy would keep 500."""


class DatabaseInUse(Exception):
    """Another process has the SQLite file; one at a time may."""


class InvalidDatabaseURL(Exception):
    """The database's URL cannot be read; no part of it is shown, as each may be of the password."""


class FileLock:
    """Keeps other processes away from an SQLite file for as long as this one lives.

    SQLite itself would let them in, and both would write; the kernel lets go of the lock when the
    process ends, however that happens.

    Raises
    ------
    DatabaseInUse
        If another process holds it.
    OSError
        If the file cannot be made.
    """

    def __init__(self, database: Path) -> None:
        path = database.with_name(f"{database.name}.lock")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise DatabaseInUse(
                f"another process uses {database}: SQLite is for one gateway at a time; "
                "set the replicas to 1 and the strategy to Recreate, or use PostgreSQL"
            ) from None

    def release(self) -> None:
        """Let others in."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def make_engine(settings: DatabaseSettings, *, background: bool = False) -> AsyncEngine:
    """Make an engine for requests, or for background work, whose statements may take long."""
    path = settings.sqlite_path
    if path is not None:
        return _make_sqlite_engine(path, settings)
    pool: dict[str, Any] = {
        "pool_size": settings.pool_size,
        "max_overflow": 0,
        "pool_timeout": settings.pool_timeout,
    }

    async def connect() -> asyncpg.Connection[Any]:
        return await connect_postgresql(settings, background=background)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        hide_parameters=True,
        query_cache_size=_COMPILED,
        **({"poolclass": NullPool} if background else pool),
    )
    # PostgreSQL hashes what stands in VALUES, and compares each row with every pair of a plain
    # list: a user with 5,000 choices would take it half a minute.
    engine.dialect.tuple_in_values = True
    return engine


async def connect_postgresql(
    settings: DatabaseSettings, *, background: bool = False
) -> asyncpg.Connection[Any]:
    """Make a connection to PostgreSQL; asyncpg reads the URL as libpq does.

    TLS is verified as ``sslmode`` says. asyncpg makes its own context and does not begin with the
    strict one of `ssl.create_default_context`, so that `notifications_operator.tls` has no part.

    Raises
    ------
    InvalidDatabaseURL
        If it cannot be read.
    OSError
        If the server cannot be reached, or is not who it should be.
    """
    try:
        return await _connect_postgresql(settings, background=background)
    except ssl.SSLCertVerificationError:
        # It is a ValueError too, and says nothing of the URL.
        raise
    except ValueError:
        raise InvalidDatabaseURL(
            "database.url cannot be read: percent-encode what is special in user and password, "
            "such as / ? # @ and :"
        ) from None


async def _connect_postgresql(
    settings: DatabaseSettings, *, background: bool
) -> asyncpg.Connection[Any]:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(
        settings.url.get_secret_value(),
        timeout=settings.connect_timeout,
        command_timeout=None if background else settings.statement_timeout,
        server_settings={
            "application_name": "notifications-gateway",
            "timezone": "UTC",
            # One user has ten rows and another ten thousand: no plan fits both.
            "plan_cache_mode": "force_custom_plan",
            "statement_timeout": _milliseconds(0 if background else settings.statement_timeout),
            # A process that hangs in a transaction must not hold up the others.
            "idle_in_transaction_session_timeout": _milliseconds(settings.statement_timeout),
        },
    )
    return connection


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _make_sqlite_engine(path: Path, settings: DatabaseSettings) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout,
        connect_args={"timeout": settings.statement_timeout},
        hide_parameters=True,
        query_cache_size=_COMPILED,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        # The driver's own BEGIN comes too late, before the first write only.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode = WAL",
            # A commit is on the disk: what the operator was told is stored must be.
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that turns to writing is refused when another wrote meanwhile.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")

    return engine
