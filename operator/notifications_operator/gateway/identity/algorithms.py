"""Signature algorithms that tokens may have, and the keys that go with them."""

from __future__ import annotations

from typing import Final, NamedTuple


class KeyKind(NamedTuple):
    """The keys of an algorithm: ``kty`` and, where there are several, ``crv`` (RFC 7518)."""

    key_type: str
    curve: str | None = None


KEY_KINDS: Final[dict[str, KeyKind]] = {
    "RS256": KeyKind("RSA"),
    "RS384": KeyKind("RSA"),
    "RS512": KeyKind("RSA"),
    "PS256": KeyKind("RSA"),
    "PS384": KeyKind("RSA"),
    "PS512": KeyKind("RSA"),
    "ES256": KeyKind("EC", "P-256"),
    "ES384": KeyKind("EC", "P-384"),
    "ES512": KeyKind("EC", "P-521"),
    "Ed25519": KeyKind("OKP", "Ed25519"),
}
"""Asymmetric algorithms only.

``none`` needs no key, and with HMAC a public key would be the secret (RFC 8725 section 2.1). The
``EdDSA`` of RFC 8037 is deprecated by RFC 9864 in favour of ``Ed25519``.
"""

ASYMMETRIC_ALGORITHMS: Final = tuple(KEY_KINDS)
