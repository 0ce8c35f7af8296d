"""Callers that show tokens of a Backstage backend.

What they are, by upstream's files:

- ``plugins/auth-node/src/types.ts``: the values of ``typ``, and the audience of users' tokens.
- ``plugins/auth-backend/src/identity/issueUserToken.ts``: users' tokens, with ``sub``, ``ent``,
  ``aud: backstage`` and ``uip``, the proof that makes a *limited* token of them: the signature of
  the same user's token without ``ent`` and ``aud``.
- ``packages/backend-defaults/src/entrypoints/auth/user/UserTokenHandler.ts``: how they are
  verified, and that those of older backends have no ``typ``.
- ``packages/backend-defaults/src/entrypoints/auth/plugin/PluginTokenHandler.ts``: plugins' tokens,
  with ``sub`` (who sends), ``aud`` (to whom) and, on behalf of a user, ``obo``.
- ``packages/backend-defaults/src/entrypoints/auth/DefaultAuthService.ts``: what they stand for.

Different here: keys are fetched of the plugins in the settings alone (upstream asks any URL that
an unverified ``sub`` leads to), and the clocks may differ by ``clock_skew``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import aiohttp
from starlette.requests import HTTPConnection

from ...catalog.quoting import quoted
from ..errors import (
    AuthenticationError,
    NotAllowedError,
    ServiceUnavailableError,
)
from ..principals import (
    Principal,
    ServicePrincipal,
    UserPrincipal,
)
from .algorithms import ASYMMETRIC_ALGORITHMS
from .bearer import bearer_token
from .documents import DocumentReader
from .keys import KeySource, KeysUnavailable
from .settings import BackstageSettings
from .tokens import TokenError, TokenVerifier, UnverifiedToken, VerifiedToken
from .users import user_ref

USER_TYPE: Final = "vnd.backstage.user"
LIMITED_USER_TYPE: Final = "vnd.backstage.limited-user"
PLUGIN_TYPE: Final = "vnd.backstage.plugin"
USER_AUDIENCE: Final = "backstage"

NOTIFICATIONS_PLUGIN: Final = "notifications"
SIGNALS_PLUGIN: Final = "signals"
_SIGNALS_PATH: Final = f"/api/{SIGNALS_PLUGIN}"


class BackstageAuthenticator:
    """Users' tokens, and plugins' own or on behalf of users.

    Parameters
    ----------
    settings
        With a base URL.
    session
        As `documents.make_session` makes it.
    namespace
        Where the Notifications of plugins are made if the settings do not say.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self,
        settings: BackstageSettings,
        session: aiohttp.ClientSession,
        *,
        namespace: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if settings.base_url is None:
            raise ValueError("there is no Backstage")
        self._settings = settings
        self._namespace = settings.namespace or namespace
        self._documents = DocumentReader(
            session, allow_http=settings.allow_http, timeout=settings.keys.request_timeout
        )
        base = settings.base_url.rstrip("/")
        self._user_keys = self._key_source(
            "Backstage's users", f"{base}/api/auth/.well-known/jwks.json"
        )
        self._plugin_keys = {
            name: self._key_source(
                f"Backstage's plugin {name}", f"{base}/api/{name}/.backstage/auth/v1/jwks.json"
            )
            for name in settings.plugins
        }
        self._users = self._verifier(self._user_keys, clock)
        self._plugins = {
            name: self._verifier(keys, clock) for name, keys in self._plugin_keys.items()
        }

    @property
    def ready(self) -> bool:
        """Whether users' tokens can be verified, and every plugin was asked for its keys."""
        return self._user_keys.ready and all(keys.tried for keys in self._plugin_keys.values())

    @property
    def problem(self) -> str | None:
        """Why some tokens cannot be verified, if so."""
        sources = (self._user_keys, *self._plugin_keys.values())
        return next((keys.problem for keys in sources if keys.problem is not None), None)

    async def run(self) -> None:
        """Keep all keys fresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for keys in (self._user_keys, *self._plugin_keys.values()):
                tasks.create_task(keys.run())

    async def authenticate(self, connection: HTTPConnection) -> Principal | None:
        """Return whose token was shown, ``None`` if none of Backstage was.

        Raises
        ------
        AuthenticationError
            If the token is not valid.
        NotAllowedError
            If it is that of a plugin that may not send.
        ServiceUnavailableError
            If the keys to verify it cannot be had.
        """
        text = bearer_token(connection)
        token = None if text is None else UnverifiedToken.read(text)
        if token is None:
            return None
        try:
            if token.header.get("typ") == PLUGIN_TYPE:
                return await self._plugin(token, audience=_audience(connection))
            if not _is_user_token(token):
                return None
            if token.header.get("typ") == LIMITED_USER_TYPE:
                # By itself it is a cookie's, for static content.
                raise AuthenticationError("Illegal limited user token")
            return await self._user(token)
        except KeysUnavailable as error:
            raise ServiceUnavailableError(
                "The token cannot be checked at the moment", retry_after=error.retry_after
            ) from error

    async def _plugin(self, token: UnverifiedToken, *, audience: str) -> Principal:
        name = token.claims.get("sub")
        if not isinstance(name, str) or name not in self._plugins:
            raise AuthenticationError(
                f"Failed plugin token verification: the plugin {quoted(str(name))} is not among "
                "those that the gateway knows (setting backstage.plugins)"
            )
        try:
            verified = await self._plugins[name].verify(token, audiences=(audience,))
        except TokenError as error:
            raise AuthenticationError(f"Failed plugin token verification: {error}") from error
        if verified.claims.get("obo") is not None:
            return await self._on_behalf(verified)
        return self._service(name)

    async def _on_behalf(self, plugin: VerifiedToken) -> UserPrincipal:
        text = plugin.claims["obo"]
        token = UnverifiedToken.read(text) if isinstance(text, str) else None
        if token is None or not _is_user_token(token):
            raise AuthenticationError("Invalid user token in plugin token obo claim")
        user = await self._user(token)
        assert user.expires is not None
        return UserPrincipal(entity_ref=user.entity_ref, expires=min(user.expires, plugin.expires))

    async def _user(self, token: UnverifiedToken) -> UserPrincipal:
        # A limited token has no audience: it is rebuilt from the claims that its proof covers.
        limited = token.header.get("typ") == LIMITED_USER_TYPE
        try:
            verified = await self._users.verify(
                token, audiences=None if limited else (USER_AUDIENCE,)
            )
            entity_ref = user_ref(verified.claims.get("sub"), claim="sub")
        except TokenError as error:
            raise AuthenticationError(f"Failed user token verification: {error}") from error
        return UserPrincipal(entity_ref=entity_ref, expires=verified.expires)

    def _service(self, name: str) -> ServicePrincipal:
        plugin = self._settings.plugins[name]
        if not plugin.send:
            raise NotAllowedError(f"The plugin '{name}' may not send notifications")
        return ServicePrincipal(
            subject=f"plugin:{name}",
            namespace=plugin.namespace or self._namespace,
            broadcast=plugin.broadcast,
            max_recipients=plugin.max_recipients,
            rate=plugin.rate,
        )

    def _key_source(self, issuer: str, url: str) -> KeySource:
        async def locate() -> str:
            return url

        return KeySource(
            issuer=issuer, locate=locate, documents=self._documents, settings=self._settings.keys
        )

    def _verifier(self, keys: KeySource, clock: Callable[[], float]) -> TokenVerifier:
        return TokenVerifier(
            keys,
            algorithms=ASYMMETRIC_ALGORITHMS,
            clock_skew=self._settings.clock_skew,
            clock=clock,
        )


def _is_user_token(token: UnverifiedToken) -> bool:
    kind = token.header.get("typ")
    if kind is None:
        return token.claims.get("aud") == USER_AUDIENCE
    return kind in (USER_TYPE, LIMITED_USER_TYPE)


def _audience(connection: HTTPConnection) -> str:
    """Return the plugin that the request is for: a token for the one is not one for the other."""
    # Not of its URL: that is put together with the Host header, which is the client's.
    path: str = connection.scope["path"]
    if path == _SIGNALS_PATH or path.startswith(f"{_SIGNALS_PATH}/"):
        return SIGNALS_PLUGIN
    return NOTIFICATIONS_PLUGIN
