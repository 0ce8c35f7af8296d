"""The token in a request's ``Authorization`` header (RFC 6750 section 2.1)."""

from __future__ import annotations

from starlette.requests import HTTPConnection


def bearer_token(connection: HTTPConnection) -> str | None:
    """Return the bearer token that was shown, or ``None`` without exactly one."""
    values = connection.headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != "bearer":
        return None
    return token.strip() or None
