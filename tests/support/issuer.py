"""An issuer of tokens on this machine, whose keys and answers a test decides."""

from __future__ import annotations

import base64
import hashlib
import hmac
import inspect
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from starlette.requests import HTTPConnection

from notifications_operator.gateway.identity.algorithms import ASYMMETRIC_ALGORITHMS, KEY_KINDS

NOW = 1_800_000_000.0
"""The time of tests, in seconds since the epoch: 2027-01-15T08:00:00Z."""


def encode(value: object) -> str:
    """Return a part of a token: bytes as they are, anything else as JSON, in base64url."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True)
class SigningKey:
    """A private key with an algorithm and, perhaps, an id."""

    key: Key
    algorithm: str
    key_id: str | None

    @classmethod
    def generate(cls, algorithm: str = "ES256", *, key_id: str | None = "key-1") -> Self:
        """Make a key."""
        kind = KEY_KINDS[algorithm]
        key: Key
        match kind.key_type:
            case "RSA":
                key = RSAKey.generate_key(2048)
            case "EC":
                key = ECKey.generate_key(kind.curve)
            case _:
                key = OKPKey.generate_key("Ed25519")
        return cls(key, algorithm, key_id)

    @property
    def public(self) -> dict[str, Any]:
        """The public key as a JWKS has it."""
        described: dict[str, Any] = {"alg": self.algorithm, "use": "sig"}
        if self.key_id is not None:
            described["kid"] = self.key_id
        return {**self.key.as_dict(private=False), **described}

    @property
    def private(self) -> dict[str, Any]:
        """The key pair as a JWKS has it."""
        return {**self.key.as_dict(private=True), **self.public}

    @property
    def public_pem(self) -> bytes:
        """The public key as a file has it."""
        assert isinstance(self.key, RSAKey | ECKey | OKPKey)
        return self.key.as_pem(private=False)

    def sign(self, claims: Mapping[str, Any] | bytes, **header: Any) -> str:
        """Return a token; header parameters may be added, or left out as ``None``."""
        wanted = {"alg": self.algorithm, "kid": self.key_id, **header}
        registry = jws.JWSRegistry(algorithms=ASYMMETRIC_ALGORITHMS, strict_check_header=False)
        registry.max_header_length = 1 << 20
        return jws.serialize_compact(
            {name: value for name, value in wanted.items() if value is not None},
            claims if isinstance(claims, bytes) else json.dumps(claims),
            self.key,
            registry=registry,
        )


def forge_hmac(claims: Mapping[str, Any], *, secret: bytes, header: Mapping[str, Any]) -> str:
    """Return a token that is signed with HMAC-SHA-256, whatever its header says."""
    signed = f"{encode(dict(header))}.{encode(dict(claims))}"
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


@dataclass
class Issuer:
    """Documents on a real server, and the key that signs.

    Attributes
    ----------
    url
        Scheme, host and port.
    key
        Signs.
    published
        The keys in the JWKS.
    documents
        What is answered, by path; one that is missing is answered with 404. An exception is an
        answer too, and so is what is awaited.
    posted
        Forms that were posted, with the ``Authorization`` header as ``authorization``.
    requests
        How often each path was asked for.
    away
        Whether every answer is 503.
    """

    url: str
    key: SigningKey
    published: list[SigningKey]
    documents: dict[str, Callable[[], Any]] = field(default_factory=dict)
    posted: list[dict[str, str]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    away: bool = False

    def jwks(self) -> dict[str, Any]:
        """Return the JWKS."""
        return {"keys": [key.public for key in self.published]}

    def rotate(self, key: SigningKey) -> None:
        """Sign with another key; the one before is withdrawn."""
        self.key, self.published = key, [key]

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return claims that are valid at `NOW`, with changes; ``None`` leaves one out."""
        claims = {
            "iss": self.url,
            "aud": "notifications",
            "sub": "248289761001",
            "backstage_entity_ref": "user:default/ada",
            "iat": int(NOW) - 10,
            "exp": int(NOW) + 3600,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}


@asynccontextmanager
async def issuing(key: SigningKey | None = None) -> AsyncIterator[Issuer]:
    """Serve an issuer with a discovery document and a JWKS."""

    async def answer(request: web.Request) -> web.Response:
        issuer.requests[request.path] += 1
        if issuer.away:
            return web.Response(status=503)
        if (make := issuer.documents.get(request.path)) is None:
            return web.Response(status=404)
        if request.method == "POST":
            form = {name: str(value) for name, value in (await request.post()).items()}
            issuer.posted.append(form | {"authorization": request.headers.get("Authorization", "")})
        document = make()
        return web.json_response(await document if inspect.isawaitable(document) else document)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    key = key or SigningKey.generate()
    async with TestServer(application) as server:
        issuer = Issuer(url=str(server.make_url("")).rstrip("/"), key=key, published=[key])
        issuer.documents["/jwks"] = issuer.jwks
        issuer.documents["/.well-known/openid-configuration"] = lambda: {
            "issuer": issuer.url,
            "jwks_uri": f"{issuer.url}/jwks",
        }
        yield issuer


def connection(
    token: str | None = None,
    *,
    path: str = "/api/notifications/notifications",
    method: str = "GET",
    kind: Literal["http", "websocket"] = "http",
    headers: Mapping[str, str] | None = None,
) -> HTTPConnection:
    """Return a request as authenticators see it."""
    given = dict(headers or {})
    if token is not None:
        given["authorization"] = f"Bearer {token}"
    scope: dict[str, Any] = {
        "type": kind,
        "scheme": "https" if kind == "http" else "wss",
        "server": ("gateway.example.com", 443),
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
    }
    if kind == "http":
        scope["method"] = method
    return HTTPConnection(scope)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask issuers on this machine directly, whatever proxy its user has."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            monkeypatch.delenv(variable, raising=False)
