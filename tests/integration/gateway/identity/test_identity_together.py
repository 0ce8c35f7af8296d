"""Identity put together: what is asked for is there, warm, and asked in the right order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from notifications_operator.gateway.errors import AuthenticationError
from notifications_operator.gateway.identity.documents import make_session
from notifications_operator.gateway.identity.identity import Identity
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
) -> AsyncIterator[Identity]:
    async with make_session() as session, sqlite_database(directory) as database:
        yield Identity(
            oidc=OIDCSettings.model_validate(oidc or {}),
            backstage=BackstageSettings.model_validate(backstage or {}),
            namespace="notifications-inbox",
            session=session,
            database=database,
            find_user_by_email=dict[str, str]().get,
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
