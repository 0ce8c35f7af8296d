"""Requests to a token endpoint (RFC 6749 section 3.2)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp

from ....proxies import environment_proxy
from ..redaction import Redactor
from .answers import Answer, no_answer, too_large

REQUEST_SECONDS = 30.0
"""Seconds for one request, from the look-up of the name to the last octet."""

ANSWER_LIMIT = 128 * 1024
"""Most octets of an answer that are read; tokens have a few thousand."""

_CHUNK = 16 * 1024


class TokenEndpoint:
    """Posts forms, within bounds and never further than to its own URL.

    There is one request an hour or so, so no connection is kept.

    Parameters
    ----------
    url
        An https URL.
    tls_context
        Checks the server.
    redactor
        Takes secrets out of what goes wrong.
    """

    def __init__(self, url: str, tls_context: ssl.SSLContext, redactor: Redactor) -> None:
        self._url = url
        self._redactor = redactor
        self._tls_context = tls_context
        self._timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)

    @property
    def name(self) -> str:
        """Its name in messages: its host, and its port if that is not 443."""
        return urlsplit(self._url).netloc

    async def post(self, form: Mapping[str, str]) -> Answer:
        """Post a form; raises `DeliveryError` if there is no answer."""
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls_context),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            # A small compressed answer could be a huge one.
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        try:
            async with (
                session,
                session.post(
                    self._url,
                    data=form,
                    allow_redirects=False,
                    proxy=environment_proxy(self._url),
                ) as response,
            ):
                return Answer(
                    status=response.status,
                    content_type=response.content_type,
                    retry_after=response.headers.get("Retry-After"),
                    body=await self._body(response),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise no_answer(error, endpoint=self.name, redactor=self._redactor) from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise too_large(self.name, ANSWER_LIMIT)
        return bytes(body)
