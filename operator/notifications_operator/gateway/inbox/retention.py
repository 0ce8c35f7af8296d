"""Deletes what is old, every midnight."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from ..columns import now
from ..errors import ServiceUnavailableError
from .database import Database
from .inbox import Inbox
from .settings import RetentionSettings

_LOCK = 0x7265_7465_6E74
"""Key of the advisory lock: of several gateways one deletes."""

_PAUSE = timedelta(milliseconds=50)
"""Between two batches, so that others get their turn."""

_RETRY = timedelta(minutes=1)

logger = logging.getLogger(__name__)


def until_midnight(moment: datetime) -> timedelta:
    """Return the time from a moment to the next midnight UTC."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1) - moment


class Retention:
    """Deletes expired notifications at midnight UTC (upstream's ``notification-cleaner``).

    Parameters
    ----------
    inbox, database
        Where to delete.
    settings
        What is expired.
    clock, sleep
        Tell the present moment, and wait for some seconds.
    """

    def __init__(
        self,
        inbox: Inbox,
        database: Database,
        settings: RetentionSettings,
        *,
        clock: Callable[[], datetime] = now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._inbox = inbox
        self._database = database
        self._settings = settings
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Delete at every midnight until cancelled; returns at once if all is kept."""
        if self._settings.age is None:
            return
        while True:
            await self._sleep(until_midnight(self._clock()).total_seconds())
            await self._clean()

    async def clean(self) -> int:
        """Delete what is expired now; returns how many. Of several processes one does it.

        Raises
        ------
        ServiceUnavailableError
            If the database is away.
        """
        if self._settings.age is None:
            return 0
        async with self._database.alone(_LOCK) as alone:
            return await self._delete(self._settings.age) if alone else 0

    async def _clean(self) -> None:
        while True:
            try:
                deleted = await self.clean()
            except ServiceUnavailableError as error:
                logger.warning("expired notifications could not be deleted: %s", error)
                await self._sleep(_RETRY.total_seconds())
            else:
                logger.info("deleted %d expired notifications", deleted)
                return

    async def _delete(self, age: timedelta) -> int:
        before = self._clock() - age
        total = 0
        while deleted := await self._inbox.delete_expired(
            before=before, limit=self._settings.batch
        ):
            total += deleted
            await self._sleep(_PAUSE.total_seconds())
        return total
