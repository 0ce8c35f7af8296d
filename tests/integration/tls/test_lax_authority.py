"""Servers of an authority that X.509 strictness refuses, reached by every client that there is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import asyncpg
import kopf
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from kopf._cogs.clients.auth import APIContext
from kubernetes.aio.config import kube_config
from pydantic import SecretStr

from notifications_operator.api.errors import UnavailableError
from notifications_operator.gateway.identity.documents import (
    DocumentError,
    DocumentReader,
    make_session,
)
from notifications_operator.gateway.inbox.engines import connect_postgresql
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.handlers.login import Login
from notifications_operator.kube.transport import Transport
from notifications_operator.processors.base import GatewayAddress
from notifications_operator.processors.errors import DeliveryError
from notifications_operator.processors.inbox.client import GatewayClient
from tests.integration.email.email_peers import pool_to
from tests.support.lax_authority import LaxAuthority
from tests.support.smtp import Certificate, SMTPPeer, TLSMode
from tests.support.tls import strict_as_python_3_13

HOST = "127.0.0.1"

Client = Callable[[Certificate, Path], Awaitable[None]]
"""Connects to a server with this certificate; the directory has ``ca.crt`` and takes files."""


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LaxAuthority:
    """Return the one authority of the system, and let Python be as strict as in the image."""
    strict_as_python_3_13(monkeypatch)
    made = LaxAuthority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


@contextlib.asynccontextmanager
async def https_server(certificate: Certificate) -> AsyncIterator[str]:
    """Serve an empty JSON object at every path."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    http = TestServer(application, scheme="https")
    await http.start_server(ssl=certificate.context)
    try:
        yield str(http.make_url("")).rstrip("/")
    finally:
        await http.close()


@contextlib.contextmanager
def kubeconfig(url: str, directory: Path) -> Iterator[None]:
    """Let clients use a kubeconfig for a server."""
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": url, "certificate-authority": str(directory / "ca.crt")},
            }
        ],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    file = directory / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(file))
        # The client reads the environment once, when it is imported.
        patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        yield


async def client_of_the_api_server(certificate: Certificate, directory: Path) -> None:
    async with https_server(certificate) as url:
        with kubeconfig(url, directory):
            transport = await Transport.connect()
        try:
            await transport.request("GET", "/version")
        finally:
            await transport.close()


async def watch_of_kopf(certificate: Certificate, directory: Path) -> None:
    async with https_server(certificate) as url:
        with kubeconfig(url, directory):
            info = await Login()(
                settings=kopf.OperatorSettings(), logger=logging.getLogger(__name__)
            )
        context = APIContext(info)
        try:
            async with context.session.get(f"{url}/version") as response:
                assert response.status == 200
        finally:
            await context.close()


async def mail_with_starttls(certificate: Certificate, directory: Path) -> None:
    await _mail(certificate, TLSMode.STARTTLS, requireTls=True)


async def mail_with_implicit_tls(certificate: Certificate, directory: Path) -> None:
    await _mail(certificate, TLSMode.IMPLICIT, secure=True)


async def mail_with_an_authority_of_its_own(certificate: Certificate, directory: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_FILE")
        await _mail(certificate, TLSMode.STARTTLS, trusted=certificate, requireTls=True)


async def _mail(
    certificate: Certificate,
    mode: TLSMode,
    *,
    trusted: Certificate | None = None,
    **transport: bool,
) -> None:
    async with (
        SMTPPeer(tls=mode, certificate=certificate) as peer,
        pool_to(peer, trusted, transport=dict(transport)) as pool,
    ):
        await pool.verify()


async def reader_of_issuers(certificate: Certificate, directory: Path) -> None:
    async with https_server(certificate) as url, make_session() as session:
        await DocumentReader(session, allow_http=False, timeout=20).get(f"{url}/keys")


async def client_of_the_gateway(certificate: Certificate, directory: Path) -> None:
    token = directory / "token"
    token.write_text("t")
    async with https_server(certificate) as url:
        client = GatewayClient(GatewayAddress(url=url, token_file=str(token)), connections=1)
        try:
            await client.get("/epoch")
        finally:
            await client.close()


async def client_of_postgresql(certificate: Certificate, directory: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak the protocol up to where the client is in: TLS, start-up, an error."""
        try:
            await reader.readexactly(8)
            writer.write(b"S")
            await writer.start_tls(certificate.context)
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            await reader.readexactly(length - 4)
            fields = b"SFATAL\0C28000\0Mreached\0\0"
            writer.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            ended.set()

    ended = asyncio.Event()
    async with await asyncio.start_server(refuse, HOST, 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        url = f"postgresql://me@{HOST}:{port}/d?sslmode=verify-full&sslrootcert={directory}/ca.crt"
        try:
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="reached"):
                await connect_postgresql(DatabaseSettings(url=SecretStr(url)))
        finally:
            await ended.wait()


CLIENTS = (
    client_of_the_api_server,
    watch_of_kopf,
    mail_with_starttls,
    mail_with_implicit_tls,
    mail_with_an_authority_of_its_own,
    reader_of_issuers,
    client_of_the_gateway,
    client_of_postgresql,
)
REFUSALS = (aiohttp.ClientSSLError, DeliveryError, DocumentError, OSError, UnavailableError)


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    return found


async def test_a_strict_client_refuses_it(authority: LaxAuthority) -> None:
    """A client without `notifications_operator.tls` is the control."""
    async with https_server(authority.certificate()) as url, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(url)


async def test_every_client_accepts_it(
    authority: LaxAuthority, client: Client, tmp_path: Path
) -> None:
    await client(authority.certificate(HOST), tmp_path)


async def test_the_host_is_verified(
    authority: LaxAuthority, client: Client, tmp_path: Path
) -> None:
    with pytest.raises(REFUSALS, match=r"(?i)certificate"):
        await client(authority.certificate("elsewhere.example"), tmp_path)


async def test_dates_are_verified(authority: LaxAuthority, client: Client, tmp_path: Path) -> None:
    with pytest.raises(REFUSALS, match=r"(?i)certificate"):
        await client(authority.certificate(HOST, valid_for=timedelta(days=-1)), tmp_path)


async def test_the_chain_is_verified(
    authority: LaxAuthority, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = LaxAuthority(tmp_path / "other").certificate(HOST)
    stranger = Certificate(context=other.context, ca_pem=authority.pem)
    with pytest.raises(REFUSALS, match=r"(?i)certificate"):
        await client(stranger, tmp_path)
