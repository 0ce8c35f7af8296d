"""Bearer tokens of an OpenID Connect issuer: those that are accepted, and all the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications_operator.gateway.errors import AuthenticationError, ServiceUnavailableError
from notifications_operator.gateway.identity.algorithms import ASYMMETRIC_ALGORITHMS
from notifications_operator.gateway.identity.documents import make_session
from notifications_operator.gateway.identity.oidc import OIDCAuthenticator
from notifications_operator.gateway.identity.provider import OpenIDProvider
from notifications_operator.gateway.identity.settings import KeySettings, OIDCSettings
from notifications_operator.gateway.identity.tokens import MAX_TOKEN_LENGTH, UnverifiedToken
from notifications_operator.gateway.identity.users import UserMapping
from notifications_operator.gateway.principals import UserPrincipal
from tests.support.issuer import NOW, Issuer, SigningKey, connection, encode, forge_hmac, issuing

RSA = SigningKey.generate("RS256")
BY_EMAIL = {"ada@example.com": "user:default/ada"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with make_session() as session:
        yield session


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing(RSA) as issuer:
        yield issuer


def authenticator(
    server: Issuer, session: aiohttp.ClientSession, **changes: Any
) -> OIDCAuthenticator:
    settings = OIDCSettings.model_validate(
        {
            "issuer": server.url,
            "audiences": ["notifications"],
            "allow_http": True,
            "keys": KeySettings(unknown_key_interval=0.001),
            **changes,
        }
    )
    return OIDCAuthenticator(
        settings,
        provider=OpenIDProvider(settings, session, clock=lambda: NOW),
        users=UserMapping(
            claim=settings.entity_ref_claim,
            match_email=settings.match_email,
            find_user_by_email=BY_EMAIL.get,
        ),
    )


@pytest.fixture
def oidc(issuer: Issuer, session: aiohttp.ClientSession) -> OIDCAuthenticator:
    return authenticator(issuer, session)


async def refusal(oidc: OIDCAuthenticator, token: str) -> str:
    with pytest.raises(AuthenticationError) as raised:
        await oidc.authenticate(connection(token))
    return str(raised.value)


async def test_valid_token(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    token = RSA.sign(issuer.claims(), typ="JWT")
    assert await oidc.authenticate(connection(token)) == UserPrincipal(
        entity_ref="user:default/ada", expires=datetime.fromtimestamp(NOW + 3600, UTC)
    )


@pytest.mark.parametrize("algorithm", ASYMMETRIC_ALGORITHMS)
async def test_algorithms(algorithm: str, issuer: Issuer, session: aiohttp.ClientSession) -> None:
    issuer.rotate(SigningKey.generate(algorithm))
    token = issuer.key.sign(issuer.claims())
    assert await authenticator(issuer, session).authenticate(connection(token)) is not None


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "application/at+jwt"])
async def test_types(typ: str | None, oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    assert await oidc.authenticate(connection(RSA.sign(issuer.claims(), typ=typ))) is not None


@pytest.mark.parametrize("typ", ["logout+jwt", "vnd.backstage.user", "dpop+jwt", ""])
async def test_tokens_for_other_uses(typ: str, oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    assert "its typ is not" in await refusal(oidc, RSA.sign(issuer.claims(), typ=typ))


@pytest.mark.parametrize(
    "audience", ["notifications", ["other", "notifications"], ["notifications"]]
)
async def test_audience(audience: Any, oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    assert await oidc.authenticate(connection(RSA.sign(issuer.claims(aud=audience)))) is not None


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "other"}, "it is for 'other' and not for notifications"),
        ({"aud": ["other", 7]}, "and not for notifications"),
        ({"aud": []}, "and not for notifications"),
        ({"aud": {"notifications": True}}, "and not for notifications"),
        ({"aud": None}, "and not for notifications"),
        ({"aud": "NOTIFICATIONS"}, "and not for notifications"),
        ({"exp": NOW - 60}, "it expired at 2027-01-15T07:59:00+00:00"),
        ({"exp": None}, "its exp is missing"),
        ({"exp": "tomorrow"}, "its exp is no time"),
        ({"exp": True}, "its exp is no time"),
        ({"exp": -1}, "its exp is no time"),
        ({"exp": 10**400}, "its exp is no time"),
        ({"exp": 253_402_300_800}, "its exp is no time"),
        ({"iat": None}, "its iat is missing"),
        ({"iat": NOW + 61}, "it is from the future"),
        ({"nbf": NOW + 61}, "it is not valid before 2027-01-15T08:01:01+00:00"),
        ({"nbf": "now"}, "its nbf is no time"),
        ({"nbf": [0]}, "its nbf is no time"),
    ],
)
async def test_claims(
    claims: dict[str, Any], expected: str, oidc: OIDCAuthenticator, issuer: Issuer
) -> None:
    assert expected in await refusal(oidc, RSA.sign(issuer.claims(**claims)))


@pytest.mark.parametrize(
    "claims",
    [{"exp": NOW - 59}, {"iat": NOW + 60}, {"nbf": NOW + 60}, {"exp": 253_402_300_799}],
)
async def test_clock_skew(claims: dict[str, Any], oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    assert await oidc.authenticate(connection(RSA.sign(issuer.claims(**claims)))) is not None


async def test_no_clock_skew(issuer: Issuer, session: aiohttp.ClientSession) -> None:
    strict = authenticator(issuer, session, clock_skew=0)
    assert "it expired" in await refusal(strict, RSA.sign(issuer.claims(exp=NOW)))


async def test_infinite_times_are_no_json(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    for constant in ("NaN", "Infinity"):
        text = f'{{"iss": "{issuer.url}", "exp": {constant}}}'
        assert await oidc.authenticate(connection(RSA.sign(text.encode()))) is None


async def test_forged_signature(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    forger = SigningKey.generate("RS256")
    assert "its signature is not valid" in await refusal(oidc, forger.sign(issuer.claims()))


async def test_changed_claims(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    header, _, signature = RSA.sign(issuer.claims()).split(".")
    changed = encode(issuer.claims(backstage_entity_ref="user:default/eve"))
    assert "its signature is not valid" in await refusal(oidc, f"{header}.{changed}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE"])
@pytest.mark.parametrize("signature", ["", "AAAA"])
async def test_no_algorithm(
    algorithm: str, signature: str, oidc: OIDCAuthenticator, issuer: Issuer
) -> None:
    header = encode({"alg": algorithm, "kid": "key-1"})
    token = f"{header}.{encode(issuer.claims())}.{signature}"
    assert "is not accepted; accepted are RS256" in await refusal(oidc, token)


async def test_hmac_with_the_public_key(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    for secret in (RSA.public_pem, RSA.public_pem.strip(), RSA.public["n"].encode()):
        token = forge_hmac(issuer.claims(), secret=secret, header={"alg": "HS256", "kid": "key-1"})
        assert "its algorithm 'HS256' is not accepted" in await refusal(oidc, token)


async def test_hmac_under_an_accepted_name(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    token = forge_hmac(
        issuer.claims(), secret=RSA.public_pem, header={"alg": "RS256", "kid": "key-1"}
    )
    assert "its signature is not valid" in await refusal(oidc, token)


@pytest.mark.parametrize("algorithm", [None, 7, ["RS256"], {"RS256": 1}, "", "RSA-OAEP", "RS257"])
async def test_other_algorithms(algorithm: Any, oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    header = {} if algorithm is None else {"alg": algorithm}
    token = f"{encode(header)}.{encode(issuer.claims())}.AAAA"
    assert "is not accepted" in await refusal(oidc, token)


async def test_allow_list(issuer: Issuer, session: aiohttp.ClientSession) -> None:
    only_ec = authenticator(issuer, session, algorithms=["ES256"])
    assert "accepted are ES256" in await refusal(only_ec, RSA.sign(issuer.claims()))


async def test_unknown_key(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    token = RSA.sign(issuer.claims(), kid="key-2")
    assert "a key that its issuer does not have" in await refusal(oidc, token)


async def test_key_id_of_another_key(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    # Both are the issuer's, and each signs in the other's name.
    other = SigningKey.generate("RS256", key_id="key-2")
    issuer.published = [RSA, other]
    assert "its signature is not valid" in await refusal(
        oidc, RSA.sign(issuer.claims(), kid="key-2")
    )
    assert "its signature is not valid" in await refusal(
        oidc, other.sign(issuer.claims(), kid="key-1")
    )


async def test_keys_with_one_id(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    issuer.published = [SigningKey.generate("RS256"), SigningKey.generate("ES256"), RSA]
    assert await oidc.authenticate(connection(RSA.sign(issuer.claims()))) is not None


async def test_without_key_id(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    issuer.published = [SigningKey.generate("RS256", key_id="key-0"), RSA]
    assert await oidc.authenticate(connection(RSA.sign(issuer.claims(), kid=None))) is not None


@pytest.mark.parametrize("key_id", [7, ["key-1"], {"key-1": 1}, True])
async def test_key_id_that_is_no_string(
    key_id: Any, oidc: OIDCAuthenticator, issuer: Issuer
) -> None:
    token = f"{encode({'alg': 'RS256', 'kid': key_id})}.{encode(issuer.claims())}.AAAA"
    assert "its kid is no string" in await refusal(oidc, token)


@pytest.mark.parametrize("key_id", ["../../etc/passwd", "' OR 1=1 --", "key-1\x00", "k" * 9000])
async def test_hostile_key_ids(key_id: str, oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    token = RSA.sign(issuer.claims(), kid=key_id)
    assert "a key that its issuer does not have" in await refusal(oidc, token)


async def test_key_in_the_token(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    # RFC 7515 section 4.1.3: anybody can put a key there.
    forger = SigningKey.generate("RS256")
    for header in (
        {"jwk": forger.public},
        {"jku": "https://eve.example/jwks"},
        {"x5u": "https://eve.example/certificate"},
    ):
        token = forger.sign(issuer.claims(), **header)
        assert "its signature is not valid" in await refusal(oidc, token)


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": []}, {"b64": False}])
async def test_extensions(header: dict[str, Any], oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    token = f"{encode({'alg': 'RS256', 'kid': 'key-1', **header})}.{encode(issuer.claims())}.AAAA"
    assert "extensions" in await refusal(oidc, token)


async def test_unknown_header_parameters(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    token = RSA.sign(issuer.claims(), x5t="abc", vendor={"a": 1})
    assert await oidc.authenticate(connection(token)) is not None


async def test_rotated_key(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    old = connection(RSA.sign(issuer.claims()))
    assert await oidc.authenticate(old) is not None
    issuer.rotate(SigningKey.generate("ES256", key_id="key-2"))
    await asyncio.sleep(0.002)
    assert await oidc.authenticate(connection(issuer.key.sign(issuer.claims()))) is not None
    with pytest.raises(AuthenticationError):
        await oidc.authenticate(old)


async def test_issuer_away(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    issuer.away = True
    with pytest.raises(ServiceUnavailableError, match="cannot be checked at the moment"):
        await oidc.authenticate(connection(RSA.sign(issuer.claims())))


async def test_discovery_document_of_another_issuer(
    oidc: OIDCAuthenticator, issuer: Issuer
) -> None:
    issuer.documents["/.well-known/openid-configuration"] = lambda: {
        "issuer": f"{issuer.url}/",
        "jwks_uri": f"{issuer.url}/jwks",
    }
    with pytest.raises(ServiceUnavailableError):
        await oidc.authenticate(connection(RSA.sign(issuer.claims())))


async def test_issuer_with_a_path(issuer: Issuer, session: aiohttp.ClientSession) -> None:
    url = f"{issuer.url}/realms/one/"
    issuer.documents["/realms/one/.well-known/openid-configuration"] = lambda: {
        "issuer": url,
        "jwks_uri": f"{issuer.url}/jwks",
    }
    oidc = authenticator(issuer, session, issuer=url)
    assert await oidc.authenticate(connection(RSA.sign(issuer.claims(iss=url)))) is not None
    other = RSA.sign(issuer.claims(iss=url.rstrip("/")))
    assert await oidc.authenticate(connection(other)) is None, "another issuer, to the letter"


@pytest.mark.parametrize("iss", ["https://other.example", None, 7, ""])
async def test_tokens_of_others_are_left_to_others(
    iss: Any, oidc: OIDCAuthenticator, issuer: Issuer
) -> None:
    assert await oidc.authenticate(connection(RSA.sign(issuer.claims(iss=iss)))) is None
    assert issuer.requests.total() == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "static-token-of-32-characters-000",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "..",
        "...",
        "e30.e30.",
        "e30.W10.AA",
        f"{encode([])}.{encode({})}.AA",
        f"{encode(b'{')}.{encode({})}.AA",
        f"{encode(bytes([255, 254]))}.{encode({})}.AA",
        f"{encode(b'[' * 20_000)}.{encode({})}.AA",
        "\x00.\x00.\x00",
        "x" * (MAX_TOKEN_LENGTH + 1),
    ],
)
async def test_garbage(text: str, oidc: OIDCAuthenticator) -> None:
    assert await oidc.authenticate(connection(text)) is None


async def test_huge_token(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    groups = [f"group:default/team-{number}" for number in range(500)]
    large = RSA.sign(issuer.claims(groups=groups))
    assert 8_000 < len(large) <= MAX_TOKEN_LENGTH
    assert await oidc.authenticate(connection(large)) is not None
    huge = RSA.sign(issuer.claims(groups=groups * 2))
    assert await oidc.authenticate(connection(huge)) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic YWRhOnNlY3JldA=="},
        {"authorization": "Bearer"},
        {"authorization": "Bearer   "},
        {"authorization": "bearer-token abc"},
    ],
)
async def test_no_token(headers: dict[str, str], oidc: OIDCAuthenticator) -> None:
    assert await oidc.authenticate(connection(headers=headers)) is None


async def test_scheme_in_any_case(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    header = {"authorization": f"bEARER {RSA.sign(issuer.claims())}"}
    assert await oidc.authenticate(connection(headers=header)) is not None


async def test_two_authorization_headers(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    request = connection(RSA.sign(issuer.claims()))
    request.scope["headers"] *= 2
    assert await oidc.authenticate(request) is None


async def test_message_repeats_nothing_hostile(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    audience = "x\r\nSet-Cookie: a=b</script>\u202e" + "y" * 10_000
    message = await refusal(oidc, RSA.sign(issuer.claims(aud=audience)))
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 300


async def test_no_bearer_tokens_without_audiences(
    issuer: Issuer, session: aiohttp.ClientSession
) -> None:
    login = {"client_id": "notifications", "public_url": "https://notifications.example.com"}
    page_only = authenticator(issuer, session, audiences=[], login=login)
    assert "log in with the browser" in await refusal(page_only, RSA.sign(issuer.claims()))


async def test_token_without_mapping(oidc: OIDCAuthenticator, issuer: Issuer) -> None:
    message = await refusal(oidc, RSA.sign(issuer.claims(backstage_entity_ref=None)))
    assert message == (
        "The token is not accepted: it names no user of the catalog: "
        "it has no claim 'backstage_entity_ref'"
    )


async def test_by_email(issuer: Issuer, session: aiohttp.ClientSession) -> None:
    by_email = authenticator(issuer, session, match_email=True)
    claims = issuer.claims(backstage_entity_ref=None, email="ada@example.com", email_verified=True)
    principal = await by_email.authenticate(connection(RSA.sign(claims)))
    assert principal is not None
    assert principal.entity_ref == "user:default/ada"


PARTS = st.one_of(
    st.binary(max_size=40).map(encode),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["alg", "kid", "typ", "crit", "b64", "x5c", "jwk", "iss", "exp", "a"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=6,
    ).map(encode),
    st.text(max_size=10),
)


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(parts=st.lists(PARTS, min_size=1, max_size=4))
def test_reading_never_fails(parts: list[str]) -> None:
    token = UnverifiedToken.read(".".join(parts))
    assert token is None or isinstance(token.claims, dict)


HEADERS = st.dictionaries(
    st.sampled_from(["typ", "cty", "jwk", "jku", "x5c", "x5t", "x5u", "kid", "other"]),
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3)),
    max_size=4,
)


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(header=HEADERS, signature=st.binary(max_size=300))
async def test_no_header_makes_it_fail_or_pass(header: dict[str, Any], signature: bytes) -> None:
    async with issuing(RSA) as issuer, make_session() as session:
        oidc = authenticator(issuer, session)
        token = (
            f"{encode({'alg': 'RS256', **header})}.{encode(issuer.claims())}.{encode(signature)}"
        )
        await refusal(oidc, token)
