"""Mail by access tokens: each grant, and tokens that expire, rotate and are revoked."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.errors import Receipt, Scope
from notifications_operator.telemetry.redaction import redact
from tests.integration.email.email_peers import failure, mail, outcome, success
from tests.integration.email.oauth2_peers import (
    MAILBOX,
    client_credentials,
    fresh,
    mail_server,
    token_pool,
)
from tests.support.smtp import SMTPPeer, Step
from tests.support.token_endpoint import TokenEndpointPeer

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
            sent += isinstance(await outcome(pool), Receipt)
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
            assert token[:24] not in text
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
