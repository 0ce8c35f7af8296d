"""Each grant shows what RFC 6749 and RFC 7523 want to see, and nothing that it must not."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.errors import Scope
from tests.integration.email.email_peers import failure, success
from tests.integration.email.oauth2_peers import (
    MAILBOX,
    PRIVATE_KEY,
    REFRESH_TOKEN,
    client_credentials,
    fresh,
    reference,
    rsa_key,
    token_pool,
)
from tests.support.smtp import SMTPPeer
from tests.support.token_endpoint import TokenEndpointPeer

FEDERATED = {
    "iss": "https://cluster.example",
    "sub": "system:serviceaccount:notifications-system:notifications",
    "aud": "api://AzureADTokenExchange",
}


@pytest.fixture(scope="module")
def key() -> RSAKey:
    return rsa_key()


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
