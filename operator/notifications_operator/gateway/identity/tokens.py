"""JSON Web Tokens (RFC 7519, RFC 8725): first read, then verified."""

from __future__ import annotations

import base64
import binascii
import json
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, Self

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from ...catalog.quoting import quoted
from .keys import KeySource

MAX_TOKEN_LENGTH: Final = 32_768
"""Most characters of a token: Backstage's ``MAX_TOKEN_LENGTH``
(``plugins/auth-backend/src/identity/issueUserToken.ts``)."""

_LATEST: Final = 253_402_300_799
"""The last second of the year 9999, and so of `datetime`."""


class TokenError(Exception):
    """A token that is not valid; the message says why, and is for whoever showed it."""


@dataclass(frozen=True, kw_only=True)
class UnverifiedToken:
    """What a token says, which anybody could have written.

    Attributes
    ----------
    text
        The token.
    header
        Its JOSE header.
    claims
        Its claims.
    """

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the token in a text, or ``None`` if it is none (or longer than any may be)."""
        if len(text) > MAX_TOKEN_LENGTH:
            return None
        parts = text.split(".")
        if len(parts) != 3:
            return None
        header, claims = _json_object(parts[0]), _json_object(parts[1])
        if header is None or claims is None:
            return None
        return cls(text=text, header=header, claims=claims)


@dataclass(frozen=True, kw_only=True)
class VerifiedToken:
    """A token of the issuer for us.

    Attributes
    ----------
    claims
        What it says.
    expires
        Its ``exp``.
    """

    claims: Mapping[str, Any]
    expires: datetime


class TokenVerifier:
    """Verifies the tokens of one issuer.

    Parameters
    ----------
    keys
        The issuer's.
    algorithms
        Those that are accepted, of `algorithms.KEY_KINDS`.
    clock_skew
        Seconds by which the issuer's clock may differ.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        algorithms: Collection[str],
        clock_skew: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._algorithms = tuple(algorithms)
        self._clock_skew = clock_skew
        self._clock = clock
        self._registry = jws.JWSRegistry(
            algorithms=list(self._algorithms),
            # RFC 7515 section 4: header parameters that are not understood are ignored.
            strict_check_header=False,
        )
        # The library's bounds are for shorter tokens; ours is on the whole token.
        self._registry.max_header_length = MAX_TOKEN_LENGTH
        self._registry.max_payload_length = MAX_TOKEN_LENGTH
        self._registry.max_signature_length = MAX_TOKEN_LENGTH

    async def verify(
        self,
        token: UnverifiedToken,
        *,
        audiences: Collection[str] | None,
        issuer: str | None = None,
    ) -> VerifiedToken:
        """Return the token if its signature and claims are valid.

        Parameters
        ----------
        audiences
            One of these must be in ``aud``; ``None``: the kind of token has none.
        issuer
            What ``iss`` must be; ``None``: not looked at.

        Raises
        ------
        TokenError
            If it is not valid.
        KeysUnavailable
            If that cannot be told at the moment.
        """
        await self._check_signature(token)
        if issuer is not None and token.claims.get("iss") != issuer:
            raise TokenError(f"its issuer is not {issuer}")
        if audiences is not None:
            _check_audience(token.claims, audiences)
        return VerifiedToken(claims=token.claims, expires=self._check_times(token.claims))

    async def _check_signature(self, token: UnverifiedToken) -> None:
        algorithm, key_id = token.header.get("alg"), token.header.get("kid")
        if algorithm not in self._algorithms:
            raise TokenError(
                f"its algorithm {_shown(algorithm)} is not accepted; "
                f"accepted are {', '.join(self._algorithms)}"
            )
        if "crit" in token.header or "b64" in token.header:
            raise TokenError("it asks for extensions (crit) that are not known here")
        if key_id is not None and not isinstance(key_id, str):
            raise TokenError("its kid is no string")
        keys = await self._keys.find(algorithm=algorithm, key_id=key_id)
        if not keys:
            raise TokenError("it is signed with a key that its issuer does not have")
        if not any(self._is_signed_with(key, token.text) for key in keys):
            raise TokenError("its signature is not valid")

    def _is_signed_with(self, key: Key, text: str) -> bool:
        try:
            jws.deserialize_compact(text, key, registry=self._registry)
        except (JoseError, ValueError):
            return False
        return True

    def _check_times(self, claims: Mapping[str, Any]) -> datetime:
        now = self._clock()
        expires = _time(claims, "exp")
        if now >= expires + self._clock_skew:
            raise TokenError(f"it expired at {_timestamp(expires)}")
        latest = now + self._clock_skew
        if _time(claims, "iat") > latest:
            raise TokenError(f"it is from the future (iat {_timestamp(_time(claims, 'iat'))})")
        if "nbf" in claims and _time(claims, "nbf") > latest:
            raise TokenError(f"it is not valid before {_timestamp(_time(claims, 'nbf'))}")
        return datetime.fromtimestamp(expires, UTC)


def _check_audience(claims: Mapping[str, Any], audiences: Collection[str]) -> None:
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(name, str) and name in audiences for name in named):
        raise TokenError(f"it is for {_shown(audience)} and not for {' or '.join(audiences)}")


def _time(claims: Mapping[str, Any], name: str) -> float:
    """Return a NumericDate: seconds since the epoch, whole or not (RFC 7519 section 2)."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise TokenError(f"its {name} is {'missing' if value is None else 'no time'}")
    return float(value)


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(math.floor(seconds), UTC).isoformat()


def _shown(value: object) -> str:
    return quoted(value if isinstance(value, str) else json.dumps(value))


def _json_object(segment: str) -> dict[str, Any] | None:
    try:
        value = json.loads(
            base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True),
            parse_constant=_refuse_constant,
        )
    except (binascii.Error, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(name)
