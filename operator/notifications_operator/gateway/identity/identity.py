"""All the ways in which people, and Backstage's plugins, show who they are, put together."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiohttp
from fastapi import APIRouter

from ..inbox.database import Database
from ..principals import Access, Attempts, Authenticator
from .backstage import BackstageAuthenticator
from .cookies import SessionAuthenticator
from .login import Login
from .oidc import OIDCAuthenticator
from .provider import OpenIDProvider
from .routes import login_router, session_router
from .sessions import Sessions
from .settings import BackstageSettings, LoginSettings, OIDCSettings
from .users import FindUserByEmail, UserMapping


class Identity:
    """What the settings ask for of OpenID Connect, login and Backstage.

    Parameters
    ----------
    oidc, backstage
        Either may be off.
    namespace
        Where the Notifications of Backstage's plugins are made if the settings do not say.
    session
        HTTP client for issuers, as `documents.make_session` makes it.
    database
        Has the sessions.
    find_user_by_email
        Looks users of the catalog up.
    attempts
        Bounds the logins that fail.
    """

    def __init__(
        self,
        *,
        oidc: OIDCSettings,
        backstage: BackstageSettings,
        namespace: str,
        session: aiohttp.ClientSession,
        database: Database,
        find_user_by_email: FindUserByEmail,
        attempts: Attempts,
    ) -> None:
        self._authenticators: list[Authenticator] = []
        self._attempts = attempts
        self._sources: list[OpenIDProvider | BackstageAuthenticator] = []
        self._login: APIRouter | None = None
        self._sessions: Sessions | None = None
        # First, because it takes the tokens of its issuer alone: an older Backstage's user tokens
        # are known by their audience, which might be the name of a client there.
        if oidc.enabled:
            self._add_oidc(oidc, session, database, find_user_by_email)
        if backstage.enabled:
            authenticator = BackstageAuthenticator(backstage, session, namespace=namespace)
            self._authenticators.append(authenticator)
            self._sources.append(authenticator)

    @property
    def authenticators(self) -> tuple[Authenticator, ...]:
        """In the order in which they are to be asked."""
        return tuple(self._authenticators)

    @property
    def sessions(self) -> Sessions | None:
        """The sessions of browsers, if they can log in."""
        return self._sessions

    @property
    def ready(self) -> bool:
        """Whether tokens can be verified, or their issuers were waited for long enough."""
        return all(source.ready for source in self._sources)

    @property
    def problem(self) -> str | None:
        """Why some tokens cannot be verified, if so."""
        problems = (source.problem for source in self._sources)
        return next((problem for problem in problems if problem is not None), None)

    def routers(self, access: Access) -> list[APIRouter]:
        """Return the routes below ``/auth``.

        Parameters
        ----------
        access
            With `authenticators` among its own.
        """
        routers = [session_router(access)]
        if self._login is not None:
            routers.append(self._login)
        return routers

    async def run(self) -> None:
        """Keep all issuers' keys fresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(source.run())
            await asyncio.Event().wait()

    def _add_oidc(
        self,
        settings: OIDCSettings,
        session: aiohttp.ClientSession,
        database: Database,
        find_user_by_email: FindUserByEmail,
    ) -> None:
        provider = OpenIDProvider(settings, session)
        users = UserMapping(
            claim=settings.entity_ref_claim,
            match_email=settings.match_email,
            find_user_by_email=find_user_by_email,
        )
        self._sources.append(provider)
        self._authenticators.append(OIDCAuthenticator(settings, provider=provider, users=users))
        if settings.login is not None:
            login = Login(settings.login, provider=provider, users=users)
            self._add_login(settings.login, login, database)

    def _add_login(self, settings: LoginSettings, login: Login, database: Database) -> None:
        sessions = Sessions(
            database,
            idle_timeout=timedelta(seconds=settings.idle_timeout),
            absolute_timeout=timedelta(seconds=settings.absolute_timeout),
        )
        self._sessions = sessions
        cookies = SessionAuthenticator(sessions, origin=settings.origin)
        self._authenticators.append(cookies)
        self._login = login_router(login, sessions, cookies, self._attempts)
