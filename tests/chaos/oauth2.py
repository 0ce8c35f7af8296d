"""The kill campaign where mail servers want access tokens that are hard to get.

The tokens live for seconds. Their endpoint goes away, is slow, busy, refuses and lies; it revokes
what it gave; and client secrets are exchanged while deliveries go on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Final

from aiohttp import web
from joserfc.jwk import RSAKey

from tests.support.installation import Installation
from tests.support.kubernetes import Object
from tests.support.smtp import Certificate, CertificateAuthority, SMTPPeer, TLSMode
from tests.support.token_endpoint import TokenEndpointPeer

from .figures import Figures
from .kill import kill_at_work
from .servers import SENDER, MailServer
from .stage import NAMESPACE, Stage, stage
from .workload import Workload

TOKEN_SECONDS = 4.0
"""Life of a token; an operator uses it for half of that."""

SLOW_SECONDS = 3.0
"""Longest time that the endpoint takes; the operator of a campaign does not wait for so long."""

QUIET_SECONDS = 1.0
"""Longest time between two troubles."""

SETTLE_SECONDS = 90.0
"""Within so many seconds after the last trouble everything must be complete."""

_CLIENT_SECRET: Final = "client-secret-1"


async def run(installation: Installation, *, seed: int, kills: int) -> Figures:
    """Kill the operator so many times while tokens are hard to get, and judge the work."""
    figures = Figures(campaign="oauth2", seed=seed)
    random = Random(f"oauth2 {seed}")
    servers = _servers(seed)
    async with stage([installation], servers, figures, impatient=True) as one:
        work = Workload(seed, namespace=one.namespace, processors=[*one.servers])
        troubles = [
            asyncio.create_task(_trouble(one, server, Random(f"{server.processor} {seed}")))
            for server in servers
        ]
        try:
            await one.create(work.jobs(3))
            await kill_at_work(one, work, figures, random, kills=kills, most_jobs=2)
        finally:
            await _end(troubles)
        await one.finish(seconds=SETTLE_SECONDS)
        figures = await one.conclude()
        said = installation.log.read_text(errors="replace")
        figures.broken += [
            f"{server.processor}: {text}" for server in servers for text in _flaws(server, said)
        ]
        return figures


def _servers(seed: int) -> list[MailServer]:
    certificate = CertificateAuthority().valid()
    key = RSAKey.generate_key(2048)
    refresh_token = secrets.token_urlsafe(32)

    def reference(processor: str, name: str) -> Object:
        return {"name": processor, "key": name}

    resend, hold, narrow = (f"{name}-{seed}" for name in ("secret", "assertion", "refresh"))
    return [
        _server(
            certificate,
            processor=resend,
            endpoint={"client_secrets": {_CLIENT_SECRET}},
            grant={
                "grant": "clientCredentials",
                "clientSecretRef": reference(resend, "clientSecret"),
            },
            credentials={"clientSecret": _CLIENT_SECRET},
        ),
        _server(
            certificate,
            processor=hold,
            hold=True,
            endpoint={"key": key},
            grant={"grant": "jwtBearer", "privateKeyRef": reference(hold, "key.pem")},
            credentials={"key.pem": key.as_pem(private=True).decode()},
        ),
        _server(
            certificate,
            processor=narrow,
            concurrency=1,
            endpoint={"refresh_tokens": {refresh_token}},
            grant={
                "grant": "refreshToken",
                "refreshTokenRef": reference(narrow, "refreshToken"),
                "clientSecretRef": reference(narrow, "clientSecret"),
            },
            credentials={"refreshToken": refresh_token, "clientSecret": _CLIENT_SECRET},
        ),
    ]


def _server(
    certificate: Certificate,
    *,
    processor: str,
    endpoint: Object,
    grant: Object,
    credentials: dict[str, str],
    hold: bool = False,
    concurrency: int = 4,
) -> MailServer:
    tokens = TokenEndpointPeer(certificate=certificate, seconds=TOKEN_SECONDS, **endpoint)
    peer = SMTPPeer(
        tls=TLSMode.STARTTLS,
        certificate=certificate,
        verify_token=tokens.verify,
        auth_mechanisms=("OAUTHBEARER",) if hold else ("XOAUTH2",),
    )
    return MailServer(
        processor=processor,
        hold=hold,
        concurrency=concurrency,
        secret=processor,
        tokens=tokens,
        grant={"clientId": tokens.client_id, "scopes": [tokens.scope], **grant},
        credentials=credentials,
        peer=peer,
    )


async def _trouble(one: Stage, server: MailServer, random: Random) -> None:
    """Give an endpoint one trouble after the other, until cancelled; then it behaves."""
    endpoint = server.tokens
    assert endpoint is not None
    try:
        while True:
            name = random.choice([*_TROUBLES])
            one.figures.instants[name] = one.figures.instants.get(name, 0) + 1
            await _TROUBLES[name](one, server, endpoint, random)
            await asyncio.sleep(random.uniform(0, QUIET_SECONDS))
    finally:
        endpoint.faults.clear()
        await endpoint.stop()
        await endpoint.start()


async def _away(
    one: Stage, server: MailServer, endpoint: TokenEndpointPeer, random: Random
) -> None:
    """Let nobody listen for a while."""
    await endpoint.stop()
    await asyncio.sleep(random.uniform(0.2, 2))
    await endpoint.start()


async def _slow(
    one: Stage, server: MailServer, endpoint: TokenEndpointPeer, random: Random
) -> None:
    """Answer late."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(random.uniform(0.1, SLOW_SECONDS))
        return await endpoint.answer(request)

    endpoint.faults.append(answer)


async def _busy(
    one: Stage, server: MailServer, endpoint: TokenEndpointPeer, random: Random
) -> None:
    """Ask for a pause."""
    status = random.choice([429, 500, 503])
    endpoint.faults.append(web.Response(status=status, headers={"Retry-After": "1"}))


async def _refusing(
    one: Stage, server: MailServer, endpoint: TokenEndpointPeer, random: Random
) -> None:
    """Refuse once."""
    code = random.choice(["invalid_client", "invalid_grant", "temporarily_unavailable"])
    endpoint.faults.append(web.Response(status=400, body=f'{{"error": "{code}"}}'.encode()))


async def _lying(
    one: Stage, server: MailServer, endpoint: TokenEndpointPeer, random: Random
) -> None:
    """Answer with something else than a token that the mail server knows."""
    body = random.choice([b"<html>", b"{}", b'{"access_token": "unknown", "token_type": "Bearer"}'])
    endpoint.faults.append(web.Response(body=body))


async def _revoking(
    one: Stage, server: MailServer, endpoint: TokenEndpointPeer, random: Random
) -> None:
    """End all tokens."""
    endpoint.revoke()


async def _exchanging(
    one: Stage, server: MailServer, endpoint: TokenEndpointPeer, random: Random
) -> None:
    """Exchange the client secret as people do: both are valid until the Secret has the new one."""
    if "clientSecret" not in server.credentials:
        return
    new = secrets.token_urlsafe(24)
    endpoint.client_secrets.add(new)
    patch = {"stringData": {"clientSecret": new}}
    await one.kubernetes.patch("Secret", server.processor, NAMESPACE, patch)
    await asyncio.sleep(random.uniform(0, 3))
    endpoint.client_secrets = {new}


_Trouble = Callable[[Stage, MailServer, TokenEndpointPeer, Random], Awaitable[None]]
_TROUBLES: Final[dict[str, _Trouble]] = {
    "away": _away,
    "slow": _slow,
    "busy": _busy,
    "refusing": _refusing,
    "lying": _lying,
    "revoking": _revoking,
    "secret exchanged": _exchanging,
}


async def _end(troubles: list[asyncio.Task[None]]) -> None:
    for task in troubles:
        task.cancel()
    for task in troubles:
        with suppress(asyncio.CancelledError):
            await task


def _flaws(server: MailServer, said: str) -> list[str]:
    """Return what was done that RFC 6749 forbids, and whether the log gives a secret away."""
    endpoint = server.tokens
    assert endpoint is not None
    flaws = list(endpoint.violations)
    if any(message.user != SENDER for message in server.peer.ledger.messages):
        flaws.append("a mail without a login by token")
    hidden = {*endpoint.given, *endpoint.client_secrets, *server.credentials.values()}
    if any(secret in said for secret in hidden):
        flaws.append("a secret in the log")
    return flaws
