"""Grants: rights to access tokens that are shown to a token endpoint."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from joserfc import jwt
from joserfc.jwk import RSAKey

from ....api.reasons import Reason
from ...errors import DeliveryError, Scope

ASSERTION_SECONDS = 300
"""Seconds for which an assertion is valid; it is used once, at once."""

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""RFC 7523 section 2.2."""

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""RFC 7523 section 2.1."""

TOKEN_FILE_LIMIT = 16 * 1024
"""Most octets of a file that are taken for a token."""

_JWT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

Form = Mapping[str, str]


class ClientAuthentication(Protocol):
    """Proof for the endpoint of who the client is (RFC 6749 section 2.3)."""

    @property
    def remedy(self) -> str:
        """Advice for when the endpoint does not believe it."""

    async def parameters(self) -> Form:
        """Return what goes into the form; raises `DeliveryError`."""


class Grant(Protocol):
    """A right to access tokens that is shown to the endpoint."""

    @property
    def remedies(self) -> Mapping[str, str]:
        """Advice on each ``error`` of the endpoint."""

    async def form(self) -> Form:
        """Return the request for a token; raises `DeliveryError`."""

    def renew(self, refresh_token: str) -> None:
        """Take a refresh token that the endpoint wants to see from now on."""

    def fall_back(self) -> bool:
        """Return to what the Secret holds; False if nothing else was shown."""


@dataclass(frozen=True, kw_only=True)
class ClientSecret:
    """A secret that goes into the form, which Microsoft and Google both take.

    RFC 6749 section 2.3.1 would have it in an ``Authorization`` header, where the encoding of the
    secret is a matter on which servers differ.
    """

    place: str
    secret: str = field(repr=False)

    @property
    def remedy(self) -> str:
        """Advice for when the endpoint does not believe it."""
        return f"correct {self.place}; the client secret may have expired"

    async def parameters(self) -> Form:
        """Return what goes into the form."""
        return {"client_secret": self.secret}


@dataclass(frozen=True, kw_only=True)
class FederatedToken:
    """A token of another issuer in a file, such as the cluster's for this pod (RFC 7523 2.2).

    Attributes
    ----------
    path
        The file; it is read each time, because the kubelet replaces it.
    own
        Files with tokens of the operator's own, which are never given away.
    """

    path: Path
    own: Sequence[Path] = ()

    @property
    def remedy(self) -> str:
        """Advice for when the endpoint does not believe it."""
        return (
            "compare issuer, subject and audience of the application's federated credential with "
            "those of the token in oauth2.federatedTokenFile"
        )

    async def parameters(self) -> Form:
        """Return what goes into the form; raises `DeliveryError`."""
        try:
            token = await asyncio.to_thread(self._read)
        except (OSError, ValueError) as error:
            raise DeliveryError(
                Reason.INVALID_CONFIG,
                f"spec.email.transportConfig.oauth2.federatedTokenFile: {error}",
                scope=Scope.PROCESSOR,
                retryable=True,
            ) from error
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token}

    def _read(self) -> str:
        token = _content(self.path)
        if not _JWT.fullmatch(token):
            raise ValueError(f"{str(self.path)!r} holds no JSON Web Token")
        if any(token == _content(own) for own in self.own if own.exists()):
            raise ValueError(
                f"{str(self.path)!r} holds a token of the operator's own, which nobody is given; "
                "name one that is projected for the token endpoint"
            )
        return token.decode()


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        # Reading a device or a pipe may never end.
        raise ValueError(f"{str(path)!r} is no file")
    with path.open("rb") as opened:
        return opened.read(TOKEN_FILE_LIMIT).strip()


@dataclass(frozen=True, kw_only=True)
class ClientCredentials:
    """The client's own rights (RFC 6749 section 4.4)."""

    client_id: str
    authentication: ClientAuthentication
    scope: str

    @property
    def remedies(self) -> Mapping[str, str]:
        """Advice on each ``error`` of the endpoint."""
        return {
            "invalid_client": self.authentication.remedy,
            "unauthorized_client": (
                "check oauth2.clientId, the tenant in tokenUrl, and the application's permissions "
                "and their consent"
            ),
            "invalid_grant": self.authentication.remedy,
        }

    async def form(self) -> Form:
        """Return the request for a token."""
        return {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            **_scope(self.scope),
            **await self.authentication.parameters(),
        }

    def renew(self, refresh_token: str) -> None:
        """Ignore it: RFC 6749 section 4.4.3 has none here."""

    def fall_back(self) -> bool:
        """Return False: there is nothing else."""
        return False


@dataclass(frozen=True, kw_only=True)
class JWTBearer:
    """An assertion of the client's that it may act for a user (RFC 7523 section 2.1).

    Attributes
    ----------
    audience
        The endpoint's URL.
    key
        Signs; RSA.
    key_id
        Its id, if the issuer gave it one.
    place
        Where the key is from, for messages.
    """

    client_id: str
    subject: str
    audience: str
    scope: str
    key: RSAKey = field(repr=False)
    key_id: str | None
    place: str

    @property
    def remedies(self) -> Mapping[str, str]:
        """Advice on each ``error`` of the endpoint."""
        key = f"check oauth2.clientId, that the key in {self.place} is its and was not deleted"
        return {
            "invalid_client": key,
            "invalid_grant": f"{key}, oauth2.subject ({self.subject}), and this machine's clock",
            "unauthorized_client": (
                "grant the service account domain-wide delegation for exactly oauth2.scopes "
                f"({self.scope}), and check oauth2.clientId and subject ({self.subject})"
            ),
        }

    async def form(self) -> Form:
        """Return the request for a token."""
        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.subject,
            "aud": self.audience,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": str(uuid.uuid4()),
            **_scope(self.scope),
        }
        header = {"alg": "RS256", **({"kid": self.key_id} if self.key_id else {})}
        return {
            "grant_type": JWT_BEARER,
            # The scope is a claim: Google refuses parameters that it does not expect.
            "assertion": jwt.encode(header, claims, self.key, algorithms=["RS256"]),
        }

    def renew(self, refresh_token: str) -> None:
        """Ignore it: the next assertion will do."""

    def fall_back(self) -> bool:
        """Return False: there is nothing else."""
        return False


class RefreshToken:
    """A refresh token that a person's login gave (RFC 6749 section 6).

    An endpoint may replace it at each use. The new one is kept in memory, because nothing here
    writes Secrets; when it is refused, or after a restart, it is the Secret's again.
    """

    def __init__(
        self,
        *,
        client_id: str,
        authentication: ClientAuthentication | None,
        scope: str,
        token: str,
        place: str,
    ) -> None:
        self._client_id = client_id
        self._authentication = authentication
        self._scope = scope
        self._stored = self._token = token
        self._place = place

    @property
    def remedies(self) -> Mapping[str, str]:
        """Advice on each ``error`` of the endpoint."""
        client = self._authentication.remedy if self._authentication else "check oauth2.clientId"
        return {
            "invalid_client": client,
            "unauthorized_client": client,
            "invalid_grant": (
                "the refresh token has expired or was revoked or replaced: log in again and put "
                f"the new one into {self._place}"
            ),
        }

    async def form(self) -> Form:
        """Return the request for a token."""
        parameters = await self._authentication.parameters() if self._authentication else {}
        return {
            "grant_type": "refresh_token",
            "refresh_token": self._token,
            "client_id": self._client_id,
            **_scope(self._scope),
            **parameters,
        }

    def renew(self, refresh_token: str) -> None:
        """Take a refresh token that the endpoint wants to see from now on."""
        self._token = refresh_token

    def fall_back(self) -> bool:
        """Return to what the Secret holds; False if nothing else was shown."""
        other = self._token != self._stored
        self._token = self._stored
        return other


def _scope(scope: str) -> Form:
    return {"scope": scope} if scope else {}
