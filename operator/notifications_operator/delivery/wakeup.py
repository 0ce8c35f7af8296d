"""How long a Notification may be left alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

LONGEST_SLEEP = 3600.0
"""Seconds after which a waiting Notification is looked at even without a cause."""

SHORTEST_SLEEP = 0.05
"""Seconds between two looks without a cause."""


def pause(moments: Iterable[datetime | None], *, decided: datetime, now: datetime) -> float:
    """Return the seconds until the next of some moments.

    Parameters
    ----------
    moments
        When something falls due.
    decided
        The moment that the last decisions were made for: what was due then was dealt with, or
        waits for something other than time, such as a slot.
    now
        The present, which may have gone on.
    """
    upcoming = [moment for moment in moments if moment is not None and moment > decided]
    if not upcoming:
        return LONGEST_SLEEP
    return min(max((min(upcoming) - now).total_seconds(), SHORTEST_SLEEP), LONGEST_SLEEP)
