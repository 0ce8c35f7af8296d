"""Grants and their Secrets: what cannot work says where and why, and gives nothing away."""

from __future__ import annotations

import json
import ssl
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from notifications_operator.processors.base import SecretKey
from notifications_operator.processors.email import EmailProcessor
from notifications_operator.processors.email.config import Encryption, SMTPServer, smtp_server
from notifications_operator.processors.email.oauth2.config import OAuth2Credentials
from notifications_operator.processors.email.oauth2.grants import JWTBearer
from notifications_operator.processors.errors import InvalidProcessorConfig, SecretNotFound
from tests.support.smtp import CertificateAuthority
from tests.unit.processors.email.email_builders import spec

VALUE = SecretKey(secret="mail-oauth2", key="value")
CA_KEY = SecretKey(secret="mail-ca", key="ca.crt")
REFERENCE = {"name": "mail-oauth2", "key": "value"}
ACCOUNT = "mailer@project.iam.gserviceaccount.com"
SENDER = "sender@mycompany.com"
AUTHORITY = CertificateAuthority().pem


def transport(**oauth2: Any) -> dict[str, Any]:
    fields = {
        "grant": "clientCredentials",
        "tokenUrl": "https://login.example.com/token",
        "clientId": "client",
        **oauth2,
    }
    return {
        "transport": "smtp",
        "hostname": "mail.example.com",
        "port": 587,
        "tls": {"caSecretRef": {"name": "mail-ca", "key": "ca.crt"}},
        "oauth2": fields,
    }


def server(value: bytes | None, **oauth2: Any) -> SMTPServer:
    described = spec(transport(**oauth2))
    assert described.email is not None
    secrets = {CA_KEY: AUTHORITY}
    if value is not None:
        secrets[VALUE] = value
    return smtp_server(described, described.email.transport_config, secrets, sender=SENDER)  # type: ignore[arg-type]


def signing(value: bytes, client: str = ACCOUNT) -> JWTBearer:
    described = server(value, grant="jwtBearer", clientId=client, privateKeyRef=REFERENCE)
    assert isinstance(described.credentials, OAuth2Credentials)
    assert isinstance(described.credentials.grant, JWTBearer)
    return described.credentials.grant


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    *,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    passphrase: bytes | None = None,
) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_file(text: bytes, **changes: Any) -> bytes:
    fields = {"client_email": ACCOUNT, "private_key": text.decode(), "private_key_id": "k1"}
    return json.dumps({**fields, **changes}).encode()


def test_tokens_need_tls() -> None:
    described = server(b"secret", clientSecretRef=REFERENCE)

    assert described.encryption is Encryption.REQUIRED


def test_the_endpoints_authority_is_the_systems_or_that_of_the_secret() -> None:
    credentials = server(b"secret", clientSecretRef=REFERENCE).credentials
    assert isinstance(credentials, OAuth2Credentials)
    context = credentials.tls_context

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == len(ssl.create_default_context().get_ca_certs()) + 1


@pytest.mark.parametrize(
    ("given", "username"), [(None, SENDER), ("box@b.example", "box@b.example")]
)
def test_the_mailbox_is_the_senders_unless_given(given: str | None, username: str) -> None:
    credentials = server(b"secret", clientSecretRef=REFERENCE, username=given).credentials

    assert isinstance(credentials, OAuth2Credentials)
    assert credentials.username == username


def test_what_secrets_are_needed() -> None:
    oauth2 = {"grant": "refreshToken", "refreshTokenRef": {"name": "a", "key": "b"}}

    assert list(
        EmailProcessor.secret_keys(spec(transport(clientSecretRef=REFERENCE, **oauth2)))
    ) == [
        VALUE,
        SecretKey(secret="a", key="b"),
        CA_KEY,
    ]
    assert list(EmailProcessor.secret_keys(spec(transport(federatedTokenFile="/token")))) == [
        CA_KEY
    ]


def test_only_the_authority_is_no_secret() -> None:
    keys = EmailProcessor.secret_keys(spec(transport(clientSecretRef=REFERENCE)))

    assert {key.key: key.confidential for key in keys} == {"value": True, "ca.crt": False}


def test_representations_show_no_secret(key: rsa.RSAPrivateKey) -> None:
    for described in (
        server(b"secret-1", clientSecretRef=REFERENCE),
        server(b"secret-1", grant="refreshToken", refreshTokenRef=REFERENCE),
        server(pem(key), grant="jwtBearer", privateKeyRef=REFERENCE),
    ):
        assert isinstance(described.credentials, OAuth2Credentials)
        for shown in (described, described.credentials, described.credentials.grant):
            assert "secret-1" not in repr(shown)
            assert "PRIVATE" not in repr(shown)


@pytest.mark.parametrize("field", ["clientSecretRef", "refreshTokenRef"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", "is empty"),
        (b"secret-1\n", "ends with a line break; create it without one (echo -n)"),
        (b"secret-1\x01x", "contains a control character"),
        (b"secret-1\xff", "is not UTF-8"),
    ],
)
def test_values_that_cannot_be_meant(field: str, value: bytes, problem: str) -> None:
    grant = "clientCredentials" if field == "clientSecretRef" else "refreshToken"
    with pytest.raises(InvalidProcessorConfig) as caught:
        server(value, grant=grant, **{field: REFERENCE})

    assert str(caught.value) == f"Secret 'mail-oauth2', key 'value': {problem}"


def test_a_missing_key() -> None:
    with pytest.raises(SecretNotFound, match="Secret 'mail-oauth2' has no key 'value'"):
        server(None, clientSecretRef=REFERENCE)


def test_keys_in_any_form(key: rsa.RSAPrivateKey) -> None:
    old = serialization.PrivateFormat.TraditionalOpenSSL

    for value in (pem(key), pem(key, form=old), pem(key) + b"\n"):
        assert signing(value).key_id is None
    for value in (key_file(pem(key)), b"\n " + key_file(pem(key), more=[1])):
        assert signing(value).key_id == "k1"
    assert signing(key_file(pem(key), private_key_id=7)).key_id is None


def test_the_subject_is_the_mailbox_unless_given(key: rsa.RSAPrivateKey) -> None:
    assert signing(pem(key)).subject == SENDER


def test_keys_that_cannot_sign(key: rsa.RSAPrivateKey) -> None:
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for value in (
        b"",
        b"no key",
        b"\xff\xfe",
        public,
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(key, passphrase=b"passphrase"),
        pem(key)[:200],
        key_file(b"no key"),
    ):
        with pytest.raises(InvalidProcessorConfig) as caught:
            signing(value)
        message = str(caught.value)
        assert message.startswith(
            "spec.email.transportConfig.oauth2.privateKeyRef: Secret 'mail-oauth2', key 'value': "
            "holds no RSA private key"
        )
        assert caught.value.__cause__ is None


def test_a_key_that_is_too_short() -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(InvalidProcessorConfig, match="has 1024 bits; write one of at least 2048"):
        signing(pem(short))


@pytest.mark.parametrize(
    "value", [b"{", b"{}", b'{"private_key": 1}', b'{"private_key": "a"}', b'{"a":' * 100_000]
)
def test_key_files_that_are_none(value: bytes) -> None:
    with pytest.raises(InvalidProcessorConfig, match="is no key file of a service account"):
        signing(value)


def test_a_key_file_of_another_account(key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(InvalidProcessorConfig) as caught:
        signing(key_file(pem(key)), client="1234567890")

    assert "oauth2.clientId: '1234567890' is not the account of the key file in" in str(
        caught.value
    )
    assert ACCOUNT in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://[::1/token",
        "https://login]example.com/token",
        "https://:443/token",
        "https://login.example.com:0/token",
        "https://login.example.com:99999/token",
        "https://login.example.com:https/token",
    ],
)
def test_a_token_url_without_host_or_port_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidProcessorConfig, match=r"oauth2\.tokenUrl: .*has no host"):
        server(b"secret", tokenUrl=url, clientSecretRef=REFERENCE)
