"""Logs in to SMTP servers (RFC 4954), with a password or with an access token."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Protocol

from aiosmtplib import SMTP

from ...api.reasons import Reason
from ..errors import DeliveryError, Scope
from .config import Credentials, SMTPServer
from .oauth2.config import OAuth2Credentials
from .oauth2.tokens import AccessTokens, token_source
from .replies import Phase, Reply, refusal
from .sasl import (
    ChallengeError,
    Exchange,
    Mechanism,
    cram_md5,
    exchange,
    fits,
    login,
    oauthbearer,
    plain,
    xoauth2,
)

_INVALID = 535
"""RFC 4954 section 6: credentials invalid, whatever the words beside it."""

_ABOUT_MECHANISM = re.compile(r"50[0-4]|534")
"""RFC 4954 section 4: 504 unrecognised mechanism; section 6: 534 too weak. RFC 5321 4.2.3: 500 to
503 about the command."""

_ABOUT_MECHANISM_ENHANCED = re.compile(r"5\.5\.\d+|5\.7\.(4|9)")
"""RFC 3463 section 3.8: X.7.4 security features not supported; RFC 4954 6: X.7.9 too weak."""

_ABOUT_MECHANISM_TEXT = re.compile(
    r"mechanism|unsupported|not supported|unrecogni[sz]ed|not implemented", re.IGNORECASE
)

_TOKENS = frozenset({"XOAUTH2", "OAUTHBEARER"})
"""Mechanisms that take access tokens."""

_SHOWN_OF_ERROR = ("status", "error", "error_description", "scope")
"""Members of the error that a challenge carries that are passed on (RFC 7628 section 3.2.2)."""


class AnotherSessionNeeded(Exception):
    """A login was refused, and another way may work in a session of its own.

    Attributes
    ----------
    error
        What to say if there is no other session.
    """

    def __init__(self, error: DeliveryError) -> None:
        super().__init__(error.message)
        self.error = error


class Login(Protocol):
    """Proof for a mail server of who the processor is."""

    async def prepare(self) -> None:
        """Get what is needed before a server is made to wait for it; raises `DeliveryError`."""

    async def log_in(self, client: SMTP, limit: float) -> None:
        """Log in to a session that is encrypted.

        Parameters
        ----------
        limit
            Seconds for each attempt.

        Raises
        ------
        AnotherSessionNeeded
            If it is worth another session at once.
        DeliveryError, OSError, SMTPResponseException
            If it failed.
        """

    async def close(self) -> None:
        """Let go of what belongs to it."""


def login_to(server: SMTPServer) -> Login | None:
    """Return how to log in to a server; ``None``: not at all."""
    match server.credentials:
        case Credentials() as credentials:
            return PasswordLogin(server, credentials)
        case OAuth2Credentials() as credentials:
            return TokenLogin(server, credentials, token_source(credentials, server.redactor))
        case _:
            return None


class PasswordLogin:
    """Logs in with a name and a password: PLAIN, LOGIN or CRAM-MD5.

    A mechanism that the server does not really have is passed over. Where PLAIN is refused as if
    the password were wrong, LOGIN is tried once; what was refused is remembered, so that later
    sessions begin with what works, and a password that is wrong costs one attempt from then on:
    accounts are locked after a few.
    """

    def __init__(self, server: SMTPServer, credentials: Credentials) -> None:
        names = credentials.username, credentials.password
        self._server = server
        self._mechanisms = {item.name: item for item in (plain(*names), login(*names))}
        self._mechanisms["CRAM-MD5"] = cram_md5(*names)
        self._refused: list[str] = []

    async def prepare(self) -> None:
        """Do nothing: all is there."""

    async def log_in(self, client: SMTP, limit: float) -> None:
        """Log in; see `Login.log_in`."""
        refused: DeliveryError | None = None
        names = self._candidates(client)
        for name, following in zip_longest(names, names[1:]):
            try:
                reply = await _attempt(client, self._server, self._mechanisms[name], limit)
            except ConnectionError as error:
                if refused is None:
                    raise
                # Some servers hang up after a refusal.
                raise AnotherSessionNeeded(refused) from error
            if reply.positive:
                self._note(name, refused=False)
                return
            refused = refusal(Phase.AUTH, reply)
            if not reply.permanent:
                break
            self._note(name, refused=True)
            if (name, following) != ("PLAIN", "LOGIN") and not _is_about_mechanism(reply):
                break
        raise refused or _none_known(client, self._server, [*self._mechanisms])

    async def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def _candidates(self, client: SMTP) -> Sequence[str]:
        """Return the mechanisms to try: those not refused yet, else the one refused longest ago."""
        offered = [name for name in self._mechanisms if name.lower() in client.server_auth_methods]
        fresh = [name for name in offered if name not in self._refused]
        return fresh or sorted(offered, key=self._refused.index)[:1]

    def _note(self, name: str, *, refused: bool) -> None:
        self._refused = [other for other in self._refused if other != name]
        if refused:
            self._refused.append(name)


class TokenLogin:
    """Logs in with an access token of OAuth 2: XOAUTH2 or OAUTHBEARER.

    XOAUTH2 comes first: Google and Microsoft have both or this one alone. A token that is refused
    is dropped, and another one is tried in another session.
    """

    def __init__(
        self, server: SMTPServer, credentials: OAuth2Credentials, tokens: AccessTokens
    ) -> None:
        self._server = server
        self._username = credentials.username
        self._tokens = tokens

    async def prepare(self) -> None:
        """Get a token."""
        await self._tokens.get()

    async def log_in(self, client: SMTP, limit: float) -> None:
        """Log in; see `Login.log_in`."""
        token = await self._tokens.get()
        mechanisms = self._mechanisms(token)
        offered = [item for item in mechanisms if item.name.lower() in client.server_auth_methods]
        refused: DeliveryError | None = None
        for mechanism in offered:
            if not fits(mechanism):
                raise _error(
                    Reason.AUTH_FAILED,
                    f"the access token has {len(token)} characters, which is more than SMTP takes",
                )
            reply = await _attempt(client, self._server, mechanism, limit)
            if reply.positive:
                return
            refused = self._refusal(reply)
            if not reply.permanent:
                raise refused
            if reply.code == _INVALID or not _is_about_mechanism(reply):
                self._tokens.drop(token)
                raise AnotherSessionNeeded(refused)
        raise refused or _none_known(client, self._server, [item.name for item in mechanisms])

    async def close(self) -> None:
        """Give up a request for a token, and forget the tokens."""
        await self._tokens.close()

    def _mechanisms(self, token: str) -> Sequence[Mechanism]:
        server = self._server
        return (
            xoauth2(self._username, token),
            oauthbearer(self._username, token, host=server.hostname, port=server.port),
        )

    def _refusal(self, reply: Reply) -> DeliveryError:
        error = refusal(Phase.AUTH, reply)
        if reply.permanent:
            hint = (
                f"the token was refused for {self._username}: check scopes and tokenUrl, and that "
                "the application may send as that mailbox over SMTP"
            )
            return DeliveryError(
                error.reason,
                f"{error.message}; {hint}",
                scope=error.scope,
                retryable=error.retryable,
                code=error.code,
                enhanced_code=error.enhanced_code,
            )
        return error


async def _attempt(client: SMTP, server: SMTPServer, mechanism: Mechanism, limit: float) -> Reply:
    """Try a mechanism and return the reply that decides."""
    try:
        async with asyncio.timeout(limit):
            result = await exchange(client, mechanism)
    except ChallengeError as error:
        raise _error(
            Reason.CONNECT_FAILED, f"{server.address}: AUTH {mechanism.name}: {error}"
        ) from error
    reply = _decisive(result, server)
    if not (reply.positive or reply.negative):
        raise _error(Reason.CONNECT_FAILED, f"{server.address} does not speak SMTP: {reply}")
    return reply


def _decisive(result: Exchange, server: SMTPServer) -> Reply:
    """Read the last reply; what a refused token's challenge says belongs to it."""
    code, text = result.response.code, result.response.message
    reply = Reply.parse(code, text, server.redactor)
    if reply.positive or not result.challenges:
        return reply
    said = _error_of(result.challenges[-1])
    return Reply.parse(code, "\n".join(filter(None, (text, said))), server.redactor)


def _error_of(challenge: bytes) -> str:
    """Return what a challenge says, if it is the error that XOAUTH2 and OAUTHBEARER send."""
    try:
        said = json.loads(challenge)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, Mapping):
        return ""
    shown = [f"{key} {said[key]}" for key in _SHOWN_OF_ERROR if isinstance(said.get(key), str)]
    return f"({', '.join(shown)})" if shown else ""


def _is_about_mechanism(reply: Reply) -> bool:
    return (
        _ABOUT_MECHANISM.fullmatch(str(reply.code)) is not None
        or _ABOUT_MECHANISM_ENHANCED.fullmatch(reply.enhanced_code or "") is not None
        or _ABOUT_MECHANISM_TEXT.search(reply.text) is not None
    )


def _none_known(client: SMTP, server: SMTPServer, known: Sequence[str]) -> DeliveryError:
    offered = " ".join(client.server_auth_methods).upper()
    hint = "; set transportConfig.oauth2 for tokens" if _wants_tokens(offered, known) else ""
    return _error(
        Reason.AUTH_FAILED,
        f"{server.address} offers no authentication that fits (offered: "
        f"{server.redactor.cleaned(offered, 100) or 'none'}; known: {' '.join(known)}){hint}",
    )


def _wants_tokens(offered: str, known: Sequence[str]) -> bool:
    """Whether a server takes access tokens, and it is a password that is there."""
    return not _TOKENS.intersection(known) and not _TOKENS.isdisjoint(offered.split())


def _error(reason: Reason, message: str) -> DeliveryError:
    return DeliveryError(reason, message, scope=Scope.PROCESSOR, retryable=True)
