"""A token endpoint that is away, slow, or lies: what is said of it, and what to do."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import web

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.oauth2 import endpoint as endpoint_module
from notifications_operator.processors.email.pool import SMTPPool
from notifications_operator.processors.errors import DeliveryError, Scope
from tests.integration.email.email_peers import failure, success
from tests.integration.email.oauth2_peers import (
    PRIVATE_KEY,
    client_credentials,
    reference,
    rsa_key,
    token_pool,
)
from tests.support.smtp import Certificate, CertificateAuthority, SMTPPeer
from tests.support.token_endpoint import TokenEndpointPeer


@pytest.fixture
async def pool(endpoint: TokenEndpointPeer, peer: SMTPPeer) -> AsyncIterator[SMTPPool]:
    async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        yield pool


async def refused(pool: SMTPPool, peer: SMTPPeer) -> DeliveryError:
    """Deliver, which must fail before the mail server is asked, for the whole processor."""
    error = await failure(pool)
    assert error.scope is Scope.PROCESSOR
    assert error.retryable
    assert peer.ledger.connections == 0
    return error


def said(body: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )


# Not reached


async def test_nobody_listens(endpoint: TokenEndpointPeer, peer: SMTPPeer, pool: SMTPPool) -> None:
    await endpoint.stop()
    error = await refused(pool, peer)

    assert error.reason is Reason.CONNECT_FAILED
    assert error.message.startswith(f"the token endpoint 127.0.0.1:{endpoint.port}: ")

    await endpoint.start()
    await success(pool)


async def test_a_name_that_is_unknown(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    oauth2 = client_credentials(endpoint, tokenUrl="https://login.invalid/token")

    async def unknown(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with token_pool(peer, endpoint, oauth2) as pool:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        error = await refused(pool, peer)

    assert error.reason is Reason.DNS_FAILED
    assert error.message == "the token endpoint login.invalid: the name cannot be looked up"


@pytest.mark.parametrize("kind", ["expired", "wrong_host"])
async def test_a_bad_certificate(
    authority: CertificateAuthority, endpoint: TokenEndpointPeer, peer: SMTPPeer, kind: str
) -> None:
    certificate: Certificate = getattr(authority, kind)()
    async with TokenEndpointPeer(certificate=certificate) as bad:
        oauth2 = client_credentials(endpoint, tokenUrl=bad.url)
        async with token_pool(peer, endpoint, oauth2) as pool:
            error = await refused(pool, peer)

    assert error.reason is Reason.TLS_FAILED
    assert "transportConfig.tls.caSecretRef" in error.message
    assert bad.requests == 0


async def test_the_check_of_certificates_cannot_be_switched_off(
    authority: CertificateAuthority, endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    async with TokenEndpointPeer(certificate=CertificateAuthority().valid()) as bad:
        oauth2 = client_credentials(endpoint, tokenUrl=bad.url)
        tls = {"insecureSkipVerify": True}
        async with token_pool(peer, endpoint, oauth2, tls=tls) as pool:
            error = await refused(pool, peer)

    assert error.reason is Reason.TLS_FAILED
    assert bad.requests == 0


async def test_no_tls_where_it_is_expected(endpoint: TokenEndpointPeer, peer: SMTPPeer) -> None:
    async with SMTPPeer() as other:
        oauth2 = client_credentials(endpoint, tokenUrl=f"https://127.0.0.1:{other.port}/token")
        async with token_pool(peer, endpoint, oauth2) as pool:
            error = await refused(pool, peer)

    assert error.reason in (Reason.TLS_FAILED, Reason.CONNECT_FAILED)


async def test_an_endpoint_that_hangs(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "REQUEST_SECONDS", 0.5)
    released = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return await endpoint.answer(request)

    endpoint.faults = [slow]
    async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        error = await refused(pool, peer)
        released.set()
        await success(pool)

    assert error.reason is Reason.TIMEOUT
    assert "no answer in time" in error.message


async def test_an_answer_that_trickles(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "REQUEST_SECONDS", 0.5)

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    endpoint.always = trickle
    async with token_pool(peer, endpoint, client_credentials(endpoint)) as pool:
        error = await refused(pool, peer)

    assert error.reason is Reason.TIMEOUT


async def test_an_answer_that_is_cut(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, pool: SMTPPool
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"access_token": "half-a-tok')
        assert request.transport is not None
        request.transport.abort()
        return response

    endpoint.always = cut
    error = await refused(pool, peer)

    assert error.reason is Reason.CONNECT_FAILED
    assert "half-a-tok" not in error.message


# Refusals


async def test_errors_say_what_to_do(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, pool: SMTPPool
) -> None:
    body = {"error": "invalid_client", "error_description": "AADSTS7000215: wrong.\r\nTrace: 1"}
    endpoint.always = said(body, 401)
    error = await refused(pool, peer)

    assert error.reason is Reason.AUTH_FAILED
    assert error.message == (
        f"the token endpoint 127.0.0.1:{endpoint.port}: it answered 401: invalid_client: "
        "AADSTS7000215: wrong. Trace: 1; correct Secret 'mail-oauth2', key 'clientSecret'; the "
        "client secret may have expired"
    )


async def test_google_says_that_delegation_is_missing(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    key = rsa_key()
    endpoint.key, endpoint.scope = key, "https://mail.google.com/"
    oauth2 = {
        **client_credentials(endpoint, grant="jwtBearer", privateKeyRef=reference(PRIVATE_KEY)),
        "clientSecretRef": None,
        "scopes": ["https://www.googleapis.com/auth/gmail.send"],
    }
    secrets = {PRIVATE_KEY: key.as_pem(private=True)}
    async with token_pool(peer, endpoint, oauth2, secrets) as pool:
        error = await refused(pool, peer)

    assert error.reason is Reason.AUTH_FAILED
    assert "domain-wide delegation for exactly oauth2.scopes" in error.message


async def test_an_endpoint_that_is_busy(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, pool: SMTPPool
) -> None:
    endpoint.faults = [
        web.Response(status=429, body=b"<html>busy</html>", headers={"Retry-After": "17"})
    ]
    error = await refused(pool, peer)
    await success(pool)

    assert (error.reason, error.retry_after) == (Reason.RATE_LIMITED, 17.0)


# Lies


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (said(b"<html>"), Reason.CONNECT_FAILED, "no JSON object"),
        (said(b"x" * 1024 * 1024), Reason.CONNECT_FAILED, "more than 131072 octets"),
        (
            said(b"", 307, headers={"Location": "https://elsewhere.example/"}),
            Reason.INVALID_CONFIG,
            "a redirect, which secrets do not follow",
        ),
    ],
)
async def test_answers_that_give_no_token(
    endpoint: TokenEndpointPeer,
    peer: SMTPPeer,
    pool: SMTPPool,
    answer: web.Response,
    reason: Reason,
    words: str,
) -> None:
    endpoint.always = answer
    error = await refused(pool, peer)

    assert error.reason is reason
    assert words in error.message
    assert endpoint.requests == 1


async def test_a_compressed_answer_is_not_unpacked(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, pool: SMTPPool
) -> None:
    endpoint.always = said(b"\x1f\x8b\x08\0\0\0\0\0", headers={"Content-Encoding": "gzip"})
    error = await refused(pool, peer)

    assert error.reason is Reason.CONNECT_FAILED


async def test_what_an_endpoint_repeats_is_hidden(
    endpoint: TokenEndpointPeer, peer: SMTPPeer
) -> None:
    key = rsa_key()
    oauth2 = {
        **client_credentials(endpoint, grant="jwtBearer", privateKeyRef=reference(PRIVATE_KEY)),
        "clientSecretRef": None,
    }

    async def repeat(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        return said({"error": "invalid_grant", "error_description": form["assertion"]}, 400)

    endpoint.always = repeat
    secrets = {PRIVATE_KEY: key.as_pem(private=True)}
    async with token_pool(peer, endpoint, oauth2, secrets) as pool:
        error = await refused(pool, peer)

    assert "invalid_grant: ***;" in error.message


async def test_a_token_whose_life_is_not_known_is_used(
    endpoint: TokenEndpointPeer, peer: SMTPPeer, pool: SMTPPool
) -> None:
    endpoint.expires_in = "soon"
    await success(pool)
    await peer.drop_connections()
    await peer.wait_for_open_connections(0)
    await success(pool)

    assert endpoint.requests == 1
