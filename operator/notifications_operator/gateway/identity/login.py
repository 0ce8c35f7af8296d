"""Login in the browser: authorization code with PKCE (OpenID Connect Core section 3.1)."""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit, urlunsplit

from ...telemetry.redaction import remember_secrets
from ..errors import AuthenticationError, InputError, ServiceUnavailableError
from .documents import DocumentError
from .keys import KeysUnavailable
from .pending import PendingLogin
from .provider import OpenIDProvider, ProviderMetadata
from .settings import LoginSettings
from .tokens import TokenError, UnverifiedToken
from .users import UserMapping

logger = logging.getLogger(__name__)

CALLBACK_PATH = "/auth/callback"
_RETRY_AFTER = 10

REQUESTS_AT_ONCE = 10
"""Most requests under way that logins cause at the issuer."""


class Login:
    """Sends people to the issuer, and learns from its answer who they are.

    Parameters
    ----------
    settings
        The client.
    provider
        The issuer.
    users
        Maps what it says to users of the catalog.
    """

    def __init__(
        self, settings: LoginSettings, *, provider: OpenIDProvider, users: UserMapping
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._users = users
        self._under_way = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._redirect_uri = settings.origin + CALLBACK_PATH
        if settings.client_secret is not None:
            remember_secrets("oidc-client", [settings.client_secret.get_secret_value()])

    async def url(self, pending: PendingLogin) -> str:
        """Return the URL at the issuer where the person logs in.

        Raises
        ------
        ServiceUnavailableError
            If the issuer cannot be reached.
        """
        endpoint = (await self._metadata()).authorization_endpoint
        if endpoint is None:
            raise self._unavailable("it has no authorization_endpoint")
        parameters = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": pending.challenge,
            "code_challenge_method": "S256",
        }
        # RFC 6749 section 3.1: the endpoint may have a query of its own, which is kept.
        parts = urlsplit(endpoint)
        query = "&".join(filter(None, (parts.query, urlencode(parameters))))
        return urlunsplit(parts._replace(query=query, fragment=""))

    async def finish(self, pending: PendingLogin, *, code: str, issuer: str | None) -> str:
        """Return the ref of the user who logged in.

        Parameters
        ----------
        code
            The answer's authorization code.
        issuer
            The answer's ``iss``, if it has one.

        Raises
        ------
        InputError
            If the answer is another issuer's.
        AuthenticationError
            If the issuer refuses the code, or says of nobody in the catalog who logged in.
        ServiceUnavailableError
            If the issuer cannot be reached.
        """
        metadata = await self._metadata()
        self._check_issuer(metadata, issuer)
        answer = await self._exchange(metadata, code, pending.verifier)
        try:
            claims = await self._verify(answer.get("id_token"), pending.nonce)
            if not self._users.names_user(claims):
                claims = await self._user_info(metadata, answer, claims)
            return self._users.entity_ref(claims)
        except TokenError as error:
            raise AuthenticationError(f"The login is not accepted: {error}") from error
        except KeysUnavailable as error:
            raise self._unavailable(str(error)) from error

    async def _metadata(self) -> ProviderMetadata:
        try:
            return await self._provider.metadata()
        except DocumentError as error:
            raise self._unavailable(str(error)) from error

    def _check_issuer(self, metadata: ProviderMetadata, issuer: str | None) -> None:
        """Refuse answers that another issuer mixed in (RFC 9207 section 2.4)."""
        if issuer is None and not metadata.sends_issuer:
            return
        if issuer != self._provider.issuer:
            raise InputError("The answer is not that of the issuer that was asked")

    async def _exchange(
        self, metadata: ProviderMetadata, code: str, verifier: str
    ) -> dict[str, Any]:
        """Exchange the code for tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5)."""
        if metadata.token_endpoint is None:
            raise self._unavailable("it has no token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        headers = self._identify_client(metadata, form)
        try:
            async with self._under_way:
                return await self._provider.documents.post_form(
                    metadata.token_endpoint, form, headers=headers
                )
        except DocumentError as error:
            if error.status == HTTPStatus.BAD_REQUEST:
                raise AuthenticationError(
                    "The issuer does not accept this login any more; log in again"
                ) from error
            raise self._unavailable(str(error)) from error

    def _identify_client(
        self, metadata: ProviderMetadata, form: dict[str, str]
    ) -> Mapping[str, str]:
        """Add the client to a request, in the form or as headers (RFC 6749 section 2.3.1)."""
        client_id, secret = self._settings.client_id, self._settings.client_secret
        if secret is None:
            form["client_id"] = client_id
            return {}
        value = secret.get_secret_value()
        if "client_secret_basic" in metadata.token_endpoint_auth_methods:
            credentials = f"{quote_plus(client_id)}:{quote_plus(value)}"
            return {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}
        form["client_id"], form["client_secret"] = client_id, value
        return {}

    async def _verify(self, text: object, nonce: str) -> Mapping[str, Any]:
        """Return the claims of an ID token (OpenID Connect Core section 3.1.3.7)."""
        token = UnverifiedToken.read(text) if isinstance(text, str) else None
        if token is None:
            raise TokenError("there is no ID token")
        client_id = self._settings.client_id
        claims = (await self._provider.verify(token, audiences=(client_id,))).claims
        given = claims.get("nonce")
        if not isinstance(given, str) or not secrets.compare_digest(given.encode(), nonce.encode()):
            raise TokenError("its nonce is not that of this login")
        several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
        if (several or "azp" in claims) and claims.get("azp") != client_id:
            raise TokenError("it was issued to another client (azp)")
        return claims

    async def _user_info(
        self, metadata: ProviderMetadata, answer: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return what the issuer says of the person where its ID tokens are short.

        That is the claims as they were if it says nothing more.
        """
        access_token = answer.get("access_token")
        if metadata.userinfo_endpoint is None or not isinstance(access_token, str):
            return claims
        try:
            async with self._under_way:
                said = await self._provider.documents.get(
                    metadata.userinfo_endpoint, headers={"Authorization": f"Bearer {access_token}"}
                )
        except DocumentError as error:
            raise self._unavailable(str(error)) from error
        # OpenID Connect Core section 5.3.2: it may be of somebody else.
        if said.get("sub") != claims.get("sub"):
            raise TokenError("the issuer's user info is of another person")
        return said

    def _unavailable(self, reason: str) -> ServiceUnavailableError:
        logger.warning("logins fail: %s: %s", self._provider.issuer, reason)
        return ServiceUnavailableError("Nobody can log in at the moment", retry_after=_RETRY_AFTER)
