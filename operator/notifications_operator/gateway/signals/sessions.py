"""Closes the sockets of sessions that are no more.

That a session ended comes with the signals. This is for what they cannot tell: a table that was
emptied by hand, an outbox that was not read for longer than its rows stay, and a socket that was
opened while its session ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from ..errors import ServiceUnavailableError
from .hub import Hub

logger = logging.getLogger(__name__)


class Sessions(Protocol):
    """All sessions of browsers."""

    async def missing(self, keys: Sequence[str], /) -> Collection[str]:
        """Return those keys whose sessions are no more.

        Raises
        ------
        ServiceUnavailableError
            If the database is away.
        """
        ...


async def close_ended(hub: Hub, sessions: Sessions, *, interval: float) -> None:
    """Look for sessions that are no more until cancelled.

    Parameters
    ----------
    interval
        Seconds between looks.
    """
    while True:
        await asyncio.sleep(interval)
        try:
            ended = await sessions.missing(hub.sessions)
        except ServiceUnavailableError as error:
            logger.warning("it is not known which sessions have ended: %s", error)
            continue
        for session in ended:
            hub.end_session(session)
