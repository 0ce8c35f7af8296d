"""A token endpoint on this machine: as strict as RFC 6749 and RFC 7523, as faulty as it is told.

Its tokens are known to the mail server that asks `TokenEndpointPeer.verify` about them: they
expire, and can be revoked.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from tests.support.smtp import Certificate

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LONGEST_ASSERTION = 3600
"""Seconds for which Google lets an assertion be valid."""

PATH = "/oauth2/v2.0/token"

Fault = web.Response | Callable[[web.Request], Awaitable[web.StreamResponse]]
"""An answer instead of the right one, or something that makes one."""


class OAuthError(Exception):
    """An error of RFC 6749 section 5.2."""

    def __init__(self, code: str, description: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.description = description
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A token that was given out: for whom, and until when."""

    token: str
    user: str | None
    expires_at: float


@dataclass(kw_only=True)
class TokenEndpointPeer:
    """A token endpoint on a port of its own.

    Attributes
    ----------
    certificate
        Of its TLS.
    client_id, client_secrets
        The client; several secrets are valid while they are exchanged.
    federated
        Keys whose tokens are taken instead of a secret, and what their claims must be.
    key
        The public key of assertions.
    scope
        What has to be asked for.
    refresh_tokens
        Those that are valid.
    rotates
        Whether a refresh token is replaced at each use, and the old one ends.
    seconds
        How long tokens live.
    expires_in
        What is said about that, if it is a lie.
    token_octets
        How long tokens are; those of Microsoft have more than a line of SMTP takes.
    clock
        The time.
    """

    certificate: Certificate
    host: str = "127.0.0.1"
    client_id: str = "client-1"
    client_secrets: set[str] = field(default_factory=lambda: {"client-secret-1"})
    federated: tuple[RSAKey, Mapping[str, str]] | None = None
    key: RSAKey | None = None
    scope: str = "https://mail.example/"
    refresh_tokens: set[str] = field(default_factory=set)
    rotates: bool = False
    seconds: float = 3600
    expires_in: Any = ...
    token_octets: int = 900
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.port = 0
        self.issued: dict[str, Issued] = {}
        self.given: list[str] = []
        self.requests = 0
        self.at_once = 0
        self.forms: list[dict[str, str]] = []
        self.errors: list[str] = []
        self.violations: list[str] = []
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self._under_way = 0
        self._seen: set[str] = set()
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The URL that tokens are asked for at."""
        return f"https://{self.host}:{self.port}{PATH}"

    def verify(self, user: str, token: str) -> str | None:
        """Say what is wrong with a token that is shown for a user."""
        found = self.issued.get(token)
        if found is None or found.user not in (None, user):
            return "invalid_token"
        return None if self.clock() < found.expires_at else "expired_token"

    def revoke(self) -> None:
        """End all tokens that were given out."""
        self.issued.clear()

    async def wait_for_requests(self, count: int, timeout: float = 10) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: self.requests >= count)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen: on a free port, and after that on the same."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, shutdown_timeout=0)
        await self._runner.setup()
        context = self.certificate.context
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        async with self._changed:
            self._changed.notify_all()
        try:
            fault = self.faults.pop(0) if self.faults else self.always
            if isinstance(fault, web.Response):
                return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
            if fault is not None:
                return await fault(request)
            return await self.answer(request)
        except ConnectionError:
            # The client is gone; nobody hears this.
            return web.Response(status=408)
        finally:
            self._under_way -= 1

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as RFC 6749 section 5 says."""
        try:
            said = await self._grant(request)
        except OAuthError as error:
            self.errors.append(error.code)
            body = {"error": error.code, "error_description": error.description}
            return _json(body, status=error.status)
        return _json(said)

    async def _grant(self, request: web.Request) -> dict[str, Any]:
        form = await self._form(request)
        self.forms.append(form)
        match form.get("grant_type"):
            case "client_credentials":
                self._authenticate(form)
                self._check_scope(form)
                return self._issue(None)
            case "refresh_token":
                self._authenticate(form)
                return self._refresh(form)
            case grant if grant == JWT_BEARER:
                return self._issue(self._assertion(form))
            case _:
                raise OAuthError("unsupported_grant_type")

    async def _form(self, request: web.Request) -> dict[str, str]:
        if request.path != PATH or request.method != "POST":
            self.violations.append(f"{request.method} {request.path}")
            raise OAuthError("invalid_request", status=404)
        if request.content_type != "application/x-www-form-urlencoded":
            self.violations.append(f"Content-Type {request.content_type}")
        if request.query or "Authorization" in request.headers:
            self.violations.append("credentials or parameters outside the form")
        found = await request.post()
        form = {name: str(value) for name, value in found.items()}
        if len(form) != len(found) or "" in form.values():
            # RFC 6749 section 3.2: no parameter twice; one without value counts as left out.
            self.violations.append(f"parameters twice or empty: {sorted(found)}")
        return form

    def _authenticate(self, form: Mapping[str, str]) -> None:
        if form.get("client_id") != self.client_id:
            raise OAuthError("unauthorized_client", "application not found in the directory")
        if self.federated is not None:
            self._check_federated(form)
        elif form.get("client_secret") not in self.client_secrets:
            shown = form.get("client_secret")
            raise OAuthError("invalid_client", f"invalid client secret provided: {shown}", 401)

    def _check_federated(self, form: Mapping[str, str]) -> None:
        assert self.federated is not None
        key, expected = self.federated
        if form.get("client_assertion_type") != ASSERTION_TYPE or "client_secret" in form:
            raise OAuthError("invalid_request", "client_assertion_type")
        claims = self._verified(form.get("client_assertion", ""), key, "invalid_client")
        if any(claims.get(name) != value for name, value in expected.items()):
            raise OAuthError("invalid_client", "no matching federated identity", 401)

    def _check_scope(self, form: Mapping[str, str]) -> None:
        if form.get("scope") != self.scope:
            raise OAuthError("invalid_scope", f"the scope {form.get('scope')} is not valid")

    def _refresh(self, form: Mapping[str, str]) -> dict[str, Any]:
        token = form.get("refresh_token", "")
        if token not in self.refresh_tokens:
            raise OAuthError("invalid_grant", f"the refresh token {token} is unknown")
        said = self._issue(None)
        if self.rotates:
            self.refresh_tokens = {secrets.token_urlsafe(32)}
            (said["refresh_token"],) = self.refresh_tokens
        return said

    def _assertion(self, form: Mapping[str, str]) -> str:
        """Verify an assertion (RFC 7523 section 3) and return its subject."""
        if self.key is None or form.keys() != {"grant_type", "assertion"}:
            raise OAuthError("invalid_request", f"parameters: {sorted(form)}")
        claims = self._verified(form["assertion"], self.key, "invalid_grant")
        if claims.get("iss") != self.client_id or claims.get("aud") != self.url:
            raise OAuthError("invalid_grant", "iss or aud is of another")
        life = claims["exp"] - claims.get("iat", 0)
        if not 0 < life <= LONGEST_ASSERTION or claims["jti"] in self._seen:
            raise OAuthError("invalid_grant", "the assertion lives too long or was used before")
        self._seen.add(claims["jti"])
        if claims.get("scope") != self.scope:
            raise OAuthError("unauthorized_client", "not delegated for the scopes")
        return str(claims["sub"])

    def _verified(self, text: str, key: RSAKey, code: str) -> dict[str, Any]:
        try:
            claims = jwt.decode(text, key, algorithms=["RS256"]).claims
            jwt.JWTClaimsRegistry(
                now=int(self.clock()),
                iss={"essential": True},
                sub={"essential": True},
                aud={"essential": True},
                exp={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError) as error:
            raise OAuthError(code, f"the assertion is not valid: {type(error).__name__}") from None
        return claims

    def _issue(self, user: str | None) -> dict[str, Any]:
        token = secrets.token_urlsafe(self.token_octets)
        expires_at = self.clock() + self.seconds
        self.given.append(token)
        self.issued[token] = Issued(token=token, user=user, expires_at=expires_at)
        said: dict[str, Any] = {"access_token": token, "token_type": "Bearer"}
        expires_in = self.seconds if self.expires_in is ... else self.expires_in
        if expires_in is not None:
            said["expires_in"] = expires_in
        return said


def _json(body: Mapping[str, Any], *, status: int = 200) -> web.Response:
    # RFC 6749 section 5.1 wants no caches.
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        content_type="application/json",
        headers={"Cache-Control": "no-store", "Pragma": "no-cache"},
    )
