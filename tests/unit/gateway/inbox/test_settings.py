"""Settings of the inbox, as the chart writes them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.settings import (
    DatabaseSettings,
    DefaultSettings,
    RetentionSettings,
)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/inbox.db", Path("/var/lib/inbox.db")),
        ("sqlite:///inbox.db", Path("inbox.db")),
        ("postgresql://u:p@h:1/d?sslmode=require", None),
        ("postgres://h/d", None),
    ],
)
def test_urls(url: str, path: Path | None) -> None:
    assert DatabaseSettings.model_validate({"url": url}).sqlite_path == path


@pytest.mark.parametrize(
    "url",
    ["", "sqlite:///", "mysql://user:hunter2@host/db", "postgresql+asyncpg://h/d", "inbox.db"],
)
def test_other_urls_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="must be sqlite:////path/to/file or") as refused:
        Database(DatabaseSettings.model_validate({"url": url}))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        ({"days": 30}, timedelta(days=30)),
        ("30d", timedelta(days=30)),
        ("P30D", timedelta(days=30)),
        (False, None),
        ("false", None),
    ],
)
def test_retention_has_backstages_forms(age: Any, expected: timedelta | None) -> None:
    assert RetentionSettings.model_validate({"age": age}).age == expected


@pytest.mark.parametrize("age", [True, 30, "true", "soon", {}])
def test_other_ages_are_refused(age: Any) -> None:
    with pytest.raises(ValidationError):
        RetentionSettings.model_validate({"age": age})


def test_year_is_kept_by_default() -> None:
    assert RetentionSettings().age == timedelta(days=365)


def test_defaults_have_backstages_shape() -> None:
    document = {
        "channels": [
            {
                "id": "Email",
                "enabled": False,
                "origins": [
                    {
                        "id": "plugin:a",
                        "enabled": True,
                        "topics": [{"id": "Noise", "enabled": False}],
                    }
                ],
            }
        ]
    }
    assert DefaultSettings.model_validate(document).choices() == {
        ("email", "", ""): False,
        ("email", "plugin:a", ""): True,
        ("email", "plugin:a", "noise"): False,
    }
