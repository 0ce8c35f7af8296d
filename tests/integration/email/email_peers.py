"""What the tests against SMTP peers share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from notifications_operator.processors.base import SecretKey
from notifications_operator.processors.email.config import SMTPServer, smtp_server
from notifications_operator.processors.email.domains import ascii_domain
from notifications_operator.processors.email.pool import SMTPPool
from notifications_operator.processors.email.timeouts import Timeouts
from notifications_operator.processors.email.transport import Mail
from notifications_operator.processors.errors import DeliveryError, Receipt
from tests.support.smtp import Certificate, SMTPPeer
from tests.unit.processors.email.email_builders import SECRET, always, credentials, spec

USERNAME = "my-username"
PASSWORD = "my-password"
CA_KEY = SecretKey(secret="mail-ca", key="ca.crt")

PATIENT = Timeouts(
    resolve=20, connect=20, greeting=20, tls=20, command=20, data=20, block=20, final=20, quit=5
)
"""Longer than anything takes on a busy machine, shorter than a test may hang."""


def server(
    peer: SMTPPeer,
    certificate: Certificate | None = None,
    *,
    password: str = PASSWORD,
    **transport: Any,
) -> SMTPServer:
    """Describe a peer; with its credentials, and trusting the certificate's authority."""
    fields: dict[str, Any] = {
        "transport": "smtp",
        "hostname": peer.host,
        "port": peer.port,
        **transport,
    }
    secrets = credentials(USERNAME.encode(), password.encode()) if peer.username else {}
    if certificate is not None:
        reference = {"name": CA_KEY.secret, "key": CA_KEY.key}
        fields["tls"] = {"caSecretRef": reference, **fields.get("tls", {})}
        secrets[CA_KEY] = certificate.ca_pem
    processor_spec = spec(fields, secret=SECRET if peer.username else None)
    assert processor_spec.email is not None
    smtp = processor_spec.email.transport_config
    return smtp_server(processor_spec, smtp, secrets)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def pool_to(
    peer: SMTPPeer,
    certificate: Certificate | None = None,
    *,
    password: str = PASSWORD,
    transport: dict[str, Any] | None = None,
    size: int = 1,
    timeouts: Timeouts = PATIENT,
    **options: Any,
) -> AsyncIterator[SMTPPool]:
    """Make a pool, and see at the end that it kept to RFC 5321 and gave nothing away."""
    described = server(peer, certificate, password=password, **(transport or {}))
    pool = SMTPPool(described, size=size, timeouts=timeouts, **options)
    try:
        yield pool
    finally:
        await pool.close()
    assert peer.ledger.violations == []
    assert peer.ledger.clear_credentials == 0


def mail(recipient: str = "jane@example.com", *, name: str = "1", body: str = "Hello\r\n") -> Mail:
    """Make a mail; `name` is its Message-ID."""
    local, _, domain = recipient.rpartition("@")
    fields = {
        "From": "sender@mycompany.com",
        "To": f"{local}@{ascii_domain(domain)}",
        "Date": "Wed, 04 Mar 2026 05:06:07 +0000",
        "Subject": "Hello",
        "Message-ID": f"<{name}@mycompany.com>",
    }
    header = "".join(f"{field}: {value}\r\n" for field, value in fields.items())
    return Mail(
        sender="sender@mycompany.com",
        recipient=recipient,
        data=f"{header}\r\n{body}".encode(),
    )


async def outcome(pool: SMTPPool, item: Mail | None = None) -> Receipt | DeliveryError:
    """Deliver, and return what came of it."""
    try:
        return await pool.deliver(item or mail(), may_send=always)
    except DeliveryError as error:
        return error


async def failure(pool: SMTPPool, item: Mail | None = None) -> DeliveryError:
    """Deliver, which must fail."""
    result = await outcome(pool, item)
    assert isinstance(result, DeliveryError), result
    return result


async def success(pool: SMTPPool, item: Mail | None = None) -> Receipt:
    """Deliver, which must succeed."""
    result = await outcome(pool, item)
    assert isinstance(result, Receipt), result
    return result
