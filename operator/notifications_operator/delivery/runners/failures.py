"""Handling of requests to the API server that fail for one Notification's runner."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from random import random

from ...api.errors import (
    ConflictError,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    RejectedError,
)
from ...api.reasons import Reason
from ..ledger.denials import deadline_of, denied_status, describe_denial, is_said
from ..ledger.ledger import LONGEST_WAIT
from ..ledger.retry import back_off
from ..storage.slices.book import SlicePruned
from ..storage.stored import StatusPruned, Stored
from .attempts import Attempts

logger = logging.getLogger(__name__)

REFUSED_DELAY = 300.0
"""Seconds before a status that the API server will not store is tried again."""

DENIALS = 2
"""Refusals in a row that are no hiccup, such as a policy that is being replaced."""

REPEAT_SECONDS = 3600.0
"""Seconds after which an Event is written again: by default it is kept for as long."""

Failure = KubernetesError | StatusPruned | SlicePruned


class Failures:
    """Decides after a failed step what to write instead, and when to try again.

    ``count`` is how many steps have failed in a row.
    """

    def __init__(self, stored: Stored, attempts: Attempts) -> None:
        self._stored = stored
        self._attempts = attempts
        self._extra = stored.ref.log_fields
        self.count = 0
        self._denials = 0
        self._denied_since = 0.0
        self._said: float | None = None

    def clear(self) -> None:
        """Note that a step succeeded.

        One that waits for slots does not show what its claims will meet with.
        """
        self.count = 0
        if not self._attempts.slots.waiting:
            self._denials, self._said, self._stored.denied = 0, None, False

    async def handle(self, error: Failure) -> float | None:
        """Do what a failure asks for.

        Returns
        -------
        float or None
            Seconds until the step is tried again; ``None`` if the Notification has ended by it.
        """
        match error:
            case ConflictError():
                return await self._read_again()
            case NotFoundError():
                self._stored.deleted = True
                return 0.0
            case ForbiddenError():
                return await self._denied(error)
            case RejectedError() | StatusPruned() | SlicePruned():
                self._stored.pruned = not isinstance(error, RejectedError)
                return await self._refused(error)
            case _:
                logger.warning("could not write a status: %s", error, extra=self._extra)
                return self._back_off()

    async def _read_again(self) -> float:
        """Read what is stored, after a conflict; the next step decides again."""
        try:
            await self._stored.read()
        except NotFoundError:
            self._stored.deleted = True
        except KubernetesError as error:
            logger.warning("could not read a Notification: %s", error, extra=self._extra)
            return self._back_off()
        # Another client may write constantly, or the conflict may have another cause.
        self.count += 1
        return 0.0 if self.count == 1 else self._back_off()

    async def _refused(self, error: Exception) -> float:
        """Fall back to the states alone if the full status cannot be stored, then wait."""
        logger.error("a status was refused: %s", error, extra=self._extra)
        if self._stored.minimal:
            self._attempts.let_slots_go()
            if isinstance(error, RejectedError):
                await self._say("StatusRefused", str(error))
            self.count += 1
            return REFUSED_DELAY
        self._stored.minimal = True
        note = "the API server refused the full status; only the states are kept"
        if not isinstance(error, RejectedError):
            note = str(error)
        await self._stored.announcer.warn("StatusRefused", "Record", note)
        return 0.0

    async def _denied(self, error: ForbiddenError) -> float | None:
        """Report that a quota, policy or role refuses a write, and wait."""
        logger.warning("a write was refused: %s", error, extra=self._extra)
        delay = self._back_off()
        self._denials += 1
        if self._denials == 1:
            self._denied_since = _loop_time()
        if self._denials < DENIALS:
            return delay
        self._stored.denied = True
        now = datetime.now(UTC).replace(microsecond=0)
        said = is_said(self._stored.notification)
        try:
            await self._stored.write_status(
                denied_status(self._stored.notification, str(error), now)
            )
        except ConflictError:
            return await self._read_again()
        except NotFoundError:
            self._stored.deleted = True
            return 0.0
        except KubernetesError as second:
            logger.warning("nor can the status say so: %s", second, extra=self._extra)
            await self._say(Reason.POLICY_DENIED, str(error))
            waited = timedelta(seconds=_loop_time() - self._denied_since)
            return REFUSED_DELAY if waited > LONGEST_WAIT else delay
        if self._stored.notification.finished and not self._attempts.sends.in_flight:
            return None
        if not said:
            await self._say(Reason.POLICY_DENIED, str(error))
        left = deadline_of(self._stored.notification, now) - datetime.now(UTC)
        return min(delay, max(left.total_seconds(), 1.0))

    async def _say(self, reason: str, answer: str) -> None:
        """Write an Event, at first and once an hour."""
        now = _loop_time()
        if self._said is None or now - self._said >= REPEAT_SECONDS:
            self._said = now
            note = describe_denial(self._stored.ref.namespace, answer)
            await self._stored.announcer.warn(reason, "Record", note)

    def _back_off(self) -> float:
        self._attempts.let_slots_go()
        self.count += 1
        return back_off(self.count, jitter=random())  # noqa: S311 - spreads retries, guards nothing


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
