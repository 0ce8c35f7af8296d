"""Settings of the inbox: where it is kept, for how long, and what users get by default."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator

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

    @field_validator("url")
    @classmethod
    def _scheme_is_known(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if text.startswith(POSTGRESQL_SCHEMES) or text.removeprefix(SQLITE_SCHEME) not in ("", text):
            return url
        raise ValueError(
            "must be sqlite:////path/to/file or postgresql://user:password@host:port/database"
        )


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
