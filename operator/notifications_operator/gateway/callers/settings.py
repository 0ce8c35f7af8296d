"""Settings of callers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class CallerSettings(BaseModel):
    """Who may send by a static token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = None
    """File with the callers (a mounted Secret's key); without one there are none."""

    poll_interval: Annotated[float, Field(gt=0)] = 2
    """Seconds between looks whether the file has changed."""

    failures_per_minute: Annotated[int, Field(ge=1)] = 60
    """Most failures to authenticate from one address in a minute; then 429 instead of 401."""
