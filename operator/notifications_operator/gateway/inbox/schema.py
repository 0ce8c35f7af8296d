"""The revision of the database's tables: brings them up to date, and refuses those of others.

A release knows the revisions up to its own. Whoever writes into tables of a later one drops what
it does not know, so that such a database is neither read nor written, nor ever migrated back.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from ..errors import ServiceUnavailableError

MIGRATIONS = Path(__file__).parent / "migrations"

RETRY_AFTER = 5.0
"""Seconds after which clients may ask again."""

_LOCK = 0x6E6F_7469_6679
"""Key of the advisory lock: of several gateways that start at once, one migrates."""


class UnfitSchemaError(ServiceUnavailableError):
    """The tables are not of this release's revision; ``problem`` says it for operators."""

    def __init__(self, message: str, *, problem: str) -> None:
        super().__init__(message, retry_after=RETRY_AFTER)
        self.problem = problem


class NewerSchemaError(UnfitSchemaError):
    """A newer release has migrated the database."""

    def __init__(self, found: Collection[str], *, newest: str) -> None:
        shown = ", ".join(sorted(found))[:200]
        super().__init__(
            "The database is of a newer release",
            problem=(
                f"the database's schema is of a newer release: it has revision {shown}, and this "
                f"release knows up to {newest}. Nothing is read or written: upgrade the gateway, "
                "or restore the backup that was made before the upgrade"
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Revisions:
    """The revisions that this release knows, and the newest of them."""

    known: frozenset[str]
    newest: str

    def check(self, present: Collection[str]) -> None:
        """Raise `NewerSchemaError` if one of those that are present is not known."""
        if unknown := set(present) - self.known:
            raise NewerSchemaError(unknown, newest=self.newest)

    def require(self, present: Collection[str]) -> None:
        """Raise `UnfitSchemaError` if something else than the newest one is present."""
        self.check(present)
        if set(present) != {self.newest}:
            raise UnfitSchemaError(
                "The database is being migrated",
                problem=f"the database is to be migrated to revision {self.newest}",
            )


def alembic_config() -> Config:
    """Return Alembic's configuration; its files are part of this package."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def revisions() -> Revisions:
    """Return the revisions of this release."""
    scripts = ScriptDirectory.from_config(alembic_config())
    (newest,) = scripts.get_heads()
    known = frozenset(script.revision for script in scripts.walk_revisions())
    return Revisions(known=known, newest=newest)


async def migrate(engine: AsyncEngine, *, revision: str = "head") -> None:
    """Run the migrations that are still to be run, in one transaction.

    Raises
    ------
    NewerSchemaError
        If a newer release was here; nothing is changed then.
    """
    async with engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        await connection.run_sync(_upgrade, revision)


def require_schema(engine: AsyncEngine) -> None:
    """Let transactions that write begin only while the tables are of this release's revision.

    It is looked at within the transaction, as another release may migrate at any moment. They fail
    with `UnfitSchemaError` otherwise.
    """

    @event.listens_for(engine.sync_engine, "begin")
    def _look(connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            check_schema(connection)


def check_schema(connection: Connection) -> None:
    """Raise `UnfitSchemaError` if the tables are not of this release's revision."""
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
    revisions().require(found.scalars().all())


def _upgrade(connection: Connection, revision: str) -> None:
    revisions().check(MigrationContext.configure(connection).get_current_heads())
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
