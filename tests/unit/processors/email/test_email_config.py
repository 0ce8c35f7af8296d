"""Configuration and Secrets that cannot work say where and why, and give nothing away."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from notifications_operator.processors.base import SecretKey
from notifications_operator.processors.email import EmailProcessor
from notifications_operator.processors.email.config import Encryption, smtp_server
from notifications_operator.processors.errors import InvalidProcessorConfig, SecretNotFound
from tests.support.smtp import CertificateAuthority
from tests.unit.processors.email.email_builders import SECRET, context, credentials, spec

CA_KEY = SecretKey(secret="mail-ca", key="ca.crt")
CA_REF = {"caSecretRef": {"name": "mail-ca", "key": "ca.crt"}}


def smtp(**fields: Any) -> dict[str, Any]:
    return {"transport": "smtp", "hostname": "mail.example.com", "port": 587, **fields}


def server(
    transport: dict[str, Any],
    *,
    secret: str | None = None,
    secrets: dict[SecretKey, bytes] | None = None,
) -> Any:
    processor_spec = spec(transport, secret=secret)
    assert processor_spec.email is not None
    return smtp_server(processor_spec, processor_spec.email.transport_config, secrets or {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "authenticated", "encryption"),
    [
        ({}, False, Encryption.OPPORTUNISTIC),
        ({}, True, Encryption.REQUIRED),
        ({"requireTls": True}, False, Encryption.REQUIRED),
        ({"secure": True}, False, Encryption.IMPLICIT),
        ({"secure": True, "requireTls": True}, True, Encryption.IMPLICIT),
        ({"ignoreTls": True}, False, Encryption.NONE),
    ],
)
def test_encryption(fields: dict[str, Any], authenticated: bool, encryption: Encryption) -> None:
    result = server(
        smtp(**fields),
        secret=SECRET if authenticated else None,
        secrets=credentials() if authenticated else {},
    )

    assert result.encryption is encryption
    assert (result.credentials is not None) == authenticated


def test_certificates_are_checked() -> None:
    tls_context = server(smtp()).tls_context

    assert tls_context.verify_mode is ssl.CERT_REQUIRED
    assert tls_context.check_hostname
    assert tls_context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_certificates_are_left_unchecked_only_when_asked() -> None:
    tls_context = server(smtp(tls={"insecureSkipVerify": True})).tls_context

    assert tls_context.verify_mode is ssl.CERT_NONE
    assert not tls_context.check_hostname


@pytest.mark.parametrize("comment", [b"", "# Türktrust\n".encode()])
def test_with_an_authority_of_its_own_no_other_is_trusted(comment: bytes) -> None:
    pem = comment + CertificateAuthority().pem

    tls_context = server(smtp(tls=CA_REF), secrets={CA_KEY: pem}).tls_context

    assert tls_context.verify_mode is ssl.CERT_REQUIRED
    assert len(tls_context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\n",
        b"not a certificate",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"\xff\xfe\x00",
        b"-----BEGIN PRIVATE KEY-----\nsecret-key-material\n-----END PRIVATE KEY-----\n",
    ],
)
def test_an_authority_that_is_none(value: bytes) -> None:
    with pytest.raises(InvalidProcessorConfig) as caught:
        server(smtp(tls=CA_REF), secrets={CA_KEY: value})

    assert "caSecretRef" in str(caught.value)
    assert "'mail-ca'" in str(caught.value)
    assert "'ca.crt'" in str(caught.value)
    assert "secret-key-material" not in str(caught.value)


@pytest.mark.parametrize("key", ["username", "password"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", "empty"),
        (b"hunter2\n", "ends with a line break"),
        (b"hunter2\r\n", "ends with a line break"),
        (b"hunter2\rQUIT", "control character"),
        (b"hunter2\nQUIT", "control character"),
        (b"hunter2\0x", "control character"),
        (b"hunter2\x7f", "control character"),
        (b"hunter2\xff", "UTF-8"),
    ],
)
def test_credentials_that_cannot_be_sent(key: str, value: bytes, problem: str) -> None:
    secrets = credentials() | {SecretKey(secret=SECRET, key=key): value}

    with pytest.raises(InvalidProcessorConfig) as caught:
        server(smtp(), secret=SECRET, secrets=secrets)

    assert problem in str(caught.value)
    assert f"'{SECRET}'" in str(caught.value)
    assert f"'{key}'" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("key", ["username", "password"])
def test_credentials_that_are_missing(key: str) -> None:
    secrets = credentials()
    del secrets[SecretKey(secret=SECRET, key=key)]

    with pytest.raises(SecretNotFound, match=f"'{SECRET}' has no key '{key}'"):
        server(smtp(), secret=SECRET, secrets=secrets)


def test_credentials_do_not_show() -> None:
    result = server(smtp(), secret=SECRET, secrets=credentials())

    assert "my-username" not in repr(result)
    assert "my-password" not in repr(result)


def test_ignore_tls_beside_credentials_is_refused_at_run_time_too() -> None:
    # As a status that an older operator accepted, or a decoded object that was not validated.
    processor_spec = spec(smtp(ignoreTls=True))
    unchecked = processor_spec.model_copy(
        update={"secret_ref": spec(smtp(), secret=SECRET).secret_ref}
    )

    with pytest.raises(InvalidProcessorConfig, match=r"ignoreTls.*never sent in clear"):
        EmailProcessor.create(context(unchecked, secrets=credentials()))


@pytest.mark.parametrize(
    ("hostname", "address", "server_name"),
    [
        ("mail.example.com", "mail.example.com:587", "mail.example.com"),
        ("mail.example.com.", "mail.example.com.:587", "mail.example.com"),
        ("192.0.2.1", "192.0.2.1:587", "192.0.2.1"),
        ("2001:db8::1", "[2001:db8::1]:587", "2001:db8::1"),
        ("Mail.Bücher.example", "mail.xn--bcher-kva.example:587", "mail.xn--bcher-kva.example"),
    ],
)
def test_where_to_connect(hostname: str, address: str, server_name: str) -> None:
    result = server(smtp(hostname=hostname))

    assert result.address == address
    assert result.server_name == server_name


@pytest.mark.parametrize(
    ("given", "name"),
    [("mx.example.com", "mx.example.com"), ("bücher.example", "xn--bcher-kva.example")],
)
def test_the_name_in_the_certificate_may_differ(given: str, name: str) -> None:
    assert server(smtp(tls={"serverName": given})).server_name == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, None),
        ("notifications.example.com", "notifications.example.com"),
        ("notifications.example.com.", "notifications.example.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("bücher.example\u3002", "xn--bcher-kva.example"),
        ("relay", "relay"),
        ("10.1.2.3", "[10.1.2.3]"),
        ("[10.1.2.3]", "[10.1.2.3]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ("[IPv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]"),
        ("[ipv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("[2001:db8::1]", "[IPv6:2001:db8::1]"),
    ],
)
def test_how_the_operator_introduces_itself(given: str | None, name: str | None) -> None:
    assert server(smtp(name=given)).client_name == name


@pytest.mark.parametrize(
    "name", ["a..b", ".", "-a", "ü" * 60 + ".example", "[10.1.2]", "[10.1.2.3.4]", "[IPv6:::zz]"]
)
def test_an_introduction_that_is_none(name: str) -> None:
    with pytest.raises(InvalidProcessorConfig, match=r"transportConfig\.name: .*; valid: mail\."):
        _unchecked(name=name)


def _unchecked(**fields: Any) -> Any:
    """Read a transport that the API server would have refused."""
    processor_spec = spec(smtp())
    assert processor_spec.email is not None
    transport = processor_spec.email.transport_config.model_copy(update=fields)
    return smtp_server(processor_spec, transport, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "hostname", ["a..b", ".", "x" * 64 + ".com", "-a", "::zz", "1:2", "ü" * 60, "ü\u202e.example"]
)
def test_a_host_that_is_none(hostname: str) -> None:
    with pytest.raises(InvalidProcessorConfig, match=r"transportConfig\.hostname"):
        _unchecked(hostname=hostname)


def test_which_secrets_are_needed() -> None:
    both = spec(smtp(tls=CA_REF), secret=SECRET)

    assert set(EmailProcessor.secret_keys(both)) == {*credentials(), CA_KEY}
    assert EmailProcessor.secret_keys(spec(smtp())) == []
    assert EmailProcessor.secret_keys(spec({"transport": "stream"}, secret=SECRET)) == ()


@pytest.mark.parametrize("field", ["sender", "replyTo"])
@pytest.mark.parametrize("value", ["double..dot@x.example", "Name <jäne@x.example>"])
def test_our_own_addresses_name_their_field(field: str, value: str) -> None:
    fields: dict[str, Any] = {field: value}
    with pytest.raises(InvalidProcessorConfig, match=rf"spec\.email\.{field}: .* is invalid"):
        EmailProcessor.create(context(spec(**fields)))


@pytest.mark.parametrize("field", ["sender", "replyTo"])
def test_our_own_addresses_are_in_ascii_before_the_at(field: str) -> None:
    fields: dict[str, Any] = {field: "Name <jäne@bücher.example>"}
    with pytest.raises(InvalidProcessorConfig, match=r"what is before the @ must be in ASCII"):
        EmailProcessor.create(context(spec(**fields)))


def test_a_program_that_is_not_listed() -> None:
    processor_spec = spec({"transport": "sendmail", "path": "/bin/sh"})

    with pytest.raises(InvalidProcessorConfig) as caught:
        EmailProcessor.create(context(processor_spec, sendmail_paths=("/usr/sbin/sendmail",)))

    assert "transportConfig.path: '/bin/sh'" in str(caught.value)
    assert "valid: /usr/sbin/sendmail" in str(caught.value)


def test_a_spec_without_its_block() -> None:
    unchecked = spec().model_copy(update={"email": None})

    with pytest.raises(InvalidProcessorConfig, match=r"spec\.email is required"):
        EmailProcessor.create(context(unchecked))
