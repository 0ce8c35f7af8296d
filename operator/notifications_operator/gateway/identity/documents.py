"""Reads JSON documents of issuers, which are trusted to name keys and not to behave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from ...proxies import environment_proxy
from ...tls import client_context

MAX_DOCUMENT_BYTES: Final = 256 * 1024
"""Most bytes that are read of one document; the JWKS of large issuers have about 10 KiB."""

MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CHUNK: Final = 16 * 1024


class DocumentError(Exception):
    """A document that cannot be had; the message says which and why.

    Attributes
    ----------
    status
        The answer's status where that is the reason.
    """

    def __init__(self, url: str, reason: str, *, status: int | None = None) -> None:
        super().__init__(f"{url}: {reason}")
        self.status = status


def make_session() -> aiohttp.ClientSession:
    """Return the HTTP client for issuers; the caller closes it.

    It keeps no cookies, and unpacks nothing: a small compressed answer could be a huge one.
    Certificates are checked against the system's authorities (``SSL_CERT_FILE`` names others).
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=client_context()),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )


class DocumentReader:
    """Reads JSON objects over HTTP within bounds, through the environment's proxy if there is one.

    Parameters
    ----------
    session
        As `make_session` makes it.
    allow_http
        Whether URLs may be without TLS.
    timeout
        Most seconds for one document, redirects included.
    """

    def __init__(self, session: aiohttp.ClientSession, *, allow_http: bool, timeout: float) -> None:
        self._session = session
        self._beginnings = ("https://", "http://") if allow_http else ("https://",)
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the object at a URL; redirects are followed on the same origin only.

        Raises
        ------
        DocumentError
            If there is none, or it is too large, too late or no JSON object.
        """
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._request("GET", url, headers=headers)
            if isinstance(answer, dict):
                return answer
            url = _redirected(url, answer)
        raise DocumentError(url, f"there were more than {MAX_REDIRECTS} redirects")

    async def post_form(
        self, url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Post a form and return the object that answers it; never redirected.

        Raises
        ------
        DocumentError
            As `get` does. An OAuth error (RFC 6749 section 5.2) is the reason.
        """
        answer = await self._request("POST", url, form=form, headers=headers)
        if isinstance(answer, dict):
            return answer
        raise DocumentError(url, "it answered with a redirect")

    async def _request(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any] | str:
        """Return the object, or where a redirect leads."""
        if not url.lower().startswith(self._beginnings):
            raise DocumentError(url, "it must be an https URL")
        try:
            async with self._session.request(
                method,
                url,
                data=form,
                headers=headers,
                proxy=environment_proxy(url),
                allow_redirects=False,
                timeout=self._timeout,
            ) as response:
                if response.status in _REDIRECTS:
                    return response.headers.get("Location", "")
                body = await _bounded_body(url, response)
                status = response.status
        except TimeoutError as error:
            raise DocumentError(url, f"no answer within {self._timeout.total:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DocumentError(url, f"{type(error).__name__}: {error}") from error
        if status != HTTPStatus.OK:
            raise DocumentError(url, f"it answered {status}{_oauth_error(body)}", status=status)
        return _json_object(url, body)


async def _bounded_body(url: str, response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise DocumentError(url, "it answered with a compressed body, which was not asked for")
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_DOCUMENT_BYTES:
            raise DocumentError(url, f"it has more than {MAX_DOCUMENT_BYTES} bytes")
    return bytes(body)


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        same = _origin(target) == _origin(url)
    except ValueError:
        same = False
    if not same:
        raise DocumentError(url, "it redirects to another host")
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _json_object(url: str, body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DocumentError(url, "it is no JSON") from error
    if not isinstance(value, dict):
        raise DocumentError(url, "it is no JSON object")
    return value


def _oauth_error(body: bytes) -> str:
    """Return the code of an OAuth error, if the body is one."""
    try:
        code = json.loads(body)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""
    if not isinstance(code, str) or not code.isascii() or not code.isprintable():
        return ""
    return f" ({code[:64]})"
