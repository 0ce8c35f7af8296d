"""Settings of the inbox: where it is kept, for how long, and what users get by default."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from ...api.durations import Duration
from .matrix import SettingsMatrix

Positive = Annotated[float, Field(gt=0)]

SQLITE_SCHEME = "sqlite:///"
POSTGRESQL_SCHEMES = ("postgresql://", "postgres://")

YEAR = timedelta(days=365)
"""How long notifications are kept, upstream's default."""


class DatabaseSettings(BaseModel):
    """Where the inbox is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr = SecretStr("sqlite:////var/lib/notifications/inbox.db")
    """``sqlite:////path/to/file`` or ``postgresql://user:password@host:port/database``.

    The latter takes libpq's parameters, such as ``sslmode`` and ``sslrootcert``; what it does not
    say is taken from libpq's environment variables.
    """

    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    """Most connections of one process, one more to PostgreSQL for signals aside."""

    pool_timeout: Positive = 10
    """Seconds that a request waits for a free connection."""

    connect_timeout: Positive = 10
    """Seconds that making a connection may take."""

    statement_timeout: Positive = 30
    """Seconds that one statement may take, migrations aside."""

    retry_interval: Positive = 5
    """Most seconds between attempts while the database is away at start."""

    @property
    def sqlite_path(self) -> Path | None:
        """The file of an SQLite database, or ``None`` for PostgreSQL.

        Raises
        ------
        ValueError
            If the URL is neither's. Not a validator's: its error would show the password.
        """
        url = self.url.get_secret_value()
        if url.startswith(POSTGRESQL_SCHEMES):
            return None
        path = url.removeprefix(SQLITE_SCHEME)
        if path in ("", url):
            raise ValueError(
                "database.url must be sqlite:////path/to/file or "
                "postgresql://user:password@host:port/database"
            )
        return Path(path)


def _read_false(value: Any) -> Any:
    return None if value is False or (isinstance(value, str) and value == "false") else value


class RetentionSettings(BaseModel):
    """How long notifications are kept (upstream's ``notifications.retention``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    age: Annotated[Duration | None, BeforeValidator(_read_false)] = YEAR
    """Age after the last change at which a notification is deleted at midnight UTC.

    Saved ones are kept; ``false`` keeps all. In any form of Backstage's durations.
    """

    batch: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Most rows deleted in one transaction."""


class DefaultSettings(SettingsMatrix):
    """What users get as long as they chose nothing (upstream's ``notifications.defaultSettings``).

    They are shown to users, and obeyed when notifications are sent.
    """
