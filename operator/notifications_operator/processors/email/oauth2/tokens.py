"""Access tokens, kept while they are good and fetched by one request at a time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ....telemetry.redaction import remember_secrets
from ...errors import DeliveryError
from ..redaction import Redactor
from .answers import IssuedToken, TokenRefused, read_answer
from .config import OAuth2Credentials
from .endpoint import TokenEndpoint

RENEW_SECONDS = 300.0
"""Seconds before the end of its life at which a token is replaced."""

RETRY_SECONDS = 30.0
"""Seconds before another request while a token is good that could not be replaced."""

REMEMBERED = 4
"""Most tokens that are hidden in what a server says: the last ones."""

_log = logging.getLogger(__name__)

_numbers = itertools.count(1)

Fetch = Callable[[], Awaitable[IssuedToken]]


@dataclass(kw_only=True)
class _Kept:
    """A token: until when it is used without a question, and until when it is good."""

    token: str = field(repr=False)
    renew_at: float
    expires_at: float


class AccessTokens:
    """Gives the current access token.

    Parameters
    ----------
    fetch
        Asks for a token; raises `DeliveryError`.
    remember
        Called with each new token, to hide it, and with ``None`` in the end.
    clock
        Seconds.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        remember: Callable[[str | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._remember = remember
        self._clock = clock
        self._kept: _Kept | None = None
        self._fetching: asyncio.Task[str] | None = None

    async def get(self) -> str:
        """Return a token.

        Who waits for one that others asked for as well may be cancelled without harm to them. A
        token that cannot be replaced in time is used to its end.

        Raises
        ------
        DeliveryError
            If there is none, with scope `Scope.PROCESSOR`.
        """
        kept = self._kept
        if kept is not None and self._clock() < kept.renew_at:
            return kept.token
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_task(self._renew())
            self._fetching.add_done_callback(_take_error)
        return await asyncio.shield(self._fetching)

    def drop(self, token: str) -> None:
        """Forget a token that was refused, unless there is another one by now."""
        if self._kept is not None and self._kept.token == token:
            self._kept = None

    async def close(self) -> None:
        """Give up a request that is under way, and forget all tokens."""
        if self._fetching is not None:
            self._fetching.cancel()
            with suppress(asyncio.CancelledError, DeliveryError):
                await self._fetching
        self._kept = None
        self._remember(None)

    async def _renew(self) -> str:
        begun = self._clock()
        try:
            issued = await self._fetch()
        except DeliveryError as error:
            now, kept = self._clock(), self._kept
            if kept is None or now >= kept.expires_at:
                raise
            _log.warning("the access token could not be replaced yet: %s", error.message)
            kept.renew_at = min(now + RETRY_SECONDS, kept.expires_at)
            return kept.token
        self._remember(issued.access_token)
        self._kept = _Kept(
            token=issued.access_token,
            renew_at=begun + _use_of(issued.seconds),
            expires_at=begun + issued.seconds,
        )
        return issued.access_token


def token_source(credentials: OAuth2Credentials, redactor: Redactor) -> AccessTokens:
    """Return the tokens that credentials give.

    Parameters
    ----------
    redactor
        Learns each token, to hide it in what the mail server says.
    """
    return AccessTokens(
        _TokenRequest(credentials, redactor).send, remember=_Memory(redactor).remember
    )


class _TokenRequest:
    """Asks the endpoint by the grant."""

    def __init__(self, credentials: OAuth2Credentials, redactor: Redactor) -> None:
        self._grant = credentials.grant
        self._redactor = redactor
        self._endpoint = TokenEndpoint(credentials.token_url, credentials.tls_context, redactor)

    async def send(self) -> IssuedToken:
        """Ask; if what was renewed in memory is refused, once more with what the Secret holds."""
        try:
            return await self._ask()
        except TokenRefused as error:
            if error.error_code != "invalid_grant" or not self._grant.fall_back():
                raise
        return await self._ask()

    async def _ask(self) -> IssuedToken:
        form = await self._grant.form()
        # An assertion is as good as a secret while it is valid.
        shown = [form[name] for name in ("assertion", "client_assertion") if name in form]
        answer = await self._endpoint.post(form)
        issued = read_answer(
            answer,
            endpoint=self._endpoint.name,
            remedies=self._grant.remedies,
            redactor=self._redactor.extended(shown),
        )
        if issued.refresh_token is not None:
            self._redactor.learn([issued.refresh_token])
            self._grant.renew(issued.refresh_token)
        return issued


class _Memory:
    """Hides the last tokens in logs and status, and in what the mail server says."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._owner = f"access tokens {next(_numbers)}"
        self._tokens: deque[str] = deque(maxlen=REMEMBERED)

    def remember(self, token: str | None) -> None:
        """Hide one more; ``None``: forget them, because nothing speaks of them any more."""
        if token is None:
            self._tokens.clear()
        else:
            self._tokens.append(token)
            self._redactor.learn([token])
        remember_secrets(self._owner, self._tokens)


def _take_error(task: asyncio.Task[str]) -> None:
    """Take the error of a request, because whoever asked may be gone."""
    if not task.cancelled():
        task.exception()


def _use_of(seconds: float) -> float:
    """Return for how long a token is used that lives so long."""
    return seconds - RENEW_SECONDS if seconds > RENEW_SECONDS else seconds / 2
