"""Identity put together: what is asked for is there, warm, and asked in the right order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from fastapi import FastAPI
from fastapi.routing import APIRoute

from notifications_operator.gateway.callers.limits import FailureLimit
from notifications_operator.gateway.errors import AuthenticationError, install_error_handlers
from notifications_operator.gateway.identity.documents import make_session
from notifications_operator.gateway.identity.identity import Identity
from notifications_operator.gateway.identity.pending import PendingLogin
from notifications_operator.gateway.identity.settings import (
    BackstageSettings,
    KeySettings,
    OIDCSettings,
)
from notifications_operator.gateway.principals import Access, ServicePrincipal
from tests.integration.gateway.identity.identity_database import sqlite_database
from tests.support.issuer import Issuer, SigningKey, connection, issuing

SCAFFOLDER = SigningKey.generate(key_id="scaffolder")
LOGIN = {"client_id": "backstage", "public_url": "https://notifications.example.com"}


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An OpenID Connect issuer and a Backstage at once, with one key."""
    async with issuing() as issuer:
        issuer.documents["/api/auth/.well-known/jwks.json"] = issuer.jwks
        issuer.documents["/api/scaffolder/.backstage/auth/v1/jwks.json"] = lambda: {
            "keys": [SCAFFOLDER.public]
        }
        yield issuer


@asynccontextmanager
async def identity_of(
    directory: Path,
    *,
    oidc: dict[str, Any] | None = None,
    backstage: dict[str, Any] | None = None,
    failures_per_minute: int = 60,
) -> AsyncIterator[Identity]:
    async with make_session() as session, sqlite_database(directory) as database:
        yield Identity(
            oidc=OIDCSettings.model_validate(oidc or {}),
            backstage=BackstageSettings.model_validate(backstage or {}),
            namespace="notifications-inbox",
            session=session,
            database=database,
            find_user_by_email=dict[str, str]().get,
            attempts=FailureLimit(per_minute=failures_per_minute),
        )


def oidc_of(issuer: Issuer, **changes: Any) -> dict[str, Any]:
    keys = KeySettings(warm_grace=3600)
    return {"issuer": issuer.url, "login": LOGIN, "allow_http": True, "keys": keys, **changes}


def backstage_of(issuer: Issuer) -> dict[str, Any]:
    return {"base_url": issuer.url, "plugins": {"scaffolder": {}}, "allow_http": True}


def paths(identity: Identity) -> set[str]:
    routes = [route for router in identity.routers(Access()) for route in router.routes]
    return {route.path for route in routes if isinstance(route, APIRoute)}


def claims_of(issuer: Issuer, **changes: Any) -> dict[str, Any]:
    """Return claims that are valid now; `Identity` goes by the machine's clock."""
    now = int(time.time())
    return issuer.claims(iat=now - 10, exp=now + 600, **changes)


async def test_nothing_asked_for(tmp_path: Path) -> None:
    async with identity_of(tmp_path) as identity:
        assert identity.authenticators == ()
        assert identity.ready
        assert identity.problem is None
        assert "/auth/session" in paths(identity)
        assert "/auth/login" not in paths(identity)
        # Without anything to do it must not end: a gateway ends when one of its parts does.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(identity.run(), 0.1)


async def test_everything_asked_for(issuer: Issuer, tmp_path: Path) -> None:
    running = identity_of(
        tmp_path, oidc=oidc_of(issuer, audiences=["api"]), backstage=backstage_of(issuer)
    )
    async with running as identity:
        assert len(identity.authenticators) == 3
        assert {"/auth/session", "/auth/login", "/auth/callback", "/auth/logout"} <= paths(identity)
        assert not identity.ready
        assert identity.problem is not None
        task = asyncio.create_task(identity.run())
        try:
            async with asyncio.timeout(30):
                while not identity.ready or identity.problem is not None:
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        asked = issuer.requests.total()
        access = Access(*identity.authenticators)
        token = issuer.key.sign(claims_of(issuer, aud="api"))
        assert (await access.user(connection(token))).entity_ref == "user:default/ada"
        plugin = SCAFFOLDER.sign(
            claims_of(issuer, iss=None, sub="scaffolder", aud="notifications"),
            typ="vnd.backstage.plugin",
        )
        assert await access.service(connection(plugin)) == ServicePrincipal(
            subject="plugin:scaffolder", namespace="notifications-inbox"
        )
        assert issuer.requests.total() == asked, "warm: no request waits for an issuer"


async def test_client_that_is_named_as_users_of_older_backstages(
    issuer: Issuer, tmp_path: Path
) -> None:
    # Both have no typ and the audience "backstage"; the issuer tells them apart.
    running = identity_of(
        tmp_path, oidc=oidc_of(issuer, audiences=["backstage"]), backstage=backstage_of(issuer)
    )
    async with running as identity:
        access = Access(*identity.authenticators)
        by_oidc = issuer.key.sign(claims_of(issuer, aud="backstage", sub="1001"))
        assert (await access.user(connection(by_oidc))).entity_ref == "user:default/ada"
        by_backstage = issuer.key.sign(
            claims_of(issuer, aud="backstage", iss="https://backstage/api/auth", sub="user:a/eve")
        )
        assert (await access.user(connection(by_backstage))).entity_ref == "user:a/eve"


async def test_ids_of_the_login_are_no_bearer_tokens(issuer: Issuer, tmp_path: Path) -> None:
    async with identity_of(tmp_path, oidc=oidc_of(issuer)) as identity:
        access = Access(*identity.authenticators)
        token = issuer.key.sign(claims_of(issuer, aud="backstage"))
        with pytest.raises(AuthenticationError, match="log in with the browser"):
            await access.user(connection(token))


@pytest.fixture
async def refusing(issuer: Issuer) -> Issuer:
    """An issuer that knows no code."""

    def refuse() -> None:
        raise web.HTTPBadRequest(text='{"error": "invalid_grant"}')

    issuer.documents["/.well-known/openid-configuration"] = lambda: {
        "issuer": issuer.url,
        "jwks_uri": f"{issuer.url}/jwks",
        "authorization_endpoint": f"{issuer.url}/authorize",
        "token_endpoint": f"{issuer.url}/token",
    }
    issuer.documents["/token"] = refuse
    return issuer


@asynccontextmanager
async def stranger(identity: Identity) -> AsyncIterator[Callable[[int], Awaitable[httpx.Response]]]:
    """Give somebody who makes up codes, with a state and the cookie that goes with it."""
    application = FastAPI()
    install_error_handlers(application)
    for router in identity.routers(Access()):
        application.include_router(router)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application), base_url=LOGIN["public_url"]
    ) as browser:

        async def make_up(number: int) -> httpx.Response:
            pending = PendingLogin(return_to="/")
            return await browser.get(
                "/auth/callback",
                params={"state": pending.state, "code": f"made-up-{number}"},
                headers={"cookie": f"{pending.cookie_name}={pending.to_cookie()}"},
            )

        yield make_up


async def test_made_up_codes_are_refused_before_the_issuer_is_asked(
    refusing: Issuer, tmp_path: Path
) -> None:
    running = identity_of(tmp_path, oidc=oidc_of(refusing), failures_per_minute=3)
    async with running as identity, stranger(identity) as make_up:
        for number in range(3):
            assert (await make_up(number)).status_code == 401
        refused = await make_up(3)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 20
        assert refusing.requests["/token"] == 3


async def test_made_up_codes_at_once(refusing: Issuer, tmp_path: Path) -> None:
    running = identity_of(tmp_path, oidc=oidc_of(refusing), failures_per_minute=3)
    async with running as identity, stranger(identity) as make_up:
        answers = await asyncio.gather(*(make_up(number) for number in range(50)))
        assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 47
        assert refusing.requests["/token"] == 3
