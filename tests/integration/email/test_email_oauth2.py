"""Mail by access tokens: each grant, and tokens that expire, rotate and are revoked."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.errors import Scope
from notifications_operator.telemetry.redaction import redact
from tests.integration.email.email_peers import failure, mail, success
from tests.integration.email.oauth2_peers import (
    MAILBOX,
    PRIVATE_KEY,
    REFRESH_TOKEN,
    client_credentials,
    mail_server,
    reference,
    rsa_key,
    token_pool,
)
from tests.support.smtp import CertificateAuthority, SMTPPeer, Step
from tests.support.token_endpoint import TokenEndpointPeer

FEDERATED = {
    "iss": "https://cluster.example",
    "sub": "system:serviceaccount:notifications-system:notifications",
    "aud": "api://AzureADTokenExchange",
}


@pytest.fixture(scope="module")
def key() -> RSAKey:
    return rsa_key()


@pytest.fixture
async def endpoint(authority: CertificateAuthority) -> AsyncIterator[TokenEndpointPeer]:
    async with TokenEndpointPeer(certificate=authority.valid()) as endpoint:
        yield endpoint


@pytest.fixture
async def peer(endpoint: TokenEndpointPeer) -> AsyncIterator[SMTPPeer]:
    async with mail_server(endpoint, endpoint.certificate) as peer:
        yield peer


async def fresh(peer: SMTPPeer) -> None:
    """Let the next mail begin a session of its own."""
    await peer.drop_connections()
    await peer.wait_for_open_connections(0)


# Mechanisms


@pytest.mark.parametrize("octets", [24, 900, 6000])
@pytest.mark.parametrize(
    ("offered", "used"),
    [
        (("XOAUTH2",), "XOAUTH2"),
        (("OAUTHBEARER",), "OAUTHBEARER"),
        (("PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"), "XOAUTH2"),
    ],
)
async def test_both_mechanisms_with_tokens_of_any_length(
    endpoint: TokenEndpointPeer, offered: tuple[str, ...], used: str, octets: int
) -> None:
    endpoint.token_octets = octets
    async with (
        mail_server(endpoint, endpoint.certificate, auth_mechanisms=offered) as peer,
        token_pool(peer, endpoint, client_credentials(endpoint)) as pool,
    ):
        await success(pool)

        assert peer.ledger.messages[0].user == MAILBOX
        assert peer.ledger.mechanisms == [used]


async def test_a_token_that_smtp_cannot_carry(endpoint: TokenEndpointPeer, peer: SMTPPeer) -> None:
    endpoint.token_octets = 10000
    async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        error = await failure(pool)

        assert error.reason is Reason.AUTH_FAILED
        assert "the access token has 13334 characters" in error.message


@pytest.mark.parametrize("user", ["mailbox@other.example", "odd,name=x@mycompany.com"])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_the_mailbox_can_be_another(
    endpoint: TokenEndpointPeer, user: str, mechanism: str
) -> None:
    async with (
        mail_server(endpoint, endpoint.certificate, auth_mechanisms=(mechanism,)) as peer,
        token_pool(peer, endpoint, client_credentials(endpoint, username=user)) as pool,
    ):
        await success(pool)

        assert peer.ledger.messages[0].user == user


async def test_a_mechanism_that_the_server_does_not_have(endpoint: TokenEndpointPeer) -> None:
    options: dict[str, Any] = {
        "auth_mechanisms": ("XOAUTH2", "OAUTHBEARER"),
        "refused_mechanisms": {"XOAUTH2": "504 5.7.4 Unrecognized authentication type"},
    }
    async with (
        mail_server(endpoint, endpoint.certificate, **options) as peer,
        token_pool(peer, endpoint, client_credentials(endpoint)) as pool,
    ):
        await success(pool)

        assert peer.ledger.mechanisms == ["XOAUTH2", "OAUTHBEARER"]
        assert endpoint.requests == 1


async def test_no_mechanism_for_tokens(endpoint: TokenEndpointPeer) -> None:
    options: dict[str, Any] = {"auth_mechanisms": ("PLAIN", "LOGIN")}
    async with (
        mail_server(endpoint, endpoint.certificate, **options) as peer,
        token_pool(peer, endpoint, client_credentials(endpoint)) as pool,
    ):
        error = await failure(pool)

        assert error.reason is Reason.AUTH_FAILED
        assert "(offered: PLAIN LOGIN; known: XOAUTH2 OAUTHBEARER)" in error.message
        assert peer.ledger.mechanisms == []


async def test_tokens_never_go_in_clear(endpoint: TokenEndpointPeer) -> None:
    peer = SMTPPeer(
        verify_token=endpoint.verify, auth_mechanisms=("XOAUTH2",), auth_offered_in_clear=True
    )
    async with peer, token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        error = await failure(pool)

        assert error.reason is Reason.TLS_FAILED
        assert peer.tokens_seen == []


# Grants


async def test_client_credentials(endpoint: TokenEndpointPeer, peer: SMTPPeer) -> None:
    endpoint.scope = "https://outlook.office365.com/.default offline"
    async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        await success(pool)

    assert endpoint.forms == [
        {
            "grant_type": "client_credentials",
            "client_id": endpoint.client_id,
            "client_secret": "client-secret-1",
            "scope": endpoint.scope,
        }
    ]


async def test_a_federated_token_is_read_each_time(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, key: RSAKey, tmp_path: Path
) -> None:
    def project(**claims: Any) -> None:
        expiry = int(time.time()) + 600
        text = jwt.encode({"alg": "RS256"}, {**FEDERATED, "exp": expiry, **claims}, key)
        (tmp_path / "token").write_text(f"{text}\n")

    endpoint.federated = (key, FEDERATED)
    changes = {"clientSecretRef": None, "federatedTokenFile": str(tmp_path / "token")}
    async with token_pool(peer, endpoint, client_credentials(endpoint, **changes)) as pool:
        missing = await failure(pool)
        project(sub="system:serviceaccount:other:other")
        foreign = await failure(pool)
        project()
        await success(pool)

    assert missing.reason is Reason.INVALID_CONFIG
    assert "federatedTokenFile: [Errno 2] No such file" in missing.message
    assert foreign.reason is Reason.AUTH_FAILED
    assert "compare issuer, subject and audience" in foreign.message
    for error in (missing, foreign):
        assert error.scope is Scope.PROCESSOR
        assert error.retryable


@pytest.mark.parametrize("text", ["", "a-password", "a.b", "a.b.c\nd.e.f", "a b.c.d", "ä.b.c"])
async def test_a_file_without_a_token_is_shown_to_nobody(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, tmp_path: Path, text: str
) -> None:
    (tmp_path / "token").write_text(text)
    changes = {"clientSecretRef": None, "federatedTokenFile": str(tmp_path / "token")}
    async with token_pool(peer, endpoint, client_credentials(endpoint, **changes)) as pool:
        error = await failure(pool)

        assert error.reason is Reason.INVALID_CONFIG
        assert "holds no JSON Web Token" in error.message
        assert endpoint.requests == 0


async def test_what_is_no_file_is_not_read(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "token")
    changes = {"clientSecretRef": None, "federatedTokenFile": str(tmp_path / "token")}
    async with token_pool(peer, endpoint, client_credentials(endpoint, **changes)) as pool:
        error = await failure(pool)

        assert error.reason is Reason.INVALID_CONFIG
        assert "is no file" in error.message


async def test_the_operators_own_token_is_shown_to_nobody(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, tmp_path: Path
) -> None:
    # However it is called: whoever may write a NotificationProcessor must not get it this way.
    own, other = tmp_path / "own", tmp_path / "other"
    own.write_text("aaaa.bbbb.cccc\n")
    other.symlink_to(own)
    changes = {"clientSecretRef": None, "federatedTokenFile": str(other)}
    oauth2 = client_credentials(endpoint, **changes)
    async with token_pool(peer, endpoint, oauth2, own_tokens=(str(own),)) as pool:
        error = await failure(pool)

        assert error.reason is Reason.INVALID_CONFIG
        assert "a token of the operator's own" in error.message
        assert endpoint.requests == 0


@pytest.mark.parametrize("as_key_file", [False, True])
@pytest.mark.parametrize("subject", [None, "delegated@mycompany.com"])
async def test_an_assertion_of_a_service_account(
    endpoint: TokenEndpointPeer,
    peer: SMTPPeer,
    key: RSAKey,
    as_key_file: bool,
    subject: str | None,
) -> None:
    endpoint.client_id = "mailer@project.iam.gserviceaccount.com"
    endpoint.key = key
    pem = key.as_pem(private=True)
    key_file = {
        "type": "service_account",
        "private_key": pem.decode(),
        "private_key_id": "abc",
        "client_email": endpoint.client_id,
    }
    value = json.dumps(key_file).encode() if as_key_file else pem
    oauth2 = {
        **client_credentials(endpoint, grant="jwtBearer", privateKeyRef=reference(PRIVATE_KEY)),
        "clientSecretRef": None,
        "username": subject,
        "subject": subject,
    }
    async with token_pool(peer, endpoint, oauth2, {PRIVATE_KEY: value}) as pool:
        await success(pool)
        await fresh(peer)
        endpoint.revoke()
        await success(pool)

    assert endpoint.errors == []
    assert {message.user for message in peer.ledger.messages} == {subject or MAILBOX}
    # The endpoint has verified signature, issuer, audience, times and scope; here is the rest.
    tokens = [jwt.decode(form["assertion"], key) for form in endpoint.forms]
    assert [token.claims["sub"] for token in tokens] == [subject or MAILBOX] * 2
    assert len({token.claims["jti"] for token in tokens}) == 2
    assert all(0 <= time.time() - token.claims["iat"] < 60 for token in tokens)
    expected = {"typ": "JWT", "alg": "RS256", **({"kid": "abc"} if as_key_file else {})}
    assert [token.header for token in tokens] == [expected] * 2


async def test_a_refresh_token(endpoint: TokenEndpointPeer, peer: SMTPPeer) -> None:
    endpoint.refresh_tokens = {"refresh-1"}
    oauth2 = client_credentials(
        endpoint, grant="refreshToken", refreshTokenRef=reference(REFRESH_TOKEN)
    )
    async with token_pool(peer, endpoint, oauth2, {REFRESH_TOKEN: b"refresh-1"}) as pool:
        await success(pool)
        endpoint.refresh_tokens = set()
        endpoint.revoke()
        await fresh(peer)
        error = await failure(pool)

    assert endpoint.forms[0]["refresh_token"] == "refresh-1"
    assert error.reason is Reason.AUTH_FAILED
    assert "log in again and put the new one into Secret 'mail-oauth2', key 'refreshToken'" in (
        error.message
    )
    assert "refresh-1" not in error.message


async def test_a_client_without_a_secret_of_its_own(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    endpoint.refresh_tokens = {"refresh-1"}
    oauth2 = client_credentials(
        endpoint,
        grant="refreshToken",
        refreshTokenRef=reference(REFRESH_TOKEN),
        clientSecretRef=None,
        scopes=[],
    )
    async with token_pool(peer, endpoint, oauth2, {REFRESH_TOKEN: b"refresh-1"}) as pool:
        error = await failure(pool)

    assert error.reason is Reason.AUTH_FAILED
    assert endpoint.forms == [
        {
            "grant_type": "refresh_token",
            "client_id": endpoint.client_id,
            "refresh_token": "refresh-1",
        }
    ]


async def test_a_refresh_token_that_is_replaced_at_each_use(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    endpoint.refresh_tokens, endpoint.rotates = {"refresh-1"}, True
    oauth2 = client_credentials(
        endpoint, grant="refreshToken", refreshTokenRef=reference(REFRESH_TOKEN)
    )
    async with token_pool(peer, endpoint, oauth2, {REFRESH_TOKEN: b"refresh-1"}) as pool:
        for _ in range(3):
            await success(pool)
            await fresh(peer)
            endpoint.revoke()
        shown = [form["refresh_token"] for form in endpoint.forms]
        assert shown[0] == "refresh-1"
        assert len(set(shown)) == 3
        # Where the one in memory is refused, the Secret's is shown once more.
        endpoint.refresh_tokens, endpoint.rotates = {"refresh-1"}, False
        await success(pool)

    assert endpoint.errors == ["invalid_grant"]
    assert len(peer.ledger.messages) == 4


# The life of a token


async def test_a_token_is_asked_for_once_by_all(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    async with token_pool(peer, endpoint, client_credentials(endpoint), size=4) as pool:
        await asyncio.gather(*(success(pool, mail(f"a{number}@b.example")) for number in range(8)))
        await fresh(peer)
        await success(pool)

    assert endpoint.requests == 1
    assert len(peer.ledger.messages) == 9


async def test_a_revoked_token_is_replaced_at_once(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    async with token_pool(peer, endpoint, client_credentials(endpoint), size=4) as pool:
        await success(pool)
        await fresh(peer)
        endpoint.revoke()
        await asyncio.gather(*(success(pool, mail(f"a{number}@b.example")) for number in range(4)))

    assert endpoint.requests == 2
    assert len(peer.ledger.messages) == 5


async def test_a_token_is_replaced_before_it_expires(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    endpoint.seconds = 300.2
    async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        await success(pool)
        first = time.monotonic()
        while endpoint.requests < 2:
            await fresh(peer)
            await success(pool)
            assert time.monotonic() - first < 10

    assert set(peer.tokens_seen) == set(endpoint.issued)
    assert all(endpoint.verify(MAILBOX, token) is None for token in peer.tokens_seen)


async def test_tokens_that_expire_faster_than_they_are_used(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    endpoint.seconds = 0.02
    sent = 0
    async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        for _ in range(10):
            try:
                await success(pool)
                sent += 1
            except AssertionError:
                continue
            await fresh(peer)

    assert sent == len(peer.ledger.messages)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_token_that_is_refused_is_replaced_once(
    endpoint: TokenEndpointPeer, mechanism: str
) -> None:
    options: dict[str, Any] = {"auth_mechanisms": (mechanism,)}
    async with (
        mail_server(endpoint, endpoint.certificate, **options) as peer,
        token_pool(peer, endpoint, client_credentials(endpoint)) as pool,
    ):
        peer.verify_token = lambda user, token: "invalid_token"
        error = await failure(pool)

        assert (error.reason, error.scope, error.code) == (Reason.AUTH_FAILED, Scope.PROCESSOR, 535)
        # What the challenge said is in the message, and what to do.
        assert "status invalid_token, scope https://mail.example/" in error.message
        assert f"the token was refused for {MAILBOX}" in error.message
        assert len(set(peer.tokens_seen)) == len(peer.tokens_seen) == 2
        await peer.wait_for_open_connections(0)


async def test_a_server_that_is_busy_costs_no_token(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        peer.fail(Step.AUTH, "454 4.7.0 Temporary authentication failure", times=1)
        error = await failure(pool)
        await success(pool)

    assert (error.reason, error.retryable) == (Reason.AUTH_FAILED, True)
    assert endpoint.requests == 1


# Secrets


async def test_nothing_secret_is_ever_passed_on(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, caplog: pytest.LogCaptureFixture
) -> None:
    async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        with caplog.at_level("DEBUG"):
            await success(pool)
            (token,) = peer.tokens_seen
            await fresh(peer)
            sasl = "dXNlcj1zZW5kZXJAbXljb21wYW55LmNvbQFhdXRoPUJlYXJlciB"
            peer.fail(Step.AUTH, f"535 5.7.8 bad: {token[:200]} {sasl} {token}", times=None)
            refused = await failure(pool)
            peer.script.clear()
            endpoint.client_secrets = set()
            endpoint.revoke()
            denied = await failure(pool)
        assert redact(f"token: {token}") == "token: ***"

    assert denied.reason is Reason.AUTH_FAILED
    assert "invalid client secret provided: ***" in denied.message
    assert "correct Secret 'mail-oauth2', key 'clientSecret'" in denied.message
    for error in (refused, denied):
        for text in (error.message, str(error), repr(error)):
            assert token not in text
            assert "client-secret-1" not in text
    assert "client-secret-1" not in caplog.text
    assert token not in caplog.text
    # Nothing speaks of it any more.
    assert redact(token) == token


async def test_a_processor_that_goes_gives_up_its_request(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    released = asyncio.Event()

    async def slow(request: Any) -> Any:
        await released.wait()
        return await endpoint.answer(request)

    endpoint.always = slow
    async with asyncio.timeout(10):
        async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
            waiting = asyncio.ensure_future(pool.verify())
            await endpoint.wait_for_requests(1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    released.set()
