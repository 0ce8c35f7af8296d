"""Login and bearer tokens with a real OpenID provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import pytest
from fastapi import FastAPI, Request

from hack.openid.login import log_in
from notifications_operator.gateway.callers.limits import FailureLimit
from notifications_operator.gateway.errors import install_error_handlers
from notifications_operator.gateway.identity.cookies import SESSION_COOKIE
from notifications_operator.gateway.identity.documents import make_session
from notifications_operator.gateway.identity.identity import Identity
from notifications_operator.gateway.identity.pending import PendingLogin
from notifications_operator.gateway.identity.settings import (
    BackstageSettings,
    KeySettings,
    LoginSettings,
    OIDCSettings,
)
from notifications_operator.gateway.principals import Access
from tests.integration.gateway.identity.identity_database import sqlite_database
from tests.support.issuer import SigningKey
from tests.support.openid import openid_provider

PAGE = "https://notifications.example.com"
CALLBACK = f"{PAGE}/auth/callback"
API = "urn:example:notifications"
SECRET = "a secret+with %41 / every:thing"
ADA = {
    "backstage_entity_ref": "user:default/Ada",
    "email": "ada@example.com",
    "email_verified": True,
}
ACCOUNTS: dict[str, dict[str, Any]] = {
    "1001": ADA,
    "1002": {"email": "bob@example.com", "email_verified": True},
    "1003": {"email": "ada@example.com", "email_verified": False},
}
ADDRESSES = {"ada@example.com": "user:default/ada", "bob@example.com": "user:default/bob"}
KEY = SigningKey.generate("RS256")
COMMON = {
    "redirect_uris": [CALLBACK],
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
}
CONFIDENTIAL = {
    **COMMON,
    "client_id": "gateway page",
    "client_secret": SECRET,
    "token_endpoint_auth_method": "client_secret_basic",
}
PUBLIC = {**COMMON, "client_id": "public", "token_endpoint_auth_method": "none"}


class Gateway:
    """A gateway with login, and a browser for it."""

    def __init__(self, issuer: str, application: FastAPI) -> None:
        self.issuer = issuer
        self._transport = httpx.ASGITransport(application)

    def browser(self) -> httpx.AsyncClient:
        """Return a browser without cookies."""
        return httpx.AsyncClient(transport=self._transport, base_url=PAGE)

    async def begin(self, browser: httpx.AsyncClient, return_to: str = "/") -> str:
        """Begin a login; return where at the issuer it goes on."""
        response = await browser.get("/auth/login", params={"return_to": return_to})
        assert response.status_code == 302, response.text
        return response.headers["location"]

    async def log_in(
        self, browser: httpx.AsyncClient, subject: str = "1001", return_to: str = "/"
    ) -> httpx.Response:
        """Log a person in; return the gateway's last answer."""
        url = await self.begin(browser, return_to)
        return await browser.get(await log_in(url, subject, until=CALLBACK))


@asynccontextmanager
async def gateway(
    directory: Path,
    *,
    client: Mapping[str, Any] = CONFIDENTIAL,
    short_id_tokens: bool = True,
    key: SigningKey = KEY,
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """Run a provider, and a gateway with one client of it."""
    async with (
        openid(key, short_id_tokens=short_id_tokens) as issuer,
        gateway_of(directory, issuer, client=client, **settings) as running,
    ):
        yield running


def openid(
    key: SigningKey, *, short_id_tokens: bool = True, port: int = 0
) -> AbstractAsyncContextManager[str]:
    """Run a provider."""
    return openid_provider(
        clients=[CONFIDENTIAL, PUBLIC],
        accounts=ACCOUNTS,
        keys=[key],
        short_id_tokens=short_id_tokens,
        port=port,
    )


@asynccontextmanager
async def gateway_of(
    directory: Path, issuer: str, *, client: Mapping[str, Any] = CONFIDENTIAL, **settings: Any
) -> AsyncIterator[Gateway]:
    """Run a gateway with one client of a provider."""
    login_settings = LoginSettings(
        client_id=client["client_id"], client_secret=client.get("client_secret"), public_url=PAGE
    )
    oidc = OIDCSettings.model_validate(
        {
            "issuer": issuer,
            "audiences": [API],
            "allow_http": True,
            "login": login_settings,
            "keys": KeySettings(unknown_key_interval=0.01),
            **settings,
        }
    )
    async with make_session() as session, sqlite_database(directory) as database:
        identity = Identity(
            oidc=oidc,
            backstage=BackstageSettings(),
            namespace="notifications-inbox",
            session=session,
            database=database,
            find_user_by_email=ADDRESSES.get,
            attempts=FailureLimit(per_minute=60),
        )
        access = Access(*identity.authenticators)
        application = FastAPI()
        install_error_handlers(application)
        for router in identity.routers(access):
            application.include_router(router)

        @application.post("/change")
        async def change(request: Request) -> dict[str, str]:
            return {"user": (await access.user(request)).entity_ref}

        yield Gateway(issuer, application)


async def test_login_and_logout(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, running.browser() as browser:
        assert (await browser.get("/auth/session")).status_code == 401
        response = await running.log_in(browser, return_to="/notifications?view=saved")
        assert response.status_code == 303, response.text
        assert response.headers["location"] == "/notifications?view=saved"
        assert response.headers["cache-control"] == "no-store"
        (cookie,) = (
            value
            for value in response.headers.get_list("set-cookie")
            if value.startswith(SESSION_COOKIE)
        )
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert attributes == {"path=/", "secure", "httponly", "samesite=lax", "max-age=86400"}

        answer = (await browser.get("/auth/session")).json()
        assert answer["userEntityRef"] == "user:default/ada"
        expires = datetime.fromisoformat(answer["expiresAt"])
        assert timedelta(hours=7, minutes=50) < expires - datetime.now(UTC) <= timedelta(hours=8)

        forged = await browser.post("/change", json={}, headers={"origin": "https://evil.example"})
        assert forged.status_code == 403
        own = await browser.post("/change", json={}, headers={"origin": PAGE})
        assert own.json() == {"user": "user:default/ada"}
        other = await browser.get("/auth/session", headers={"authorization": "Bearer made-up"})
        assert other.status_code == 401, "the cookie is ignored beside other credentials"

        assert (await browser.post("/auth/logout")).status_code == 403
        assert (await browser.get("/auth/session")).status_code == 200
        stolen = browser.cookies[SESSION_COOKIE]
        left = await browser.post("/auth/logout", json={}, headers={"origin": PAGE})
        assert left.status_code == 204
        assert SESSION_COOKIE not in browser.cookies
        assert (await browser.post("/auth/logout")).status_code == 204, "and again"
        browser.cookies.set(SESSION_COOKIE, stolen, domain="notifications.example.com")
        assert (await browser.get("/auth/session")).status_code == 401


async def test_request_to_the_issuer(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, running.browser() as browser:
        url = urlsplit(await running.begin(browser))
        assert f"{url.scheme}://{url.netloc}" == running.issuer
        query = parse_qs(url.query)
        assert query["response_type"] == ["code"]
        assert query["redirect_uri"] == [CALLBACK]
        assert query["code_challenge_method"] == ["S256"]
        assert len(query["code_challenge"][0]) == 43
        assert query["scope"] == ["openid profile email"]
        (name,) = browser.cookies
        _, nonce, verifier, _ = browser.cookies[name].split(".")
        assert query["nonce"] == [nonce]
        assert verifier not in url.query


@pytest.mark.parametrize("short_id_tokens", [True, False])
@pytest.mark.parametrize("client", [CONFIDENTIAL, PUBLIC], ids=["confidential", "public"])
async def test_clients(client: Mapping[str, Any], short_id_tokens: bool, tmp_path: Path) -> None:
    running = gateway(tmp_path, client=client, short_id_tokens=short_id_tokens)
    async with running as started, started.browser() as browser:
        response = await started.log_in(browser)
        assert response.status_code == 303, response.text


async def test_by_email(tmp_path: Path) -> None:
    async with gateway(tmp_path, match_email=True) as running:
        async with running.browser() as browser:
            await running.log_in(browser, "1002")
            answer = (await browser.get("/auth/session")).json()
            assert answer["userEntityRef"] == "user:default/bob"
        async with running.browser() as browser:
            response = await running.log_in(browser, "1003")
            assert response.status_code == 401
            assert "not verified" in response.json()["error"]["message"]
            assert SESSION_COOKIE not in browser.cookies


async def test_person_without_a_user(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, running.browser() as browser:
        response = await running.log_in(browser, "1002")
        assert response.status_code == 401
        assert "it has no claim 'backstage_entity_ref'" in response.json()["error"]["message"]


async def test_wrong_secret(tmp_path: Path) -> None:
    client = {**CONFIDENTIAL, "client_secret": "another"}
    async with gateway(tmp_path, client=client) as running, running.browser() as browser:
        response = await running.log_in(browser)
        assert response.status_code == 503, "not the person's fault"
        assert "another" not in response.text


async def test_new_id_at_every_login(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, running.browser() as browser:
        browser.cookies.set(SESSION_COOKIE, "fixed", domain="notifications.example.com")
        await running.log_in(browser)
        first = browser.cookies[SESSION_COOKIE]
        assert first != "fixed"
        await running.log_in(browser)
        assert browser.cookies[SESSION_COOKIE] != first
        browser.cookies.set(SESSION_COOKIE, first, domain="notifications.example.com")
        assert (await browser.get("/auth/session")).status_code == 401, "the one before ended"


async def test_two_tabs(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, running.browser() as browser:
        first = await running.begin(browser, "/first")
        second = await running.begin(browser, "/second")
        for url, path in ((first, "/first"), (second, "/second")):
            response = await browser.get(await log_in(url, "1001", until=CALLBACK))
            assert response.status_code == 303, response.text
            assert response.headers["location"] == path


async def test_answer_for_another_browser(tmp_path: Path) -> None:
    # Login CSRF: somebody sends a link with an answer of their own.
    async with gateway(tmp_path) as running:
        async with running.browser() as attacker:
            url = await running.begin(attacker)
            answer = await log_in(url, "1001", until=CALLBACK)
        async with running.browser() as victim:
            await running.begin(victim)
            response = await victim.get(answer)
            assert response.status_code == 400
            assert "not begun by this browser" in response.json()["error"]["message"]
            assert SESSION_COOKIE not in victim.cookies


async def test_answer_twice(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, running.browser() as browser:
        url = await running.begin(browser)
        kept = dict(browser.cookies)
        answer = await log_in(url, "1001", until=CALLBACK)
        assert (await browser.get(answer)).status_code == 303
        assert (await browser.get(answer)).status_code == 400, "the login's cookie is gone"
        for name, value in kept.items():
            browser.cookies.set(name, value, domain="notifications.example.com")
        again = await browser.get(answer)
        assert again.status_code == 401
        assert "log in again" in again.json()["error"]["message"]


async def test_answer_with_another_verifier(tmp_path: Path) -> None:
    async with gateway(tmp_path, client=PUBLIC) as running, running.browser() as browser:
        answer = await log_in(await running.begin(browser), "1001", until=CALLBACK)
        (name,) = browser.cookies
        state, nonce, _, path = browser.cookies[name].split(".")
        browser.cookies.set(
            name, ".".join((state, nonce, "x" * 43, path)), domain="notifications.example.com"
        )
        assert (await browser.get(answer)).status_code == 401


async def test_answer_with_another_nonce(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, running.browser() as browser:
        answer = await log_in(await running.begin(browser), "1001", until=CALLBACK)
        (name,) = browser.cookies
        state, _, verifier, path = browser.cookies[name].split(".")
        browser.cookies.set(
            name, ".".join((state, "x" * 43, verifier, path)), domain="notifications.example.com"
        )
        response = await browser.get(answer)
        assert response.status_code == 401
        assert "nonce" in response.json()["error"]["message"]


async def test_changed_answers(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, running.browser() as browser:
        answer = await log_in(await running.begin(browser), "1001", until=CALLBACK)

        async def status(**changes: str | None) -> int:
            parts = urlsplit(answer)
            query = {**dict(parse_qsl(parts.query)), **changes}
            kept = {name: value for name, value in query.items() if value is not None}
            changed = urlunsplit(parts._replace(query=urlencode(kept)))
            return (await browser.get(changed)).status_code

        assert await status(iss="https://evil.example") == 400
        assert await status(iss=None) == 400, "this issuer always says who it is (RFC 9207)"
        assert await status(state=None) == 400
        assert await status(state="made-up") == 400
        assert await status(code=None) == 400
        assert await status(code="made-up") == 401
        assert await status(error="access_denied") == 401
        twice = await browser.get(f"{answer}&code=other")
        assert twice.status_code == 400
        assert SESSION_COOKIE not in browser.cookies


@pytest.mark.parametrize("return_to", ["//evil.example", "https://evil.example", "/\\evil", "a"])
async def test_open_redirect(return_to: str, tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, running.browser() as browser:
        response = await browser.get("/auth/login", params={"return_to": return_to})
        assert response.status_code == 400
        assert response.json()["error"]["name"] == "InputError"


async def access_token(running: Gateway, *, resource: str = API) -> str:
    """Return an access token for an API, got by another client, as a portal would."""
    pending = PendingLogin(return_to="/")
    query = {
        "response_type": "code",
        "client_id": "public",
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "resource": resource,
        "code_challenge": pending.challenge,
        "code_challenge_method": "S256",
    }
    answer = await log_in(f"{running.issuer}/auth?{urlencode(query)}", "1001", until=CALLBACK)
    async with httpx.AsyncClient(timeout=60) as client:
        response = await client.post(
            f"{running.issuer}/token",
            data={
                "grant_type": "authorization_code",
                "client_id": "public",
                "redirect_uri": CALLBACK,
                "code": parse_qs(urlsplit(answer).query)["code"][0],
                "code_verifier": pending.verifier,
                "resource": resource,
            },
        )
    assert response.status_code == 200, response.text
    return str(response.json()["access_token"])


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_bearer_token(algorithm: str, tmp_path: Path) -> None:
    key = SigningKey.generate(algorithm)
    async with gateway(tmp_path, key=key) as running, running.browser() as browser:
        token = await access_token(running)
        header = {"authorization": f"Bearer {token}"}
        answer = await browser.get("/auth/session", headers=header)
        assert answer.status_code == 200, answer.text
        assert answer.json()["userEntityRef"] == "user:default/ada"
        changed = await browser.post("/change", headers=header)
        assert changed.status_code == 200, "no cookie, so nothing to forge"

        other = await access_token(running, resource="urn:example:other")
        refused = await browser.get("/auth/session", headers={"authorization": f"Bearer {other}"})
        assert refused.status_code == 401
        assert "it is for 'urn:example:other'" in refused.json()["error"]["message"]

        tampered = f"{token[:-8]}AAAAAAAA"
        header = {"authorization": f"Bearer {tampered}"}
        assert (await browser.get("/auth/session", headers=header)).status_code == 401


async def test_rotated_keys(tmp_path: Path) -> None:
    old = SigningKey.generate("RS256", key_id="old")
    new = SigningKey.generate("RS256", key_id="new")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        issuer = await first.enter_async_context(openid(old))
        running = await stack.enter_async_context(gateway_of(tmp_path, issuer))
        browser = await stack.enter_async_context(running.browser())

        async def status(token: str) -> int:
            header = {"authorization": f"Bearer {token}"}
            return (await browser.get("/auth/session", headers=header)).status_code

        before = await access_token(running)
        assert await status(before) == 200
        await first.aclose()
        assert await status(before) == 200, "the issuer is away, its keys are kept"
        await stack.enter_async_context(openid(new, port=urlsplit(issuer).port or 0))
        after = await access_token(running)
        assert await status(after) == 200
        assert await status(before) == 401
