"""Helpers of the tests with access tokens."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from joserfc.jwk import RSAKey

from notifications_operator.processors.base import SecretKey
from notifications_operator.processors.email.config import smtp_server
from notifications_operator.processors.email.pool import SMTPPool
from tests.integration.email.email_peers import CA_KEY, PATIENT
from tests.support.smtp import Certificate, SMTPPeer, TLSMode
from tests.support.token_endpoint import TokenEndpointPeer
from tests.unit.processors.email.email_builders import spec

MAILBOX = "sender@mycompany.com"
CLIENT_SECRET = SecretKey(secret="mail-oauth2", key="clientSecret")
PRIVATE_KEY = SecretKey(secret="mail-oauth2", key="key.pem")
REFRESH_TOKEN = SecretKey(secret="mail-oauth2", key="refreshToken")


def reference(key: SecretKey) -> dict[str, str]:
    """Write a key of a Secret as the resource does."""
    return {"name": key.secret, "key": key.key}


def client_credentials(endpoint: TokenEndpointPeer, **changes: Any) -> dict[str, Any]:
    """Write ``oauth2`` for grant clientCredentials."""
    return {
        "grant": "clientCredentials",
        "tokenUrl": endpoint.url,
        "clientId": endpoint.client_id,
        "scopes": endpoint.scope.split(" "),
        "clientSecretRef": reference(CLIENT_SECRET),
        **changes,
    }


def mail_server(endpoint: TokenEndpointPeer, certificate: Certificate, **options: Any) -> SMTPPeer:
    """Make a mail server that wants the endpoint's tokens."""
    return SMTPPeer(
        tls=TLSMode.STARTTLS,
        certificate=certificate,
        verify_token=endpoint.verify,
        **{"auth_mechanisms": ("LOGIN", "XOAUTH2"), **options},
    )


@contextlib.asynccontextmanager
async def token_pool(
    peer: SMTPPeer,
    endpoint: TokenEndpointPeer,
    oauth2: Mapping[str, Any],
    secrets: Mapping[SecretKey, bytes] | None = None,
    *,
    own_tokens: tuple[str, ...] = (),
    tls: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[SMTPPool]:
    """Make a pool, and see at the end that everybody kept to the RFCs."""
    transport = {
        "transport": "smtp",
        "hostname": peer.host,
        "port": peer.port,
        "tls": {"caSecretRef": reference(CA_KEY), **(tls or {})},
        "oauth2": dict(oauth2),
    }
    values = {CLIENT_SECRET: b"client-secret-1", **(secrets or {})}
    values[CA_KEY] = endpoint.certificate.ca_pem
    described = spec(transport)
    assert described.email is not None
    server = smtp_server(
        described,
        described.email.transport_config,  # type: ignore[arg-type]
        values,
        sender=MAILBOX,
        own_tokens=own_tokens,
    )
    pool = SMTPPool(server, **{"size": 1, "timeouts": PATIENT, **options})
    try:
        yield pool
    finally:
        await pool.close()
    assert peer.ledger.violations == []
    assert peer.ledger.clear_credentials == 0
    assert endpoint.violations == []


def rsa_key() -> RSAKey:
    """Make a key pair."""
    return RSAKey.generate_key(2048)


async def fresh(peer: SMTPPeer) -> None:
    """Let the next mail begin a session of its own."""
    await peer.drop_connections()
    await peer.wait_for_open_connections(0)
