"""Who asks: a user or a service, as upstream's ``httpAuth`` tells them apart."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from starlette.requests import HTTPConnection

from .errors import AuthenticationError, NotAllowedError, SessionEndedError


@dataclass(frozen=True, kw_only=True)
class UserPrincipal:
    """A person.

    Attributes
    ----------
    entity_ref
        The user in the catalog, in lower case: ``user:default/ada``.
    expires
        When what the person showed is worth nothing any more; ``None`` if it does not expire.
    session
        Key of the browser's session, which may end earlier; ``None`` if it was no session.
    """

    entity_ref: str
    expires: datetime | None = None
    session: str | None = None


@dataclass(frozen=True, kw_only=True)
class ServicePrincipal:
    """A service that may send.

    Attributes
    ----------
    subject
        Becomes the origin of what it sends.
    namespace
        Where its Notifications are made.
    broadcast
        Whether it may address everybody.
    max_recipients
        Most entity refs that one request may name; ``None``: no bound but the API's.
    rate
        Most requests to send a minute; ``None``: no bound.
    """

    subject: str
    namespace: str
    broadcast: bool = False
    max_recipients: int | None = None
    rate: int | None = None


Principal = UserPrincipal | ServicePrincipal


class Authenticator(Protocol):
    """One way to show who one is."""

    async def authenticate(self, connection: HTTPConnection) -> Principal | None:
        """Return who asks, or ``None`` if nothing was shown that this way is about.

        Raises
        ------
        AuthenticationError
            If something was shown that is not valid.
        """


class Failures(Protocol):
    """Takes notice of credentials that are not valid."""

    def record(self, connection: HTTPConnection) -> None:
        """Count one; raises `TooManyRequestsError` if it is one too many."""


class Attempts(Protocol):
    """Bounds attempts that cost something before it is known whether they fail."""

    def attempt(self, connection: HTTPConnection) -> AbstractContextManager[None]:
        """Count one unless it succeeds; raises `TooManyRequestsError` if it is one too many."""


class Access:
    """Tells who asks, by all the ways there are.

    Parameters
    ----------
    failures
        Told of everybody whose credentials are not valid, before that is answered; not of sessions
        that have ended.
    """

    def __init__(self, *authenticators: Authenticator, failures: Failures | None = None) -> None:
        self._authenticators = authenticators
        self._failures = failures

    async def user(self, connection: HTTPConnection) -> UserPrincipal:
        """Return the user who asks.

        Raises
        ------
        AuthenticationError
            If it is not known who asks.
        NotAllowedError
            If it is a service.
        """
        principal = await self._authenticate(connection)
        if not isinstance(principal, UserPrincipal):
            raise NotAllowedError("This endpoint does not allow 'service' credentials")
        return principal

    async def service(self, connection: HTTPConnection) -> ServicePrincipal:
        """Return the service that asks; raises like `user`."""
        principal = await self._authenticate(connection)
        if not isinstance(principal, ServicePrincipal):
            raise NotAllowedError("This endpoint does not allow 'user' credentials")
        return principal

    async def _authenticate(self, connection: HTTPConnection) -> Principal:
        try:
            principal = await self._recognise(connection)
        except SessionEndedError:
            raise
        except AuthenticationError:
            if self._failures is not None:
                self._failures.record(connection)
            raise
        if principal is None:
            raise AuthenticationError("Missing credentials")
        return principal

    async def _recognise(self, connection: HTTPConnection) -> Principal | None:
        """Return who asks, or ``None`` if nothing was shown."""
        for authenticator in self._authenticators:
            if (principal := await authenticator.authenticate(connection)) is not None:
                return principal
        if connection.headers.get("authorization"):
            raise AuthenticationError("The credentials are not valid here")
        return None
