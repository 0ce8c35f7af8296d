"""Certificates are what strict verifiers and Kubernetes expect."""

import base64
import ssl
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from hack.cluster import pki


def _handshake(
    authority: pki.Authority, server: pki.KeyPair, client: pki.KeyPair, name: str
) -> None:
    """Shake hands in memory, both sides verifying as strictly as Python 3.13 does."""
    server_context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate_path)
    )
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.load_cert_chain(server.certificate, server.key)
    client_context = ssl.create_default_context(cafile=str(authority.certificate_path))
    client_context.load_cert_chain(client.certificate, client.key)
    for context in (server_context, client_context):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server_side = server_context.wrap_bio(to_server, to_client, server_side=True)
    unfinished = [client_side, server_side]
    for _ in range(10):
        for side in list(unfinished):
            try:
                side.do_handshake()
                unfinished.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert not unfinished


@pytest.fixture
def authority(tmp_path: Path) -> pki.Authority:
    return pki.Authority.create(tmp_path / "pki")


@pytest.mark.parametrize("name", ["127.0.0.1", "kubernetes.default.svc"])
def test_server_and_client_accept_each_other(authority: pki.Authority, name: str) -> None:
    server = authority.issue("server", "server", hosts=["127.0.0.1", "kubernetes.default.svc"])
    client = authority.issue("client", "client")

    _handshake(authority, server, client, name)


def test_another_name_is_refused(authority: pki.Authority) -> None:
    server = authority.issue("server", "server", hosts=["127.0.0.1"])
    client = authority.issue("client", "client")

    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(authority, server, client, "10.0.0.1")


def test_another_authority_is_refused(authority: pki.Authority, tmp_path: Path) -> None:
    other = pki.Authority.create(tmp_path / "other")
    server = other.issue("server", "server", hosts=["127.0.0.1"])
    client = authority.issue("client", "client")

    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(authority, server, client, "127.0.0.1")


def test_user_and_groups_are_in_the_subject(authority: pki.Authority) -> None:
    pair = authority.issue("admin", "admin", organizations=["system:masters"])

    subject = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).subject

    assert subject.rfc4514_string() == "CN=admin,O=system:masters"


def test_private_files_are_their_owners_alone(authority: pki.Authority) -> None:
    pair = authority.issue("admin", "admin")
    signing = pki.create_signing_key(authority.directory)
    kubeconfig = authority.directory / "kubeconfig"
    pki.write_kubeconfig(
        kubeconfig,
        server="https://127.0.0.1:6443",
        authority=authority.certificate_path,
        user=pair,
    )

    for path in (authority.directory / "ca.key", pair.key, signing.key, kubeconfig):
        assert path.stat().st_mode & 0o777 == 0o600


def test_kubeconfig_carries_everything(authority: pki.Authority) -> None:
    pair = authority.issue("admin", "admin")
    path = authority.directory / "kubeconfig"

    pki.write_kubeconfig(
        path, server="https://127.0.0.1:6443", authority=authority.certificate_path, user=pair
    )

    written = yaml.safe_load(path.read_text())
    cluster = written["clusters"][0]["cluster"]
    assert cluster["server"] == "https://127.0.0.1:6443"
    embedded = base64.b64decode(cluster["certificate-authority-data"])
    assert embedded == authority.certificate_path.read_bytes()
    assert written["current-context"] == written["contexts"][0]["name"]
