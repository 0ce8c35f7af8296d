"""A certificate authority per cluster, and the kubeconfigs that carry its client certificates."""

import datetime
import ipaddress
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=365)
_CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True)
class KeyPair:
    """The paths of a certificate and its private key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority kept in a directory."""

    directory: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_path(self) -> Path:
        """The PEM file that clients verify servers with, and servers clients."""
        return self.directory / "ca.crt"

    @classmethod
    def create(cls, directory: Path) -> "Authority":
        """Make a new authority, `ca.crt` and `ca.key`, in a directory."""
        directory.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("notifications-operator test cluster", ())
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(_subject_key_identifier(key), critical=False)
            .sign(key, hashes.SHA256())
        )
        authority = cls(directory, certificate, key)
        _write_pair(directory, "ca", certificate, key)
        return authority

    def issue(
        self,
        file_name: str,
        common_name: str,
        *,
        organizations: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> KeyPair:
        """Issue a certificate for servers and clients alike.

        Parameters
        ----------
        file_name
            Stem of the two files.
        common_name, organizations
            User name and groups, as Kubernetes reads client certificates.
        hosts
            Names and addresses the server answers to.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        # Python 3.13 verifies strictly (RFC 5280 4.2.1.1) and refuses certificates without it.
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            _subject_key_identifier(self.key)
        )
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(_name(common_name, organizations), self.certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(issuer, critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return _write_pair(self.directory, file_name, certificate, key)


def create_signing_key(directory: Path) -> KeyPair:
    """Make the key pair that signs ServiceAccount tokens: `sa.key` and, public, `sa.pub`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private, public = directory / "sa.key", directory / "sa.pub"
    _write_private(private, key)
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return KeyPair(certificate=public, key=private)


def write_kubeconfig(path: Path, *, server: str, authority: Path, user: KeyPair) -> None:
    """Write a self-contained kubeconfig, readable by its owner only."""

    def embedded(file: Path) -> str:
        return b64encode(file.read_bytes()).decode()

    path.touch(mode=0o600)
    path.write_text(f"""\
apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster:
    server: {server}
    certificate-authority-data: {embedded(authority)}
users:
- name: user
  user:
    client-certificate-data: {embedded(user.certificate)}
    client-key-data: {embedded(user.key)}
contexts:
- name: context
  context: {{cluster: cluster, user: user}}
current-context: context
""")


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _subject_key_identifier(key: ec.EllipticCurvePrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
    )


def _write_pair(
    directory: Path,
    file_name: str,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
) -> KeyPair:
    pair = KeyPair(directory / f"{file_name}.crt", directory / f"{file_name}.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_private(pair.key, key)
    return pair


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
