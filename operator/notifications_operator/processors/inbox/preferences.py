"""Asks the gateway what users want, and remembers its answers for when it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DeliveryError
from ..preferences import Preferences, PreferencesUnavailable, Question
from .client import GatewayClient

LASTING_SECONDS = 900.0
"""Seconds for which the last good answer serves while there is no newer one (DESIGN section 11)."""

PAUSE_SECONDS = 2.0
"""Seconds after a failure in which the gateway is left alone, however many ask."""

CONCURRENCY = 4
"""Questions that are asked at a time; the others wait, and learn first if the gateway is away."""

PAGE_LIMIT = 10_000
"""Most pages of one answer."""

REMEMBERED_QUESTIONS = 1024
"""Most questions whose answers are remembered."""

REMEMBERED_USERS = 500_000
"""Most users that the remembered answers name together."""

logger = logging.getLogger(__name__)


class _UserChoice(BaseModel):
    model_config = ConfigDict(strict=True)

    user: str
    channels: dict[str, bool]


class _Page(BaseModel):
    model_config = ConfigDict(strict=True)

    defaults: dict[str, bool]
    exceptions: list[_UserChoice]
    next: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Known:
    preferences: Preferences
    since: float
    users: int


class GatewayPreferences:
    """What users set on the gateway's page.

    Parameters
    ----------
    client
        The gateway.
    clock
        Seconds, for what is remembered.
    """

    def __init__(
        self, client: GatewayClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._clock = clock
        self._known: OrderedDict[Question, _Known] = OrderedDict()
        self._users = 0
        self._problem: str | None = None
        self._away_until = 0.0
        self._turns = asyncio.Semaphore(CONCURRENCY)

    async def ask(self, question: Question) -> Preferences:
        """Ask the gateway; if it is away, give its last answer for a while.

        Raises
        ------
        PreferencesUnavailable
            If there is none, or it is too old.
        """
        async with self._turns:
            fresh = await self._ask(question)
        if fresh is not None:
            return fresh
        known = self._known.get(question)
        if known is not None and self._clock() <= known.since + LASTING_SECONDS:
            return known.preferences
        raise PreferencesUnavailable(self._problem or "the gateway did not answer")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, question: Question) -> Preferences | None:
        """Ask the gateway, unless it failed just now; ``None`` if it does not answer."""
        if self._problem is not None and self._clock() < self._away_until:
            return None
        try:
            preferences = await self._read(question)
        except DeliveryError as error:
            self._note_failure(error.message)
        except (ValidationError, ValueError):
            self._note_failure("what answers is no gateway of this release")
        else:
            self._problem = None
            self._remember(question, preferences)
            return preferences
        return None

    async def _read(self, question: Question) -> Preferences:
        """Read all pages of one answer."""
        differing: dict[str, set[str]] = {channel: set() for channel in question.channels}
        defaults: dict[str, bool] | None = None
        after: str | None = None
        for _ in range(PAGE_LIMIT):
            page = await self._read_page(question, after)
            defaults = page.defaults if defaults is None else defaults
            for item in page.exceptions:
                for channel, users in differing.items():
                    default = defaults.get(channel, True)
                    if item.channels.get(channel, default) is not default:
                        users.add(item.user)
            if page.next is None:
                return Preferences(defaults=defaults, differing=differing)
            after = page.next
        raise ValueError(f"more than {PAGE_LIMIT} pages")

    async def _read_page(self, question: Question, after: str | None) -> _Page:
        body = {
            "origin": question.origin,
            "topic": question.topic,
            "channels": list(question.channels),
            "after": after,
        }
        return _Page.model_validate(await self._client.post("/preferences", body))

    def _note_failure(self, problem: str) -> None:
        if self._problem is None:
            logger.warning("users' settings cannot be read: %s", problem)
        self._problem = problem
        self._away_until = self._clock() + PAUSE_SECONDS

    def _remember(self, question: Question, preferences: Preferences) -> None:
        if (before := self._known.pop(question, None)) is not None:
            self._users -= before.users
        users = sum(map(len, preferences.differing.values()))
        self._known[question] = _Known(preferences=preferences, since=self._clock(), users=users)
        self._users += users
        while len(self._known) > REMEMBERED_QUESTIONS or (
            self._users > REMEMBERED_USERS and len(self._known) > 1
        ):
            _, forgotten = self._known.popitem(last=False)
            self._users -= forgotten.users
