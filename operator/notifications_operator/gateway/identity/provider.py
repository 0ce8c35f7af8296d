"""The OpenID Connect issuer that is trusted: its metadata, its keys, and tokens from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from .documents import DocumentError, DocumentReader
from .keys import KeySource
from .settings import OIDCSettings
from .tokens import TokenVerifier, UnverifiedToken, VerifiedToken


@dataclass(frozen=True, kw_only=True)
class ProviderMetadata:
    """What the issuer says of itself (OpenID Connect Discovery 1.0 section 3).

    Attributes
    ----------
    jwks_uri
        Where its keys are.
    authorization_endpoint, token_endpoint
        Needed for login only.
    userinfo_endpoint
        May be missing.
    token_endpoint_auth_methods
        How a client may show its secret.
    sends_issuer
        Whether its answers to authorization requests carry ``iss`` (RFC 9207).
    """

    jwks_uri: str
    authorization_endpoint: str | None
    token_endpoint: str | None
    userinfo_endpoint: str | None
    token_endpoint_auth_methods: tuple[str, ...]
    sends_issuer: bool

    @classmethod
    def parse(cls, document: dict[str, Any], *, url: str, issuer: str) -> Self:
        """Read the discovery document.

        Raises
        ------
        DocumentError
            If it is another issuer's, or says not where the keys are.
        """
        if document.get("issuer") != issuer:
            raise DocumentError(url, f"its issuer is not exactly {issuer}")
        jwks_uri = _text(document, "jwks_uri")
        if jwks_uri is None:
            raise DocumentError(url, "it has no jwks_uri")
        methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        return cls(
            jwks_uri=jwks_uri,
            authorization_endpoint=_text(document, "authorization_endpoint"),
            token_endpoint=_text(document, "token_endpoint"),
            userinfo_endpoint=_text(document, "userinfo_endpoint"),
            token_endpoint_auth_methods=tuple(methods) if isinstance(methods, list) else (),
            sends_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        )


class OpenIDProvider:
    """The issuer of people's tokens.

    Parameters
    ----------
    settings
        With an issuer.
    session
        As `documents.make_session` makes it.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self,
        settings: OIDCSettings,
        session: aiohttp.ClientSession,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if settings.issuer is None:
            raise ValueError("there is no issuer")
        self._issuer = settings.issuer
        self._documents = DocumentReader(
            session, allow_http=settings.allow_http, timeout=settings.keys.request_timeout
        )
        self._metadata: ProviderMetadata | None = None
        self._reading: asyncio.Task[ProviderMetadata] | None = None
        self._keys = KeySource(
            issuer=self._issuer,
            locate=self._locate_keys,
            documents=self._documents,
            settings=settings.keys,
        )
        self._verifier = TokenVerifier(
            self._keys,
            algorithms=settings.algorithms,
            clock_skew=settings.clock_skew,
            clock=clock,
        )

    @property
    def issuer(self) -> str:
        """The issuer's identifier."""
        return self._issuer

    @property
    def documents(self) -> DocumentReader:
        """Reads what the issuer answers."""
        return self._documents

    @property
    def ready(self) -> bool:
        """Whether tokens can be verified, or the issuer was waited for long enough."""
        return self._keys.ready

    @property
    def problem(self) -> str | None:
        """Why tokens cannot be verified, or soon will not be, if so."""
        return self._keys.problem

    async def run(self) -> None:
        """Keep metadata and keys fresh until cancelled."""
        await self._keys.run()

    async def metadata(self) -> ProviderMetadata:
        """Return what the issuer said last of itself; it is asked if it never was.

        Whoever asks meanwhile gets the same answer, also that it cannot be had.

        Raises
        ------
        DocumentError
            If it cannot be had.
        """
        if self._metadata is not None:
            return self._metadata
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_metadata())
            self._reading.add_done_callback(self._end_reading)
        # Others wait for it too: who goes does not end it.
        return await asyncio.shield(self._reading)

    async def verify(self, token: UnverifiedToken, *, audiences: Collection[str]) -> VerifiedToken:
        """Return a token if it is the issuer's and for one of these audiences.

        Raises
        ------
        TokenError
            If it is not valid.
        KeysUnavailable
            If that cannot be told at the moment.
        """
        return await self._verifier.verify(token, audiences=audiences, issuer=self._issuer)

    async def _locate_keys(self) -> str:
        return (await self._read_metadata()).jwks_uri

    def _end_reading(self, task: asyncio.Task[ProviderMetadata]) -> None:
        self._reading = None
        if not task.cancelled():
            # Whoever asked has it; asyncio must not complain if all of them have gone.
            task.exception()

    async def _read_metadata(self) -> ProviderMetadata:
        # OpenID Connect Discovery 1.0 section 4: a slash at the end of the issuer goes first.
        url = self._issuer.removesuffix("/") + "/.well-known/openid-configuration"
        document = await self._documents.get(url)
        self._metadata = ProviderMetadata.parse(document, url=url, issuer=self._issuer)
        return self._metadata


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None
