"""People who show a bearer token of the OpenID Connect issuer."""

from __future__ import annotations

from typing import Final

from starlette.requests import HTTPConnection

from ..errors import AuthenticationError, ServiceUnavailableError
from ..principals import UserPrincipal
from .bearer import bearer_token
from .keys import KeysUnavailable
from .provider import OpenIDProvider
from .settings import OIDCSettings
from .tokens import TokenError, UnverifiedToken
from .users import UserMapping

_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""``typ`` of ID tokens and access tokens (RFC 9068 section 2.1), in lower case.

Other tokens of the issuer, ``logout+jwt`` say, are for other uses (RFC 8725 section 3.11).
"""


class OIDCAuthenticator:
    """Bearer tokens (RFC 6750) of one issuer.

    Parameters
    ----------
    settings
        Without audiences no token is accepted.
    provider
        The issuer.
    users
        Maps its tokens to users.
    """

    def __init__(
        self, settings: OIDCSettings, *, provider: OpenIDProvider, users: UserMapping
    ) -> None:
        self._audiences = tuple(settings.audiences)
        self._provider = provider
        self._users = users

    async def authenticate(self, connection: HTTPConnection) -> UserPrincipal | None:
        """Return the user whose token was shown, ``None`` if none of this issuer was.

        Raises
        ------
        AuthenticationError
            If the token is not valid, or names no user.
        ServiceUnavailableError
            If the issuer's keys cannot be had.
        """
        text = bearer_token(connection)
        token = None if text is None else UnverifiedToken.read(text)
        if token is None or token.claims.get("iss") != self._provider.issuer:
            return None
        if not self._audiences:
            raise AuthenticationError("The token is not accepted: log in with the browser instead")
        try:
            _check_type(token)
            verified = await self._provider.verify(token, audiences=self._audiences)
            entity_ref = self._users.entity_ref(verified.claims)
        except TokenError as error:
            raise AuthenticationError(f"The token is not accepted: {error}") from error
        except KeysUnavailable as error:
            raise ServiceUnavailableError(
                "The token cannot be checked at the moment", retry_after=error.retry_after
            ) from error
        return UserPrincipal(entity_ref=entity_ref, expires=verified.expires)


def _check_type(token: UnverifiedToken) -> None:
    kind = token.header.get("typ")
    # RFC 7515 section 4.1.9: optional, and a media type, so compared without regard to case.
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):
        raise TokenError("its typ is not that of an ID token or an access token")
