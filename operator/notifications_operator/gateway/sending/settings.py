"""Settings of sending."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]


class SendingSettings(BaseModel):
    """How a request becomes a Notification."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttl_seconds: Annotated[int, Field(ge=1, le=2147483647)] = 86_400
    """Seconds for which a Notification is kept after it has finished.

    An ``Idempotency-Key`` is known as long, and while the Notification has not finished.
    """

    max_unfinished: Annotated[int, Field(ge=1)] = 5_000
    """Most unfinished Notifications in a namespace; more requests are answered with 429."""

    store_timeout: Positive = 8
    """Seconds within which the API server must have stored a Notification; else 503."""

    rows_timeout: Annotated[float, Field(ge=0)] = 1
    """Seconds that an answer waits for the inbox to have the rows."""
