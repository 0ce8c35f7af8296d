"""Settings of the signals."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

Positive = Annotated[float, Field(gt=0)]


class SignalsSettings(BaseModel):
    """WebSockets that tell pages of changes, and how the changes come here."""

    ping_interval: Positive = 30
    """Seconds between pings, and within which one must be answered; upstream's are 30."""

    max_sockets: Annotated[int, Field(ge=1)] = 10_000
    """Most sockets open at once in this process; further ones get 503.

    Each needs a file descriptor.
    """

    max_sockets_per_user: Annotated[int, Field(ge=1)] = 100
    """Most sockets of one user open at once in this process; further ones get 429."""

    max_queued_messages: Annotated[int, Field(ge=1)] = 256
    """Most messages that wait for a reader; one that is slower is closed (1013)."""

    max_queued_bytes: Annotated[int, Field(ge=1)] = 256 * 1024
    """Most bytes of them, unless it is a single message."""

    session_interval: Positive = 60
    """Seconds between looks whether the sessions of open sockets are still there.

    A logout is announced as it comes; this finds sessions that ended otherwise.
    """

    poll_interval: Positive = 5
    """Seconds between looks at the outbox when nothing was announced.

    What is in it is announced as it comes; this finds what was not, and a dead connection.
    """

    retention: Positive = 300
    """Seconds that signals stay in the outbox, and so the longest that another replica may be
    without the database and still bring all of them.
    """
