"""A login on its way: what the browser keeps while the person is at the issuer."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final, Self

from ..errors import InputError
from .return_to import check_return_to

_COOKIE_PREFIX: Final = "__Host-notifications-login-"
LIFETIME: Final = 600
"""Seconds within which a login must be finished."""

_PARTS: Final = 4


def _random() -> str:
    """Return 43 characters of those that RFC 7636 section 4.1 allows in a verifier."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, kw_only=True)
class PendingLogin:
    """What the answer of the issuer is held against.

    It is kept by the browser that began the login, in a cookie of its own for each, so that two
    tabs do not disturb each other and strangers cannot fill a table. Nobody gains by changing it.

    Attributes
    ----------
    return_to
        Path to go to afterwards.
    state
        Comes back with the answer, and so ties it to this browser (RFC 6749 section 10.12).
    nonce
        Comes back in the ID token (OpenID Connect Core section 15.5.2).
    verifier
        PKCE's secret (RFC 7636).
    """

    return_to: str
    state: str = field(default_factory=_random)
    nonce: str = field(default_factory=_random, repr=False)
    verifier: str = field(default_factory=_random, repr=False)

    @property
    def challenge(self) -> str:
        """The ``code_challenge`` by method S256 (RFC 7636 section 4.2)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    @property
    def cookie_name(self) -> str:
        """Name of the cookie that keeps it."""
        return cookie_name(self.state)

    def to_cookie(self) -> str:
        """Return the cookie's value."""
        path = base64.urlsafe_b64encode(self.return_to.encode()).rstrip(b"=").decode()
        return ".".join((self.state, self.nonce, self.verifier, path))

    @classmethod
    def from_cookie(cls, value: str, *, state: str) -> Self:
        """Read the cookie of the login with a state.

        Raises
        ------
        InputError
            If it is none.
        """
        parts = value.split(".")
        if len(parts) != _PARTS or not secrets.compare_digest(parts[0].encode(), state.encode()):
            raise InputError("This login was not begun by this browser")
        kept, nonce, verifier, encoded = parts
        try:
            path = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        except ValueError:
            raise InputError("This login was not begun by this browser") from None
        return cls(return_to=check_return_to(path), state=kept, nonce=nonce, verifier=verifier)


def cookie_name(state: str) -> str:
    """Return the name of the cookie for a state, which may be anybody's text."""
    return _COOKIE_PREFIX + hashlib.sha256(state.encode()).hexdigest()[:16]
