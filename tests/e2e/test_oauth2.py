"""A mail server that wants access tokens: a real API server, the chart's rights, a real process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.installation import AddProcessor, Installation
from tests.support.kubernetes import Kubernetes, Object, complete, condition_is, notification, rows
from tests.support.smtp import CertificateAuthority, SMTPPeer, TLSMode
from tests.support.token_endpoint import TokenEndpointPeer

pytestmark = pytest.mark.cluster

SECRET = "mail-oauth2"
OLD, NEW = "c4nary-client-secret-1", "c4nary-client-secret-2"
USERS = [f"user:default/{name}" for name in ("ada", "grace")]


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpointPeer]:
    certificate = CertificateAuthority().valid()
    async with TokenEndpointPeer(
        certificate=certificate, client_secrets={OLD}, seconds=4
    ) as endpoint:
        yield endpoint


@pytest.fixture
async def peer(endpoint: TokenEndpointPeer) -> AsyncIterator[SMTPPeer]:
    async with SMTPPeer(
        tls=TLSMode.STARTTLS,
        certificate=endpoint.certificate,
        verify_token=endpoint.verify,
        auth_mechanisms=("LOGIN", "XOAUTH2"),
        max_messages=2,
    ) as peer:
        yield peer


@pytest.fixture
async def secret(
    kubernetes: Kubernetes, installation: Installation, endpoint: TokenEndpointPeer
) -> AsyncIterator[str]:
    await kubernetes.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": installation.namespace},
            "stringData": {"clientSecret": OLD, "ca.crt": endpoint.certificate.ca_pem.decode()},
        }
    )
    yield SECRET
    await kubernetes.delete("Secret", SECRET, installation.namespace)


def transport(peer: SMTPPeer, endpoint: TokenEndpointPeer) -> Object:
    return {
        "transport": "smtp",
        "hostname": peer.host,
        "port": peer.port,
        "tls": {"caSecretRef": {"name": SECRET, "key": "ca.crt"}},
        "oauth2": {
            "grant": "clientCredentials",
            "tokenUrl": endpoint.url,
            "clientId": endpoint.client_id,
            "scopes": [endpoint.scope],
            "clientSecretRef": {"name": SECRET, "key": "clientSecret"},
        },
    }


async def test_a_client_secret_is_exchanged_while_deliveries_go_on(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    add_processor: AddProcessor,
    title: str,
    endpoint: TokenEndpointPeer,
    peer: SMTPPeer,
    secret: str,
) -> None:
    name = await add_processor(
        transport(peer, endpoint), retry={"minDelay": "500ms", "maxDelay": "2s"}
    )
    sent = 0

    async def send(times: int) -> None:
        nonlocal sent
        for _ in range(times):
            sent += 1
            manifest = notification(
                f"n{sent}", namespace, *USERS, title=f"{title} {sent}", processors=[name]
            )
            await kubernetes.create(manifest)

    await send(3)
    endpoint.client_secrets = {OLD, NEW}
    await kubernetes.patch(
        "Secret", secret, installation.namespace, {"stringData": {"clientSecret": NEW}}
    )
    await send(3)
    async with asyncio.timeout(60):
        while NEW not in {form.get("client_secret") for form in endpoint.forms}:
            # Each session needs a token that is younger than four seconds.
            await send(1)
            await asyncio.sleep(0.3)
    endpoint.client_secrets = {NEW}
    endpoint.revoke()
    await send(3)
    for number in range(1, sent + 1):
        body = await kubernetes.wait("Notification", f"n{number}", namespace, complete)
        assert {row["state"] for row in rows(body).values()} == {"Sent"}, body["status"]

    assert len(peer.ledger.messages) == 2 * sent
    assert {message.user for message in peer.ledger.messages} == {"tests@example.com"}
    assert peer.ledger.violations == endpoint.violations == []


async def test_a_refused_client_is_told_what_to_do_and_nothing_leaks(
    kubernetes: Kubernetes,
    installation: Installation,
    add_processor: AddProcessor,
    endpoint: TokenEndpointPeer,
    peer: SMTPPeer,
    secret: str,
) -> None:
    name = await add_processor(transport(peer, endpoint))
    endpoint.client_secrets = {NEW}
    await kubernetes.patch(
        "Secret", secret, installation.namespace, {"stringData": {"clientSecret": "c4nary-wrong"}}
    )
    ready = condition_is("Ready", "False", "AuthFailed")
    body = await kubernetes.wait("NotificationProcessor", name, installation.namespace, ready)

    message = body["status"]["conditions"][0]["message"]
    assert "invalid_client" in message
    assert "correct Secret 'mail-oauth2', key 'clientSecret'" in message
    await kubernetes.patch(
        "Secret", secret, installation.namespace, {"stringData": {"clientSecret": NEW}}
    )
    # A changed Secret is tried at once, whatever pause a wrong one has earned.
    await kubernetes.wait(
        "NotificationProcessor", name, installation.namespace, condition_is("Ready", "True")
    )
    events = await kubernetes.list("Event", installation.namespace)
    said = f"{body} {events} {installation.log.read_text(errors='replace')}"
    for hidden in (OLD, NEW, "c4nary-wrong", *endpoint.given):
        assert hidden not in said
