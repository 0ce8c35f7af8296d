"""The database: waits for it, migrates it, and runs transactions that survive a lost connection.

One that a newer release has migrated is waited for too: it is neither read nor written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..errors import ServiceUnavailableError
from .engines import FileLock, make_engine
from .failures import is_away, is_conflict, is_lost_connection
from .schema import (
    RETRY_AFTER,
    NewerSchemaError,
    UnfitSchemaError,
    check_schema,
    migrate,
    require_schema,
)
from .settings import DatabaseSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")

Work = Callable[[AsyncConnection], Awaitable[T]]
"""What is done in one transaction; it is done again from the start after a lost connection."""

ATTEMPTS = 5
"""How often a transaction is begun before its request is refused."""

CHECK_SECONDS = 5.0
"""Seconds between looks at the schema's revision: so long another release's may be read."""

_FIRST_DELAY = 0.1


class Database:
    """One relational database, SQLite or PostgreSQL.

    Nothing of it is lost when a connection is: work that did not commit is repeated, so that it
    must be safe to repeat. While the database is away, `ServiceUnavailableError` is raised.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._engine = make_engine(settings)
        require_schema(self._engine)
        self._writing_engine = self._engine.execution_options(writes=True)
        # On PostgreSQL reading takes one round trip each, without those of BEGIN and ROLLBACK.
        self._reading_engine = (
            self._engine
            if self.dialect == "sqlite"
            else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        # SQLite has one writer at a time: waiting here holds no connection and keeps the order.
        self._writer = asyncio.Lock() if self.dialect == "sqlite" else None
        self._lock: FileLock | None = None
        self._ready = asyncio.Event()
        self._unfit: UnfitSchemaError | None = None

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine; `read` and `write` are for requests."""
        return self._engine

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @property
    def ready(self) -> bool:
        """Whether the tables are up to date, so that requests can be answered."""
        return self._ready.is_set()

    @property
    def problem(self) -> str | None:
        """Reason against answering requests, or ``None`` if there is none."""
        if self._unfit is not None:
            return self._unfit.problem
        return None if self.ready else "waiting for the database"

    @property
    def is_newer(self) -> bool:
        """Whether a newer release has migrated it, so that others should be asked."""
        return isinstance(self._unfit, NewerSchemaError)

    async def start(self) -> None:
        """Wait for the database and bring its tables up to date; returns when it is ready.

        One of a newer release is waited for, until its schema is as before.

        Raises
        ------
        DatabaseInUse
            If another process has the SQLite file.
        """
        delay = _FIRST_DELAY
        while True:
            try:
                await self._migrate()
            except NewerSchemaError as error:
                self._refuse(error)
            except Exception as error:
                if not is_away(error):
                    raise
                logger.warning("waiting for the database: %s", _brief(error))
            else:
                break
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._settings.retry_interval)
        self._unfit = None
        self._ready.set()
        logger.info("the database is ready (%s)", self.dialect)

    async def keep_checking(self) -> None:
        """Look at the schema's revision now and then; wait as `start` does while it is another."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.read(lambda connection: connection.run_sync(check_schema))
            except ServiceUnavailableError as error:
                logger.debug("the schema's revision cannot be read now: %s", error)
            except SQLAlchemyError as error:
                logger.warning("the schema's revision cannot be read: %s", _brief(error))
            if not self.ready:
                await self.start()

    async def wait_ready(self) -> None:
        """Return when `start` has ended."""
        await self._ready.wait()

    async def close(self) -> None:
        """Close all connections and let others have the SQLite file."""
        self._ready.clear()
        await self._engine.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def read(self, work: Work[T]) -> T:
        """Run work that changes nothing."""
        return await self._run(work, self._reading_engine.connect)

    async def write(self, work: Work[T]) -> T:
        """Run work in a transaction, again if it meets another or loses its connection."""
        return await self._run(work, self._writing)

    @asynccontextmanager
    async def alone(self, key: int) -> AsyncIterator[bool]:
        """Keep other processes from doing the same; gives whether none of them does it now.

        Parameters
        ----------
        key
            Names what is done: the key of an advisory lock, held by a connection of its own.
        """
        if self.dialect == "sqlite":
            yield True
            return
        engine = make_engine(self._settings, background=True)
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with _refusing_when_away():
                    connecting = engine.execution_options(isolation_level="AUTOCOMMIT").connect()
                    connection = await stack.enter_async_context(connecting)
                    lock = select(func.pg_try_advisory_lock(key))
                    granted = (await connection.execute(lock)).scalar_one()
                # It is not pooled: the lock ends with it.
                yield granted
        finally:
            await engine.dispose()

    async def _run(
        self,
        work: Work[T],
        begin: Callable[[], contextlib.AbstractAsyncContextManager[AsyncConnection]],
    ) -> T:
        if not self.ready:
            message = str(self._unfit or "The database is not there yet")
            raise ServiceUnavailableError(message, retry_after=RETRY_AFTER)
        attempt = 0
        while True:
            attempt += 1
            try:
                async with begin() as connection:
                    return await work(connection)
            except UnfitSchemaError as error:
                self._refuse(error)
                raise
            except Exception as error:
                repeatable = is_lost_connection(error) or is_conflict(error)
                if repeatable and attempt < ATTEMPTS:
                    logger.debug("repeating a transaction: %s", _brief(error))
                elif repeatable or is_away(error):
                    logger.warning("the database is away: %s", _brief(error))
                    raise ServiceUnavailableError(
                        "The database is away", retry_after=RETRY_AFTER
                    ) from error
                else:
                    raise

    def _refuse(self, error: UnfitSchemaError) -> None:
        """Answer nothing until the schema is this release's again."""
        self._ready.clear()
        if self._unfit is None or self._unfit.problem != error.problem:
            logger.error("%s", error.problem)
        self._unfit = error

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with (
            self._writer or contextlib.nullcontext(),
            self._writing_engine.begin() as connection,
        ):
            yield connection

    async def _migrate(self) -> None:
        path = self._settings.sqlite_path
        if path is not None and self._lock is None:
            self._lock = FileLock(path)
        engine = make_engine(self._settings, background=True)
        try:
            await migrate(engine)
        finally:
            await engine.dispose()


@asynccontextmanager
async def _refusing_when_away() -> AsyncIterator[None]:
    try:
        yield
    except Exception as error:
        if not is_away(error):
            raise
        raise ServiceUnavailableError("The database is away", retry_after=RETRY_AFTER) from error


def _brief(error: BaseException) -> str:
    """Return an error in one line, without the statement."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {text[0] if text else ''}"
