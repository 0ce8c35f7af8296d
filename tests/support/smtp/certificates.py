"""Certificates for SMTP peers: good ones, and every way of being bad."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import trustme


class TLSMode(StrEnum):
    """How a peer speaks TLS."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A server's TLS context with its certificate, and the PEM of who signed that."""

    context: ssl.SSLContext
    ca_pem: bytes


class CertificateAuthority:
    """Signs the certificates of one test."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    @property
    def pem(self) -> bytes:
        """The authority's own certificate, as a CA Secret holds it."""
        return self._authority.cert_pem.bytes()

    def valid(self, *names: str) -> Certificate:
        """Return a certificate for these host names and addresses (default: loopback)."""
        return self._issue(*(names or ("127.0.0.1", "localhost")))

    def expired(self) -> Certificate:
        """Return a certificate for loopback whose time is over."""
        now = datetime.now(UTC)
        return self._issue(
            "127.0.0.1",
            "localhost",
            not_before=now - timedelta(days=30),
            not_after=now - timedelta(days=1),
        )

    def wrong_host(self) -> Certificate:
        """Return a certificate for another host."""
        return self._issue("elsewhere.example")

    def write(self, directory: Path) -> None:
        """Write the authority's certificate as ``ca.crt``."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "ca.crt").write_bytes(self.pem)

    def _issue(
        self,
        *names: str,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Certificate:
        leaf = self._authority.issue_cert(*names, not_before=not_before, not_after=not_after)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return Certificate(context=context, ca_pem=self.pem)
