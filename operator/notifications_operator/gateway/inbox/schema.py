"""Brings the database's tables up to date."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = 0x6E6F_7469_6679
"""Key of the advisory lock: of several gateways that start at once, one migrates."""

logger = logging.getLogger(__name__)


def alembic_config() -> Config:
    """Return Alembic's configuration; its files are part of this package."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


async def migrate(engine: AsyncEngine, *, revision: str = "head") -> None:
    """Run the migrations that are still to be run, in one transaction."""
    async with engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        await connection.run_sync(_upgrade, revision)


def _upgrade(connection: Connection, revision: str) -> None:
    config = alembic_config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = set(MigrationContext.configure(connection).get_current_heads())
    if present - known:
        # A newer release was here; its tables still fit this one, or it could not be rolled back.
        logger.warning("the database is of a newer release (%s)", ", ".join(sorted(present)))
        return
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
