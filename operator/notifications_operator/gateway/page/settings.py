"""Settings of the web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

BUILT = Path(__file__).parent / "dist"
"""Where the wheel has what Vite made."""


class PageSettings(BaseModel):
    """The gateway's own page; the properties are upstream's of the same names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Path = BUILT
    """What Vite made of ``web/``; without it there is no page."""

    title: Annotated[str, Field(min_length=1)] = "Notifications"
    """Heading of the page."""

    mark_as_read_on_link_open: bool = False
    """Whether to open a link marks its notification as read."""

    web_notifications_enabled: bool = False
    """Whether browsers notify while the page is open, if the user lets them."""

    title_counter_enabled: bool = True
    """Whether the title counts the unread ones."""

    snackbar_enabled: bool = True
    """Whether a new notification is shown for a moment."""

    snackbar_auto_hide_duration: Annotated[int, Field(ge=0)] | None = 15_000
    """For how many milliseconds; null: until it is closed."""

    origin_names: dict[str, str] = Field(default_factory=dict)
    """Names of origins as the settings show them."""

    topic_names: dict[str, str] = Field(default_factory=dict)
    """Names of topics as the settings show them."""
