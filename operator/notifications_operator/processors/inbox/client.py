"""Requests to the gateway's internal API, as the operator's ServiceAccount."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from ...api.reasons import Reason
from ...tls import client_context
from ..base import GatewayAddress
from ..errors import DeliveryError, Scope
from .answers import no_answer, refusal

API_PATH = "/internal/v1"
"""Where the internal API is; another version would be another path."""

REQUEST_SECONDS = 30.0
"""Seconds for one request."""

ANSWER_LIMIT = 4 * 1024 * 1024
"""Most octets of an answer that are read."""

KEEPALIVE_SECONDS = 2.0
"""Seconds for which an idle connection is kept: less than servers do (uvicorn: 5)."""

TOKEN_LIMIT = 16 * 1024
"""Most octets of the file that are taken for a token."""


class GatewayClient:
    """Asks the gateway, and turns whatever goes wrong into a `DeliveryError`.

    Everything that it is used for may be asked twice, so a request on a kept connection that the
    other side closed meanwhile is simply repeated.

    Parameters
    ----------
    address
        Where the gateway is, and the file with the token.
    connections
        Most connections at a time.
    timeout
        Seconds for one request.
    """

    def __init__(
        self, address: GatewayAddress, *, connections: int, timeout: float = REQUEST_SECONDS
    ) -> None:
        self._base = address.url.rstrip("/") + API_PATH
        self._token_file = Path(address.token_file)
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str) -> Mapping[str, Any]:
        """Return the JSON object at a path; raises `DeliveryError`."""
        return await self._request("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON object that answers another one; raises `DeliveryError`."""
        return await self._request("POST", path, json.dumps(body).encode())

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(self, method: str, path: str, data: bytes | None) -> Mapping[str, Any]:
        headers = {
            "Authorization": f"Bearer {await self._token()}",
            "Content-Type": "application/json",
        }
        try:
            try:
                status, retry_after, answer = await self._exchange(method, path, data, headers)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                status, retry_after, answer = await self._exchange(method, path, data, headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise no_answer(error) from error
        if status != 200:
            raise refusal(status, retry_after, answer)
        return _object(answer)

    async def _exchange(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, str | None, bytes]:
        # No redirects: the token is for this address alone.
        async with self._connected().request(
            method, self._base + path, data=data, headers=headers, allow_redirects=False
        ) as response:
            answer = bytearray()
            async for chunk in response.content.iter_chunked(64 * 1024):
                answer += chunk
                if len(answer) > ANSWER_LIMIT:
                    raise aiohttp.ClientPayloadError(f"answered with more than {ANSWER_LIMIT} B")
            return response.status, response.headers.get("Retry-After"), bytes(answer)

    def _connected(self) -> aiohttp.ClientSession:
        """Return the session; it belongs to the loop that runs now."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections,
                keepalive_timeout=KEEPALIVE_SECONDS,
                ssl=client_context(),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _token(self) -> str:
        """Read the token, which the kubelet renews in its place."""
        try:
            token = await asyncio.to_thread(_read_token, self._token_file)
        except (OSError, ValueError) as error:
            raise DeliveryError(
                Reason.INVALID_CONFIG,
                f"the token for the gateway cannot be read (gateway.token_file): {error}",
                scope=Scope.PROCESSOR,
                retryable=True,
            ) from error
        return token


def _read_token(file: Path) -> str:
    with file.open("rb") as opened:
        token = opened.read(TOKEN_LIMIT + 1).strip()
    if not token or len(token) > TOKEN_LIMIT or not token.isascii() or len(token.split()) != 1:
        raise ValueError(f"{file} holds no token")
    return token.decode()


def _object(answer: bytes) -> Mapping[str, Any]:
    """Read a JSON object; who answers with something else is no gateway."""
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DeliveryError(
            Reason.CONNECT_FAILED,
            "what answers is no gateway (no JSON object); is gateway.url its internal port?",
            scope=Scope.PROCESSOR,
            retryable=True,
        )
    return found
