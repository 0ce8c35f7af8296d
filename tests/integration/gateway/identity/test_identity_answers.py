"""Logins whose issuer answers oddly, or not at all."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web

from notifications_operator.gateway.errors import (
    AuthenticationError,
    GatewayError,
    InputError,
    ServiceUnavailableError,
)
from notifications_operator.gateway.identity.documents import make_session
from notifications_operator.gateway.identity.login import REQUESTS_AT_ONCE, Login
from notifications_operator.gateway.identity.pending import PendingLogin
from notifications_operator.gateway.identity.provider import OpenIDProvider
from notifications_operator.gateway.identity.settings import LoginSettings, OIDCSettings
from notifications_operator.gateway.identity.users import UserMapping
from notifications_operator.telemetry.redaction import redact
from tests.support.issuer import NOW, Issuer, SigningKey, encode, issuing

CLIENT = "gateway"
PENDING = PendingLogin(return_to="/")


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        issuer.documents["/.well-known/openid-configuration"] = lambda: metadata(issuer)
        issuer.documents["/token"] = lambda: {"id_token": id_token(issuer), "access_token": "a"}
        yield issuer


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with make_session() as session:
        yield session


def metadata(issuer: Issuer, **changes: Any) -> dict[str, Any]:
    document = {
        "issuer": issuer.url,
        "jwks_uri": f"{issuer.url}/jwks",
        "authorization_endpoint": f"{issuer.url}/authorize",
        "token_endpoint": f"{issuer.url}/token",
        "userinfo_endpoint": f"{issuer.url}/userinfo",
        **changes,
    }
    return {name: value for name, value in document.items() if value is not None}


def id_token(issuer: Issuer, **changes: Any) -> str:
    return issuer.key.sign(issuer.claims(**{"aud": CLIENT, "nonce": PENDING.nonce, **changes}))


def login_of(
    issuer: Issuer,
    session: aiohttp.ClientSession,
    *,
    secret: str | None = None,
    **settings: Any,
) -> Login:
    login = LoginSettings.model_validate(
        {
            "client_id": CLIENT,
            "client_secret": secret,
            "public_url": "https://notifications.example.com",
        }
    )
    oidc = OIDCSettings.model_validate(
        {"issuer": issuer.url, "login": login, "allow_http": True, **settings}
    )
    users = UserMapping(
        claim=oidc.entity_ref_claim, match_email=oidc.match_email, find_user_by_email=str.upper
    )
    return Login(login, provider=OpenIDProvider(oidc, session, clock=lambda: NOW), users=users)


async def refusal(login: Login, kind: type[GatewayError]) -> str:
    with pytest.raises(kind) as raised:
        await login.finish(PENDING, code="code", issuer=None)
    assert type(raised.value) is kind
    return str(raised.value)


async def test_answer(issuer: Issuer, session: aiohttp.ClientSession) -> None:
    login = login_of(issuer, session)
    assert await login.finish(PENDING, code="the code", issuer=None) == "user:default/ada"
    assert issuer.posted == [
        {
            "grant_type": "authorization_code",
            "code": "the code",
            "redirect_uri": "https://notifications.example.com/auth/callback",
            "code_verifier": PENDING.verifier,
            "client_id": CLIENT,
            "authorization": "",
        }
    ]
    assert issuer.requests["/userinfo"] == 0


@pytest.mark.parametrize(
    ("methods", "in_header"),
    [
        (None, True),
        (["client_secret_post", "client_secret_basic"], True),
        (["client_secret_post"], False),
        ([], False),
        ("client_secret_basic", False),
    ],
)
async def test_clients_secret(
    methods: Any, in_header: bool, issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    issuer.documents["/.well-known/openid-configuration"] = lambda: metadata(
        issuer, token_endpoint_auth_methods_supported=methods
    )
    login = login_of(issuer, session, secret="s e+c:r%t")
    await login.finish(PENDING, code="code", issuer=None)
    (form,) = issuer.posted
    if in_header:
        assert "client_secret" not in form
        scheme, _, credentials = form["authorization"].partition(" ")
        assert scheme == "Basic"
        # RFC 6749 section 2.3.1: each part is encoded as in a form first.
        assert base64.b64decode(credentials) == b"gateway:s+e%2Bc%3Ar%25t"
    else:
        assert (form["client_id"], form["client_secret"]) == (CLIENT, "s e+c:r%t")
        assert form["authorization"] == ""
    assert redact("it was s e+c:r%t") == "it was ***"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"nonce": None}, "its nonce is not that of this login"),
        ({"nonce": "other"}, "its nonce is not that of this login"),
        ({"nonce": [PENDING.nonce]}, "its nonce is not that of this login"),
        ({"nonce": "\u00e4"}, "its nonce is not that of this login"),
        ({"aud": "other"}, "it is for 'other' and not for gateway"),
        ({"aud": [CLIENT, "other"]}, "issued to another client"),
        ({"aud": [CLIENT, "other"], "azp": "other"}, "issued to another client"),
        ({"azp": "other"}, "issued to another client"),
        ({"azp": None, "iss": "https://other.example"}, "its issuer is not"),
        ({"exp": NOW - 61}, "it expired"),
    ],
)
async def test_refused_id_tokens(
    claims: dict[str, Any], expected: str, issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    issuer.documents["/token"] = lambda: {"id_token": id_token(issuer, **claims)}
    message = await refusal(login_of(issuer, session), AuthenticationError)
    assert message.startswith("The login is not accepted: ")
    assert expected in message


@pytest.mark.parametrize(
    "claims", [{"aud": [CLIENT]}, {"azp": CLIENT}, {"aud": [CLIENT, "other"], "azp": CLIENT}]
)
async def test_accepted_id_tokens(
    claims: dict[str, Any], issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    issuer.documents["/token"] = lambda: {"id_token": id_token(issuer, **claims)}
    login = login_of(issuer, session)
    assert await login.finish(PENDING, code="code", issuer=issuer.url) == "user:default/ada"


@pytest.mark.parametrize("text", [None, 7, "", "garbage", "a.b.c", ["a"]])
async def test_no_id_token(text: Any, issuer: Issuer, session: aiohttp.ClientSession) -> None:
    issuer.documents["/token"] = lambda: {"id_token": text}
    message = await refusal(login_of(issuer, session), AuthenticationError)
    assert message == "The login is not accepted: there is no ID token"


async def test_unsigned_and_forged_id_tokens(
    issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    # Not even over TLS from the issuer itself: one rule for all tokens.
    claims = issuer.claims(aud=CLIENT, nonce=PENDING.nonce)
    for token in (
        f"{encode({'alg': 'none'})}.{encode(claims)}.",
        SigningKey.generate().sign(claims),
    ):
        issuer.documents["/token"] = constant({"id_token": token})
        await refusal(login_of(issuer, session), AuthenticationError)


async def test_user_info_of_the_person(issuer: Issuer, session: aiohttp.ClientSession) -> None:
    short = id_token(issuer, backstage_entity_ref=None)
    issuer.documents["/token"] = lambda: {"id_token": short, "access_token": "a"}
    issuer.documents["/userinfo"] = lambda: {
        "sub": "248289761001",
        "backstage_entity_ref": "bob",
    }
    login = login_of(issuer, session)
    assert await login.finish(PENDING, code="code", issuer=None) == "user:default/bob"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"sub": "other", "backstage_entity_ref": "eve"}, "is of another person"),
        ({"backstage_entity_ref": "eve"}, "is of another person"),
        ({"sub": "248289761001"}, "it has no claim 'backstage_entity_ref'"),
    ],
)
async def test_user_info_that_does_not_do(
    said: dict[str, Any], expected: str, issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    short = id_token(issuer, backstage_entity_ref=None)
    issuer.documents["/token"] = lambda: {"id_token": short, "access_token": "a"}
    issuer.documents["/userinfo"] = lambda: said
    assert expected in await refusal(login_of(issuer, session), AuthenticationError)


@pytest.mark.parametrize(
    ("answer", "document"),
    [({}, {}), ({"access_token": 7}, {}), ({"access_token": "a"}, {"userinfo_endpoint": None})],
)
async def test_no_user_info_to_be_had(
    answer: dict[str, Any],
    document: dict[str, Any],
    issuer: Issuer,
    session: aiohttp.ClientSession,
) -> None:
    short = id_token(issuer, backstage_entity_ref=None)
    issuer.documents["/token"] = lambda: {"id_token": short, **answer}
    issuer.documents["/.well-known/openid-configuration"] = lambda: metadata(issuer, **document)
    message = await refusal(login_of(issuer, session), AuthenticationError)
    assert "it has no claim 'backstage_entity_ref'" in message


def constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (
            web.HTTPBadRequest(text='{"error": "invalid_grant"}'),
            AuthenticationError,
            "log in again",
        ),
        (web.HTTPUnauthorized(), ServiceUnavailableError, "Nobody can log in at the moment"),
        (web.HTTPInternalServerError(), ServiceUnavailableError, "Nobody can log in"),
        (web.HTTPFound("https://evil.example"), ServiceUnavailableError, "Nobody can log in"),
        (web.HTTPOk(text="<html>"), ServiceUnavailableError, "Nobody can log in"),
    ],
)
async def test_code_that_is_not_exchanged(
    error: Exception,
    kind: type[GatewayError],
    expected: str,
    issuer: Issuer,
    session: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="notifications_operator")
    issuer.documents["/token"] = raising(error)
    message = await refusal(login_of(issuer, session, secret="very secret"), kind)
    assert expected in message
    assert PENDING.verifier not in caplog.text
    assert "very secret" not in caplog.text


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks", "/userinfo"])
async def test_parts_that_are_away(
    path: str, issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    short = id_token(issuer, backstage_entity_ref=None)
    issuer.documents["/token"] = lambda: {"id_token": short, "access_token": "a"}
    issuer.documents[path] = raising(web.HTTPServiceUnavailable())
    await refusal(login_of(issuer, session), ServiceUnavailableError)


@pytest.mark.parametrize("missing", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
async def test_metadata_that_lacks_something(
    missing: str, issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    for value in (None, 7):
        issuer.documents["/.well-known/openid-configuration"] = constant(
            metadata(issuer, **{missing: value})
        )
        login = login_of(issuer, session)
        with pytest.raises(ServiceUnavailableError):
            await login.url(PENDING)
            await login.finish(PENDING, code="code", issuer=None)


@pytest.mark.parametrize(
    ("sends", "given"), [(True, None), (True, "https://evil.example"), (False, "https://evil")]
)
async def test_answer_of_another_issuer(
    sends: bool, given: str | None, issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    issuer.documents["/.well-known/openid-configuration"] = lambda: metadata(
        issuer, authorization_response_iss_parameter_supported=sends
    )
    with pytest.raises(InputError):
        await login_of(issuer, session).finish(PENDING, code="code", issuer=given)
    assert issuer.posted == [], "the code is not given to anybody"


async def test_query_of_the_authorization_endpoint_is_kept(
    issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    issuer.documents["/.well-known/openid-configuration"] = lambda: metadata(
        issuer, authorization_endpoint=f"{issuer.url}/authorize?tenant=a%20b#fragment"
    )
    url = urlsplit(await login_of(issuer, session).url(PENDING))
    query = parse_qs(url.query)
    assert (query["tenant"], query["state"]) == (["a b"], [PENDING.state])
    assert url.fragment == ""


class Gate:
    """Holds answers back, and knows how many are."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self.most = 0

    async def answer(self, value: Any) -> Any:
        """Return a value once the gate is open."""
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        return value


async def all_have_come(gate: Gate, count: int, issuer: Issuer) -> None:
    """Wait until a number wait at the gate, and whoever else was on the way would do so too."""
    async with asyncio.timeout(30):
        while gate.waiting < count:
            await asyncio.sleep(0.01)
    async with make_session() as other:
        for _ in range(20):
            async with other.get(f"{issuer.url}/jwks") as response:
                assert response.status == 200


@pytest.mark.parametrize("path", ["/token", "/userinfo"])
async def test_few_requests_for_logins_at_once(
    path: str, issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    gate = Gate()
    short = id_token(issuer, backstage_entity_ref=None)
    said = {"sub": "248289761001", "backstage_entity_ref": "bob"}
    issuer.documents["/token"] = lambda: {"id_token": short, "access_token": "a"}
    issuer.documents["/userinfo"] = lambda: said
    held = issuer.documents[path]
    issuer.documents[path] = lambda: gate.answer(held())
    login = login_of(issuer, session, keys={"request_timeout": 60})
    async with asyncio.TaskGroup() as logins:
        tasks = [
            logins.create_task(login.finish(PENDING, code=f"code-{number}", issuer=None))
            for number in range(2 * REQUESTS_AT_ONCE)
        ]
        await all_have_come(gate, REQUESTS_AT_ONCE, issuer)
        gate.open.set()
    assert {task.result() for task in tasks} == {"user:default/bob"}
    assert gate.most == REQUESTS_AT_ONCE == 10


async def test_metadata_is_read_once_for_many_logins(
    issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    gate, path = Gate(), "/.well-known/openid-configuration"
    issuer.documents[path] = lambda: gate.answer(metadata(issuer))
    login = login_of(issuer, session, keys={"request_timeout": 60})
    left = asyncio.create_task(login.url(PENDING))
    tasks = [asyncio.create_task(login.url(PENDING)) for _ in range(50)]
    await all_have_come(gate, 1, issuer)
    left.cancel()
    gate.open.set()
    assert len(set(await asyncio.gather(*tasks))) == 1
    await asyncio.wait([left])
    assert left.cancelled()
    assert issuer.requests[path] == 1


async def test_metadata_that_failed_for_many_logins_is_read_again(
    issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    path = "/.well-known/openid-configuration"
    issuer.away = True
    login = login_of(issuer, session)
    answers = await asyncio.gather(*(login.url(PENDING) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(answer, ServiceUnavailableError) for answer in answers)
    assert issuer.requests[path] == 1
    issuer.away = False
    assert await login.url(PENDING)
    assert issuer.requests[path] == 2
