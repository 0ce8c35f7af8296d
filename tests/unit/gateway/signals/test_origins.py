"""Pages of foreign origins may not connect."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from notifications_operator.gateway.errors import NotAllowedError
from notifications_operator.gateway.signals.origins import Origins


def asking(*origins: str, host: str = "gateway.example.com", scheme: str = "ws") -> HTTPConnection:
    headers = [(b"host", host.encode()), *((b"origin", origin.encode()) for origin in origins)]
    return HTTPConnection(
        {
            "type": "websocket",
            "scheme": scheme,
            "path": "/api/signals",
            "query_string": b"",
            "headers": headers,
            "server": ("10.0.0.1", 8080),
        }
    )


ORIGINS = Origins("https://portal.example.com", "http://localhost:3000")


@pytest.mark.parametrize(
    "connection",
    [
        asking(),
        asking("https://gateway.example.com"),
        asking("http://gateway.example.com"),
        asking("HTTPS://Gateway.Example.com"),
        asking("https://gateway.example.com", host="GATEWAY.example.com"),
        asking("https://gateway.example.com", host="gateway.example.com:443"),
        asking("http://gateway.example.com:8080", host="gateway.example.com:8080"),
        asking("https://gateway.example.com", scheme="wss"),
        asking("https://portal.example.com"),
        asking("https://portal.example.com:443"),
        asking("http://localhost:3000"),
        asking("http://[::1]:8080", host="[::1]:8080"),
    ],
)
def test_allowed(connection: HTTPConnection) -> None:
    ORIGINS.check(connection)


@pytest.mark.parametrize(
    "connection",
    [
        asking("https://evil.example.com"),
        asking("https://gateway.example.com.evil.com"),
        asking("https://evil.com/gateway.example.com"),
        asking("https://gateway.example.com:8443"),
        asking("http://portal.example.com"),
        asking("http://localhost"),
        # Who can alter what comes without TLS must not speak for the page that came with it.
        asking("http://gateway.example.com", scheme="wss"),
        asking("null"),
        asking(""),
        asking("file://"),
        asking("chrome-extension://gateway.example.com"),
        asking("https://[::1"),
        asking("https://gateway.example.com:port"),
        asking("https://portal.example.com", "https://gateway.example.com"),
        asking("https://gateway.example.com, https://evil.com"),
        asking("https://gateway.example.com", host=""),
        asking("https://gateway.example.com", host="[::1"),
    ],
)
def test_refused(connection: HTTPConnection) -> None:
    with pytest.raises(NotAllowedError):
        ORIGINS.check(connection)


@pytest.mark.parametrize("origin", ["portal.example.com", "https://portal.example.com/", "*", ""])
def test_what_is_no_origin_cannot_be_allowed(origin: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        Origins(origin)
