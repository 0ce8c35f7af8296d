"""TLS contexts of all clients: chain, host name and dates are verified, X.509 strictness is not.

Since Python 3.13 `ssl.create_default_context` also sets ``VERIFY_X509_STRICT``, which refuses
authorities without the extensions that RFC 5280 asks of them (key usage, key identifiers). Many
self-made and older clusters and mail servers have such authorities, and whatever else runs there
(kubectl, Helm, every program in Go) accepts them.
"""

from __future__ import annotations

import ssl


def client_context(*, authorities: str | None = None) -> ssl.SSLContext:
    """Return a context that verifies servers, with TLS 1.2 at least.

    Parameters
    ----------
    authorities
        Certificates to trust instead of the system's, as PEM. ``SSL_CERT_FILE`` names other ones
        of the system.

    Raises
    ------
    ssl.SSLError
        If `authorities` holds no certificate.
    """
    if authorities is not None and not authorities.strip():
        # Given an empty text, ssl would trust the system's authorities.
        raise ssl.SSLError("no certificate")
    context = ssl.create_default_context(cadata=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return without_strictness(context)


def without_strictness(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context of another library accept what ours do, and return it."""
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
