from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.email.oauth2_peers import mail_server
from tests.support.smtp import CertificateAuthority, SMTPPeer
from tests.support.token_endpoint import TokenEndpointPeer


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    """An authority that the tests' own servers trust."""
    return CertificateAuthority()


@pytest.fixture
async def endpoint(authority: CertificateAuthority) -> AsyncIterator[TokenEndpointPeer]:
    """A token endpoint."""
    async with TokenEndpointPeer(certificate=authority.valid()) as endpoint:
        yield endpoint


@pytest.fixture
async def peer(endpoint: TokenEndpointPeer) -> AsyncIterator[SMTPPeer]:
    """A mail server that wants the endpoint's tokens."""
    async with mail_server(endpoint, endpoint.certificate) as peer:
        yield peer
