from __future__ import annotations

import pytest

from tests.support.smtp import CertificateAuthority


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    """An authority that the tests' own servers trust."""
    return CertificateAuthority()
