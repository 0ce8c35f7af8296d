"""Which pages may open a socket: a browser lets any page try, and sends cookies along."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from ..errors import NotAllowedError

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """The gateway's own origin, which is the host that was asked, and others.

    Parameters
    ----------
    allowed
        Other origins, as ``https://portal.example.com``.

    Raises
    ------
    ValueError
        If one of them is none.
    """

    def __init__(self, *allowed: str) -> None:
        self._allowed = frozenset(_parse(origin) for origin in allowed)

    def check(self, connection: HTTPConnection) -> None:
        """Refuse a page of another origin; who sends none is no browser (RFC 6455 section 10.2).

        Raises
        ------
        NotAllowedError
            If the page may not.
        """
        given = connection.headers.getlist("origin")
        if not given:
            return
        try:
            (text,) = given
            origin = _parse(text)
        except ValueError:
            raise NotAllowedError("The Origin is none") from None
        if origin not in self._allowed and not _is_own(origin, connection):
            raise NotAllowedError("Pages of this Origin are not allowed here")


def _parse(text: str) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    parts = urlsplit(text.lower())
    default = _DEFAULT_PORTS.get(parts.scheme)
    if default is None or not parts.hostname or text.lower() != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"no origin: {text!r}")
    return parts.scheme, parts.hostname, parts.port or default


def _is_own(origin: tuple[str, str, int], connection: HTTPConnection) -> bool:
    """Tell whether the page came from the host that is asked now.

    TLS may end before the gateway, so a page may be of ``https`` where the gateway sees none; the
    other way round it is another origin.
    """
    scheme, _, _ = origin
    if connection.scope["scheme"] in {"https", "wss"} and scheme != "https":
        return False
    try:
        return origin == _parse(f"{scheme}://{connection.headers.get('host', '')}")
    except ValueError:
        return False
