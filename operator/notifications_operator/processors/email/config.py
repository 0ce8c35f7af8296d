"""The SMTP server that a processor's configuration and Secrets describe."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property

from ...api.email import SMTPTransport, TLSConfig
from ...api.processor import NotificationProcessorSpec
from ...api.secrets import SecretKeyRef
from ...catalog.quoting import quoted
from ...tls import client_context
from ..base import SecretKey
from ..errors import InvalidProcessorConfig
from .domains import address_literal, ascii_domain
from .oauth2.config import OAuth2Credentials, oauth2_credentials, oauth2_secret_keys
from .redaction import Redactor
from .secret_values import place_of, secret_text, secret_value

USERNAME_KEY = "username"
"""Key of ``spec.secretRef`` that holds the user name (as in ``kubernetes.io/basic-auth``)."""

PASSWORD_KEY = "password"  # noqa: S105 - the name of a key
"""Key of ``spec.secretRef`` that holds the password."""

_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_LITERAL = re.compile(r"\[(?:(?i:IPv6):)?(?P<address>[^\[\]]*)\]")


class Encryption(Enum):
    """When the connection is encrypted."""

    IMPLICIT = auto()
    """From the first byte (RFC 8314 section 3.3)."""

    REQUIRED = auto()
    """By STARTTLS (RFC 3207), or nothing is sent."""

    OPPORTUNISTIC = auto()
    """By STARTTLS if the server offers it."""

    NONE = auto()
    """Never."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A user name and a password; neither shows in a representation."""

    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SMTPServer:
    """Where to connect, and how to be safe there."""

    hostname: str
    port: int
    encryption: Encryption
    tls_context: ssl.SSLContext
    server_name: str
    credentials: Credentials | OAuth2Credentials | None
    client_name: str | None
    """Name for EHLO; ``None``: the address of each connection."""

    @property
    def address(self) -> str:
        """``host:port``, as messages show it."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{host}:{self.port}"

    @cached_property
    def redactor(self) -> Redactor:
        """Hides the credentials in what the server says."""
        match self.credentials:
            case Credentials(username=username, password=password):
                # The last is what AUTH PLAIN sends (RFC 4616 section 2).
                return Redactor((password, f"\0{username}\0{password}"))
            case OAuth2Credentials(secrets=secrets):
                return Redactor(secrets)
            case _:
                return Redactor()


def smtp_secret_keys(
    spec: NotificationProcessorSpec, transport: SMTPTransport
) -> Sequence[SecretKey]:
    """Return the Secret keys that an SMTP transport needs."""
    keys = []
    if spec.secret_ref is not None:
        name = spec.secret_ref.name
        keys += [
            SecretKey(secret=name, key=USERNAME_KEY, confidential=False),
            SecretKey(secret=name, key=PASSWORD_KEY),
        ]
    if transport.oauth2 is not None:
        keys += oauth2_secret_keys(transport.oauth2)
    if transport.tls is not None and transport.tls.ca_secret_ref is not None:
        keys.append(_authority_key(transport.tls.ca_secret_ref))
    return list(dict.fromkeys(keys))


def smtp_server(
    spec: NotificationProcessorSpec,
    transport: SMTPTransport,
    secrets: Mapping[SecretKey, bytes],
    *,
    sender: str = "",
    own_tokens: Sequence[str] = (),
) -> SMTPServer:
    """Read the configuration of an SMTP transport.

    Parameters
    ----------
    sender
        The address that mails are from, which is the user name of OAuth 2 unless another is given.
    own_tokens
        Files with tokens of the operator's own, which are given to nobody.

    Raises
    ------
    InvalidProcessorConfig
        If it cannot work; the message names the field, or the Secret and its key, and never what
        the Secret holds.
    SecretNotFound
        If a Secret's key is missing.
    """
    tls = transport.tls or TLSConfig()
    credentials: Credentials | OAuth2Credentials | None = _credentials(spec, secrets)
    if transport.oauth2 is not None:
        credentials = oauth2_credentials(
            transport.oauth2,
            secrets,
            sender=sender,
            tls_context=_token_context(tls, secrets),
            own_tokens=own_tokens,
        )
    if credentials is not None and transport.ignore_tls:
        raise InvalidProcessorConfig(
            "spec.email.transportConfig.ignoreTls: credentials (spec.secretRef) are never sent in "
            "clear; remove ignoreTls or secretRef"
        )
    hostname = _host("spec.email.transportConfig.hostname", transport.hostname)
    return SMTPServer(
        hostname=hostname,
        port=transport.port,
        encryption=_encryption(transport, authenticated=credentials is not None),
        tls_context=_tls_context(tls, secrets),
        server_name=_host("spec.email.transportConfig.tls.serverName", tls.server_name)
        if tls.server_name
        else hostname.rstrip("."),
        credentials=credentials,
        client_name=_client_name("spec.email.transportConfig.name", transport.name)
        if transport.name
        else None,
    )


def _encryption(transport: SMTPTransport, *, authenticated: bool) -> Encryption:
    if transport.secure:
        return Encryption.IMPLICIT
    if authenticated or transport.require_tls:
        return Encryption.REQUIRED
    return Encryption.NONE if transport.ignore_tls else Encryption.OPPORTUNISTIC


def _credentials(
    spec: NotificationProcessorSpec, secrets: Mapping[SecretKey, bytes]
) -> Credentials | None:
    if spec.secret_ref is None:
        return None
    name = spec.secret_ref.name
    username, password = (
        secret_text(SecretKey(secret=name, key=key), secrets)
        for key in (USERNAME_KEY, PASSWORD_KEY)
    )
    return Credentials(username=username, password=password)


def _authority_key(reference: SecretKeyRef) -> SecretKey:
    # An authority's certificate is public.
    return SecretKey(secret=reference.name, key=reference.key, confidential=False)


def _tls_context(tls: TLSConfig, secrets: Mapping[SecretKey, bytes]) -> ssl.SSLContext:
    """Return the context that checks the server.

    With ``caSecretRef`` only that authority is trusted, otherwise those of the system.
    """
    if tls.ca_secret_ref is None:
        context = client_context()
    else:
        context = _context_of_authority(_authority_key(tls.ca_secret_ref), secrets)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _context_of_authority(key: SecretKey, secrets: Mapping[SecretKey, bytes]) -> ssl.SSLContext:
    pem = _authorities(key, secrets)
    try:
        return client_context(authorities=pem)
    except ssl.SSLError:
        raise _no_certificate(key) from None


def _authorities(key: SecretKey, secrets: Mapping[SecretKey, bytes]) -> str:
    # What is not ASCII can only be a comment between the certificates.
    return secret_value(key, secrets).decode("ascii", "ignore")


def _token_context(tls: TLSConfig, secrets: Mapping[SecretKey, bytes]) -> ssl.SSLContext:
    """Return the context that checks a token endpoint: always, whatever holds for the mail server.

    The authority of ``caSecretRef`` is trusted beside the system's, because such an endpoint is
    often a public one, whoever runs the mail server.
    """
    context = client_context()
    if tls.ca_secret_ref is not None:
        key = _authority_key(tls.ca_secret_ref)
        try:
            context.load_verify_locations(cadata=_authorities(key, secrets))
        except (ssl.SSLError, ValueError):
            raise _no_certificate(key) from None
    return context


def _no_certificate(key: SecretKey) -> InvalidProcessorConfig:
    return InvalidProcessorConfig(
        f"spec.email.transportConfig.tls.caSecretRef: {place_of(key)}: holds no certificate in PEM "
        "form"
    )


def _host(field_name: str, value: str) -> str:
    if (name := _host_name(value)) is not None:
        return name
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise InvalidProcessorConfig(
            f"{field_name}: {quoted(value)} is no host name and no IP address; write a name "
            "without scheme and port, or an address without brackets"
        ) from None


def _client_name(field_name: str, value: str) -> str:
    """Return a host name or an address literal, as EHLO takes them (RFC 5321 section 4.1.1.1)."""
    literal = _LITERAL.fullmatch(value)
    try:
        return address_literal(literal["address"] if literal else value)
    except ValueError:
        name = _host_name(value)
    if name is None:
        raise InvalidProcessorConfig(
            f"{field_name}: {quoted(value)} is no host name and no address literal; valid: "
            "mail.example.com, [192.0.2.1], [IPv6:2001:db8::1]"
        )
    return name.rstrip(".")


def _host_name(value: str) -> str | None:
    """Return a host name in ASCII, or ``None`` if it is none."""
    try:
        name = ascii_domain(value)
    except ValueError:
        return None
    return name if _HOST_NAME.fullmatch(name) else None
