"""Lets the operator in, and nobody else.

Any pod can have a token minted for any audience, so the account behind it counts as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import HTTPConnection

from ...api.errors import KubernetesError
from ..errors import AuthenticationError, NotAllowedError, ServiceUnavailableError
from .settings import InternalSettings

TOKEN_LIMIT = 16 * 1024
"""Most characters of a token."""

REMEMBERED = 256
"""Most tokens that are remembered as let in, and as many again as refused."""

REVIEWS_AT_ONCE = 5
"""Most reviews under way; they share their connections with what callers send."""

REFUSED_SECONDS = 5.0
"""Most seconds for which it is remembered that a token is not the operator's."""

RETRY_SECONDS = 5.0
"""What is said to whoever asks while the API server is away."""

_BEARER = re.compile(r"Bearer +([!-~]+) *", re.IGNORECASE)


class TokenReviews(Protocol):
    """The API server's word on tokens; `kube.reviews` has it."""

    async def user_of(self, token: str, *, audience: str) -> str | None:
        """Return the user a token stands for, if it is valid for an audience."""


@dataclass(frozen=True, kw_only=True)
class _Word:
    user: str | None
    until: float


class _Words:
    """What was said last of tokens, by their hashes; the oldest makes room."""

    def __init__(self) -> None:
        self._words: OrderedDict[bytes, _Word] = OrderedDict()

    def find(self, key: bytes, *, now: float) -> _Word | None:
        """Return what was said of a token, while that counts."""
        word = self._words.get(key)
        return word if word is not None and now < word.until else None

    def add(self, key: bytes, word: _Word) -> None:
        """Remember what was said of a token."""
        self._words[key] = word
        self._words.move_to_end(key)
        if len(self._words) > REMEMBERED:
            self._words.popitem(last=False)


class TokenReviewer:
    """Checks that a request comes from the operator.

    Parameters
    ----------
    reviews
        Asks the API server.
    settings
        Who the operator is.
    clock
        Seconds, for what is remembered.
    """

    def __init__(
        self,
        reviews: TokenReviews,
        settings: InternalSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reviews = reviews
        self._settings = settings
        self._clock = clock
        # Apart, so that no number of made-up tokens displaces the operator's.
        self._admitted = _Words()
        self._refused = _Words()
        self._under_way = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def require_operator(self, connection: HTTPConnection) -> None:
        """Return if the operator asks.

        Raises
        ------
        AuthenticationError
            If no valid token for our audience was shown.
        NotAllowedError
            If it is another account's.
        ServiceUnavailableError
            If the API server does not say.
        """
        found = _BEARER.fullmatch(connection.headers.get("authorization", ""))
        if found is None or len(found[1]) > TOKEN_LIMIT:
            raise AuthenticationError("Missing credentials")
        user = await self._user_of(found[1])
        if user is None:
            raise AuthenticationError(
                f"The token is not valid for the audience {self._settings.audience!r}"
            )
        if user != self._settings.operator:
            raise NotAllowedError(f"Only {self._settings.operator} may use this endpoint")

    async def _user_of(self, token: str) -> str | None:
        """Ask the API server, unless it said it a short time ago; hashes of tokens are kept."""
        key = hashlib.sha256(token.encode()).digest()
        word = self._find(key)
        if word is None:
            async with self._under_way:
                # It may have been asked about meanwhile.
                word = self._find(key) or await self._ask(key, token)
        return word.user

    def _find(self, key: bytes) -> _Word | None:
        now = self._clock()
        return self._admitted.find(key, now=now) or self._refused.find(key, now=now)

    async def _ask(self, key: bytes, token: str) -> _Word:
        try:
            user = await self._reviews.user_of(token, audience=self._settings.audience)
        except KubernetesError as error:
            raise ServiceUnavailableError(
                "The API server does not say whose the token is", retry_after=RETRY_SECONDS
            ) from error
        words, seconds = self._admitted, self._settings.review_seconds
        if user != self._settings.operator:
            words, seconds = self._refused, min(seconds, REFUSED_SECONDS)
        word = _Word(user=user, until=self._clock() + seconds)
        words.add(key, word)
        return word
