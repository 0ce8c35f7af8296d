"""Verification of a server's certificate by clients."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from notifications_operator.tls import client_context
from tests.support.lax_authority import LaxAuthority
from tests.support.tls import strict_as_python_3_13


@pytest.fixture(autouse=True)
def python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    strict_as_python_3_13(monkeypatch)


def test_everything_is_verified_but_x509_strictness(tmp_path: Path) -> None:
    assert ssl.create_default_context().verify_flags & ssl.VERIFY_X509_STRICT, "as in 3.13"
    for authorities in (None, LaxAuthority(tmp_path).pem.decode()):
        context = client_context(authorities=authorities)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_given_authorities_replace_the_systems(tmp_path: Path) -> None:
    context = client_context(authorities=LaxAuthority(tmp_path).pem.decode())
    assert context.cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize("authorities", ["", " \n", "no certificate"])
def test_no_authority_is_never_the_systems(authorities: str) -> None:
    with pytest.raises(ssl.SSLError):
        client_context(authorities=authorities)
