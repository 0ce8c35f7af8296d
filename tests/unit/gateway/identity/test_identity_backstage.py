"""Tokens of a Backstage backend: users', plugins', and plugins' on behalf of users."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from notifications_operator.gateway.errors import (
    AuthenticationError,
    NotAllowedError,
    ServiceUnavailableError,
)
from notifications_operator.gateway.identity.backstage import BackstageAuthenticator
from notifications_operator.gateway.identity.documents import make_session
from notifications_operator.gateway.identity.settings import (
    BackstageSettings,
    KeySettings,
    PluginSettings,
)
from notifications_operator.gateway.principals import ServicePrincipal, UserPrincipal
from tests.support.issuer import NOW, Issuer, SigningKey, connection, encode, forge_hmac, issuing

USERS = SigningKey.generate(key_id="users")
SCAFFOLDER = SigningKey.generate(key_id="scaffolder")
READER = SigningKey.generate(key_id="reader")
SOON = datetime.fromtimestamp(NOW + 600, UTC)
LATER = datetime.fromtimestamp(NOW + 3600, UTC)


@pytest.fixture
async def backstage() -> AsyncIterator[Issuer]:
    async with issuing(USERS) as issuer:
        issuer.documents = {
            "/api/auth/.well-known/jwks.json": issuer.jwks,
            "/api/scaffolder/.backstage/auth/v1/jwks.json": lambda: {"keys": [SCAFFOLDER.public]},
            "/api/housed/.backstage/auth/v1/jwks.json": lambda: {"keys": [SCAFFOLDER.public]},
            "/api/reader/.backstage/auth/v1/jwks.json": lambda: {"keys": [READER.public]},
        }
        yield issuer


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with make_session() as session:
        yield session


@pytest.fixture
def authenticator(backstage: Issuer, session: aiohttp.ClientSession) -> BackstageAuthenticator:
    return BackstageAuthenticator(
        BackstageSettings.model_validate(
            {
                "base_url": f"{backstage.url}/",
                "plugins": {
                    "scaffolder": {"broadcast": True, "rate": 60, "max_recipients": 10},
                    "reader": {"send": False},
                    "absent": {},
                    "housed": {"namespace": "elsewhere"},
                },
                "allow_http": True,
                "keys": KeySettings(unknown_key_interval=0.001),
            }
        ),
        session,
        namespace="notifications-inbox",
        clock=lambda: NOW,
    )


def user_claims(**changes: Any) -> dict[str, Any]:
    """Return what issueUserToken.ts writes."""
    claims = {
        "iss": "https://backstage.example.com/api/auth",
        "sub": "user:development/Guest",
        "ent": ["user:development/guest", "group:default/team-a"],
        "aud": "backstage",
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 3600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def user_token(key: SigningKey = USERS, **changes: Any) -> str:
    """Return a token with its proof, as issueUserToken.ts makes it."""
    claims = user_claims(**changes)
    proof = limited_token(key, claims).rpartition(".")[2]
    return key.sign({**claims, "uip": proof}, typ="vnd.backstage.user")


def limited_token(key: SigningKey, claims: dict[str, Any]) -> str:
    """Return the token whose signature is the proof: order and spacing count."""
    payload = {name: claims[name] for name in ("sub", "iat", "exp") if name in claims}
    return key.sign(_compact(payload), typ="vnd.backstage.limited-user")


def limited_of(token: str) -> str:
    """Rebuild the limited token of a user's token, as UserTokenHandler.createLimitedUserToken."""
    header, payload, _ = token.split(".")
    signed, claims = json.loads(_decode(header)), json.loads(_decode(payload))
    head = {"alg": signed["alg"], "kid": signed["kid"], "typ": "vnd.backstage.limited-user"}
    body = {name: claims[name] for name in ("sub", "iat", "exp")}
    return f"{encode(_compact(head))}.{encode(_compact(body))}.{claims['uip']}"


def _compact(value: object) -> bytes:
    """Return JSON as JSON.stringify writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


def _decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def plugin_token(key: SigningKey = SCAFFOLDER, **changes: Any) -> str:
    """Return what PluginTokenHandler.issueToken writes."""
    claims = {
        "sub": "scaffolder",
        "aud": "notifications",
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 3600,
        **changes,
    }
    written = {name: value for name, value in claims.items() if value is not None}
    return key.sign(written, typ="vnd.backstage.plugin")


async def refusal(authenticator: BackstageAuthenticator, token: str, **request: Any) -> str:
    with pytest.raises(AuthenticationError) as raised:
        await authenticator.authenticate(connection(token, **request))
    return str(raised.value)


async def test_user(authenticator: BackstageAuthenticator) -> None:
    assert await authenticator.authenticate(connection(user_token())) == UserPrincipal(
        entity_ref="user:development/guest", expires=LATER
    )


async def test_user_of_an_older_backend(authenticator: BackstageAuthenticator) -> None:
    token = USERS.sign(user_claims())
    principal = await authenticator.authenticate(connection(token))
    assert principal == UserPrincipal(entity_ref="user:development/guest", expires=LATER)


async def test_limited_token_is_not_for_requests(authenticator: BackstageAuthenticator) -> None:
    limited = limited_of(user_token())
    assert await refusal(authenticator, limited) == "Illegal limited user token"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "other"}, "it is for 'other'"),
        ({"aud": None}, "and not for backstage"),
        ({"exp": NOW - 61}, "it expired"),
        ({"exp": None}, "its exp is missing"),
        ({"iat": None}, "its iat is missing"),
        ({"iat": NOW + 61}, "it is from the future"),
        ({"sub": None}, "its claim 'sub' is no string"),
        ({"sub": "group:default/admins"}, "names a group"),
        ({"sub": "user:default/a b"}, "names no user"),
    ],
)
async def test_users_claims(
    claims: dict[str, Any], expected: str, authenticator: BackstageAuthenticator
) -> None:
    token = USERS.sign(user_claims(**claims), typ="vnd.backstage.user")
    message = await refusal(authenticator, token)
    assert message.startswith("Failed user token verification: ")
    assert expected in message


async def test_forged_user(authenticator: BackstageAuthenticator) -> None:
    forger = SigningKey.generate(key_id="users")
    assert "its signature is not valid" in await refusal(authenticator, user_token(forger))


async def test_user_signed_by_a_plugin(authenticator: BackstageAuthenticator) -> None:
    # A plugin has a key of its own, which must not make users.
    assert "a key that its issuer does not have" in await refusal(
        authenticator, user_token(SCAFFOLDER)
    )


async def test_no_algorithm(authenticator: BackstageAuthenticator) -> None:
    for typ in ("vnd.backstage.user", "vnd.backstage.plugin"):
        header = encode({"alg": "none", "typ": typ})
        claims = encode(user_claims(sub="scaffolder", aud="notifications"))
        assert "is not accepted" in await refusal(authenticator, f"{header}.{claims}.")


async def test_hmac_with_the_public_key(authenticator: BackstageAuthenticator) -> None:
    header = {"alg": "HS256", "kid": "users", "typ": "vnd.backstage.user"}
    token = forge_hmac(user_claims(), secret=USERS.public_pem, header=header)
    assert "is not accepted" in await refusal(authenticator, token)


async def test_plugin(authenticator: BackstageAuthenticator) -> None:
    assert await authenticator.authenticate(connection(plugin_token())) == ServicePrincipal(
        subject="plugin:scaffolder",
        namespace="notifications-inbox",
        broadcast=True,
        max_recipients=10,
        rate=60,
    )


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "catalog"}, "it is for 'catalog' and not for notifications"),
        ({"aud": None}, "and not for notifications"),
        ({"exp": NOW - 61}, "it expired"),
        ({"iat": None}, "its iat is missing"),
        ({"sub": None}, "the plugin 'None' is not among those"),
        ({"sub": ["scaffolder"]}, "is not among those"),
        ({"sub": "techdocs"}, "the plugin 'techdocs' is not among those"),
        ({"sub": "../auth"}, "the plugin '../auth' is not among those"),
        ({"sub": "SCAFFOLDER"}, "is not among those"),
    ],
)
async def test_plugins_claims(
    claims: dict[str, Any], expected: str, authenticator: BackstageAuthenticator
) -> None:
    message = await refusal(authenticator, plugin_token(**claims))
    assert message.startswith("Failed plugin token verification: ")
    assert expected in message


async def test_keys_of_unknown_plugins_are_not_asked_for(
    authenticator: BackstageAuthenticator, backstage: Issuer
) -> None:
    await refusal(authenticator, plugin_token(sub="techdocs"))
    await refusal(authenticator, plugin_token(sub="../auth"))
    assert backstage.requests.total() == 0


async def test_plugin_in_the_name_of_another(authenticator: BackstageAuthenticator) -> None:
    token = plugin_token(READER, sub="scaffolder")
    assert "a key that its issuer does not have" in await refusal(authenticator, token)


async def test_token_for_one_plugin_is_none_for_the_other(
    authenticator: BackstageAuthenticator,
) -> None:
    signals = plugin_token(aud="signals")
    assert "it is for 'signals'" in await refusal(authenticator, signals)
    for path in ("/api/signals", "/api/signals/health"):
        assert await authenticator.authenticate(connection(signals, path=path)) is not None
    assert await authenticator.authenticate(
        connection(signals, path="/api/signals", kind="websocket")
    )
    assert "it is for 'notifications'" in await refusal(
        authenticator, plugin_token(), path="/api/signals"
    )
    assert "it is for 'signals'" in await refusal(authenticator, signals, path="/api/signalsx")


async def test_host_header_does_not_say_which_plugin_is_asked(
    authenticator: BackstageAuthenticator,
) -> None:
    token = plugin_token(aud="signals")
    request = connection(token, headers={"host": "gateway/api/signals?"})
    with pytest.raises(AuthenticationError, match="it is for 'signals'"):
        await authenticator.authenticate(request)


async def test_plugin_with_a_namespace(authenticator: BackstageAuthenticator) -> None:
    principal = await authenticator.authenticate(connection(plugin_token(sub="housed")))
    assert principal == ServicePrincipal(subject="plugin:housed", namespace="elsewhere")


async def test_namespace_of_all_plugins(backstage: Issuer, session: aiohttp.ClientSession) -> None:
    authenticator = BackstageAuthenticator(
        BackstageSettings(
            base_url=backstage.url,
            namespace="plugins",
            plugins={"scaffolder": PluginSettings()},
            allow_http=True,
        ),
        session,
        namespace="notifications-inbox",
        clock=lambda: NOW,
    )
    principal = await authenticator.authenticate(connection(plugin_token()))
    assert principal == ServicePrincipal(subject="plugin:scaffolder", namespace="plugins")


async def test_plugin_that_may_not_send(authenticator: BackstageAuthenticator) -> None:
    with pytest.raises(NotAllowedError, match="The plugin 'reader' may not send"):
        await authenticator.authenticate(connection(plugin_token(READER, sub="reader")))


async def test_plugin_without_keys(authenticator: BackstageAuthenticator) -> None:
    with pytest.raises(ServiceUnavailableError):
        await authenticator.authenticate(connection(plugin_token(sub="absent")))


async def test_on_behalf_of_a_user(authenticator: BackstageAuthenticator) -> None:
    limited = limited_of(user_token())
    token = plugin_token(READER, sub="reader", obo=limited, exp=int(NOW) + 600)
    assert await authenticator.authenticate(connection(token)) == UserPrincipal(
        entity_ref="user:development/guest", expires=SOON
    )


async def test_on_behalf_of_a_user_without_proof(authenticator: BackstageAuthenticator) -> None:
    # createLimitedUserToken gives back what it cannot make a limited token of.
    for user in (USERS.sign(user_claims()), USERS.sign(user_claims(), typ="vnd.backstage.user")):
        principal = await authenticator.authenticate(connection(plugin_token(obo=user)))
        assert isinstance(principal, UserPrincipal)


async def test_expiry_of_the_user_counts(authenticator: BackstageAuthenticator) -> None:
    limited = limited_of(user_token(exp=int(NOW) + 600))
    principal = await authenticator.authenticate(connection(plugin_token(obo=limited)))
    assert isinstance(principal, UserPrincipal)
    assert principal.expires == SOON
    expired = limited_of(user_token(exp=int(NOW) - 100))
    assert "it expired" in await refusal(authenticator, plugin_token(obo=expired))


@pytest.mark.parametrize(
    "obo",
    ["", "garbage", "a.b.c", 7, [], {}, False, SCAFFOLDER.sign({"sub": "user:default/eve"})],
)
async def test_on_behalf_of_nobody(obo: Any, authenticator: BackstageAuthenticator) -> None:
    message = await refusal(authenticator, plugin_token(obo=obo))
    assert message == "Invalid user token in plugin token obo claim"


async def test_on_behalf_of_a_forged_user(authenticator: BackstageAuthenticator) -> None:
    forged = limited_of(user_token(SigningKey.generate(key_id="users")))
    assert "its signature is not valid" in await refusal(authenticator, plugin_token(obo=forged))


async def test_proof_of_one_user_for_another(authenticator: BackstageAuthenticator) -> None:
    header, _, proof = limited_of(user_token()).split(".")
    eve = {"sub": "user:default/eve", "iat": int(NOW) - 10, "exp": int(NOW) + 3600}
    token = plugin_token(obo=f"{header}.{encode(eve)}.{proof}")
    assert "its signature is not valid" in await refusal(authenticator, token)


@pytest.mark.parametrize(
    "token",
    [
        None,
        "static-token-of-32-characters-000",
        "a.b.c",
        USERS.sign(user_claims(), typ="JWT"),
        USERS.sign(user_claims(aud="other")),
        USERS.sign(user_claims(), typ="vnd.backstage.service"),
    ],
)
async def test_other_tokens_are_left_to_others(
    token: str | None, authenticator: BackstageAuthenticator, backstage: Issuer
) -> None:
    assert await authenticator.authenticate(connection(token)) is None
    assert backstage.requests.total() == 0


async def test_backstage_away(authenticator: BackstageAuthenticator, backstage: Issuer) -> None:
    backstage.away = True
    with pytest.raises(ServiceUnavailableError):
        await authenticator.authenticate(connection(user_token()))


async def test_ready_when_users_keys_are_there(
    authenticator: BackstageAuthenticator, backstage: Issuer
) -> None:
    assert not authenticator.ready
    assert authenticator.problem == "the keys of Backstage's users were not read yet"
    task = asyncio.create_task(authenticator.run())
    try:
        async with asyncio.timeout(30):
            while not authenticator.ready:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert authenticator.problem is not None
    assert "Backstage's plugin absent" in authenticator.problem
    # Warm: the first request asks nobody.
    asked = backstage.requests.total()
    assert await authenticator.authenticate(connection(user_token())) is not None
    assert await authenticator.authenticate(connection(plugin_token())) is not None
    assert backstage.requests.total() == asked
