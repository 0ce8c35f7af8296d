"""Raw requests to the API server: one place for authentication, timeouts and errors."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from ..api.errors import (
    ConflictError,
    ExpiredError,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from ..proxies import environment_proxy
from ..telemetry import metrics
from .lines import LineTooLongError, read_lines
from .nesting import read_json

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT = 30.0
"""Seconds for one request, watches aside."""

WATCH_SECONDS = 300
"""Seconds after which the server ends a watch, so that a dead connection is noticed."""

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Asks for a list of which the objects' metadata alone are wanted (KEP-2334)."""

_ERRORS: Mapping[int, type[KubernetesError]] = {
    400: RejectedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    413: RejectedError,
    422: RejectedError,
}
_TOO_LARGE = ("request is too large", "message larger than max", "exceeds the maximum size")


class Transport:
    """Sends requests to one API server as JSON, without typed models.

    Typed models of the client library drop fields they do not know and fail on nulls (measured
    with 37.0.2), so only its connection and login are used.
    """

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls, *, bounded: bool = True) -> Transport:
        """Make a transport from ``$KUBECONFIG`` if it is set, else from the service account.

        Parameters
        ----------
        bounded
            Whether requests beyond a hundred at a time wait for a connection, without which
            as many are opened as are needed.
        """
        configuration = client.Configuration()
        if not bounded:
            # For aiohttp, which gets it as it is, that is no limit.
            configuration.connection_pool_maxsize = 0
        if os.environ.get("KUBECONFIG"):
            await config.load_kube_config(client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
        _settle_proxy(configuration)
        # As in `notifications_operator.tls`; the client makes its context by itself.
        configuration.disable_strict_ssl_verification = True
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the answer's JSON object.

        Raises
        ------
        KubernetesError
            One of its subclasses, by the answer's status.
        """
        response = await self._send(
            method,
            path,
            query,
            body=body,
            content_type=content_type,
            accept=accept,
            timeout=REQUEST_TIMEOUT,
        )
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"{method} {path}: {_describe(error)}") from error
        if response.status >= 300:
            raise _error(method, path, response.status, data)
        return _object(method, path, data)

    async def watch(
        self, path: str, query: Mapping[str, str], *, inactivity_timeout: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield watch events until the server ends the stream.

        Parameters
        ----------
        inactivity_timeout
            Seconds without any event, bookmarks included, after which the stream is taken for
            dead and ends as if the server had ended it.

        Raises
        ------
        ExpiredError
            If the resource version is too old, or an event larger than any object can be.
        KubernetesError
            For any other failure.
        """
        full = {**query, "watch": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        timeout = WATCH_SECONDS + REQUEST_TIMEOUT
        try:
            async with asyncio.timeout(inactivity_timeout):
                response = await self._send("GET", path, full, timeout=timeout)
        except TimeoutError:
            logger.info("a watch of %s was not answered; watching anew", path)
            return
        try:
            if response.status >= 300:
                raise _error("WATCH", path, response.status, await response.read())
            lines = read_lines(response.content)
            while True:
                try:
                    async with asyncio.timeout(inactivity_timeout):
                        line = await anext(lines, None)
                except TimeoutError:
                    logger.info("a watch of %s is silent; watching anew", path)
                    return
                if line is None:
                    return
                event = _object("WATCH", path, line)
                if not isinstance(event.get("object"), dict) or "type" not in event:
                    raise UnavailableError(f"WATCH {path}: brought no event: {line[:64]!r}")
                if event["type"] == "ERROR":
                    status = event["object"]
                    code = status.get("code", 500)
                    raise _error("WATCH", path, code, json.dumps(status).encode())
                yield event
        except LineTooLongError as error:
            raise ExpiredError(f"WATCH {path}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"WATCH {path}: {_describe(error)}") from error
        finally:
            response.close()

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        *,
        timeout: float,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> aiohttp.ClientResponse:
        verb, resource = "WATCH" if "watch" in (query or {}) else method, resource_of(path)
        try:
            _, url, headers, payload, _ = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Content-Type": content_type, "Accept": accept},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._api.call_api(
                method, url, header_params=headers, body=payload, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            metrics.count_request(verb, resource, None)
            raise UnavailableError(f"{method} {path}: {_describe(error)}") from error
        response: aiohttp.ClientResponse = answer.response
        metrics.count_request(verb, resource, response.status)
        return response


def _settle_proxy(configuration: client.Configuration) -> None:
    """Choose the proxy now: the kubeconfig's, else the environment's.

    Left to aiohttp's ``trust_env``, each request would look for it anew, and for a ``.netrc``
    file, in other threads; and an entry there for the API server would fail every request.
    """
    configuration.proxy = configuration.proxy or environment_proxy(configuration.host)
    configuration.client_session_kwargs = {"trust_env": False}


def resource_of(path: str) -> str:
    """Return the resource that a request's path is about, as RBAC names it.

    Examples
    --------
    >>> resource_of("/apis/events.k8s.io/v1/namespaces/default/events")
    'events'
    >>> resource_of("/apis/example.com/v1/namespaces/default/things/one/status")
    'things/status'
    """
    parts = path.strip("/").split("/")
    match parts:
        case ["api", _, *rest] | ["apis", _, _, *rest]:
            if rest[:1] == ["namespaces"] and len(rest) > 2:
                rest = rest[2:]
            return "/".join([*rest[:1], *rest[2:3]])
        case _:
            return parts[0]


def _object(method: str, path: str, data: bytes) -> dict[str, Any]:
    """Read a JSON object; a proxy that answers with something else is no API server."""
    try:
        answer = read_json(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise UnavailableError(f"{method} {path}: answered with no JSON object: {data[:64]!r}")
    return answer


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _error(method: str, path: str, status: int, data: bytes) -> KubernetesError:
    try:
        message = str(read_json(data).get("message", ""))
    except (ValueError, AttributeError):
        message = data[:256].decode(errors="replace")
    text = f"{method} {path}: {status} {message}"
    if status >= 500 and any(sign in message for sign in _TOO_LARGE):
        return RejectedError(text)
    return _ERRORS.get(status, UnavailableError)(text)
