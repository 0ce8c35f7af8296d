"""How kopf's own watch logs in: by the same rule as our client."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from typing import Any

import aiohttp
import kopf

from ..kube.bounded_response import BoundedResponse
from ..proxies import environment_proxy
from ..tls import without_strictness

logger = logging.getLogger(__name__)

PAUSES = (0.0, 0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each login after another; the first two are the start and a token's rotation."""

CALM_SECONDS = 60.0
"""After so many seconds without a login the pauses begin anew."""


class Login:
    """Gives kopf the credentials that there are, as often as it asks.

    kopf asks again when the API server answers 401, never takes credentials that it has seen
    refused, and ends when it is given no others. But a 401 need not mean that a token is bad: an
    API server says so too while it cannot look up the ServiceAccount. So every login differs from
    those before in its priority, which matters only between several.
    """

    def __init__(self) -> None:
        self._logins = 0
        self._tries = 0
        self._last = 0.0
        self._sessions: list[aiohttp.ClientSession] = []

    async def __call__(self, **kwargs: Any) -> kopf.AiohttpSession:
        """Return a logged-in session, after a pause if the last one was refused just now."""
        pause = self._next_pause(time.monotonic())
        if pause:
            logger.warning("the API server refuses the credentials; trying again in %g s", pause)
            await asyncio.sleep(pause)
        self._last = time.monotonic()
        self._logins += 1
        made = _session(credentials_of(**kwargs), priority=self._logins)
        self._sessions = [item for item in self._sessions if not item.closed]
        self._sessions.append(made.aiohttp_session)
        return made

    async def close(self) -> None:
        """Close the sessions; kopf closes only those that it has used."""
        for session in self._sessions:
            await session.close()

    def _next_pause(self, now: float) -> float:
        if now - self._last > CALM_SECONDS:
            self._tries = 0
        pause = PAUSES[min(self._tries, len(PAUSES) - 1)]
        self._tries += 1
        return pause


def add_login(registry: kopf.OperatorRegistry, login: Login) -> None:
    """Use ``$KUBECONFIG`` if it is set, else the pod's service account."""

    @kopf.on.login(registry=registry)
    async def credentials(**kwargs: Any) -> kopf.AiohttpSession:
        return await login(**kwargs)


def credentials_of(**kwargs: Any) -> kopf.ConnectionInfo:
    """Read the credentials.

    The API server's address is taken from the pod's environment, as all clients do: kopf's own
    way needs the cluster's DNS to work. So is the proxy, unless the kubeconfig names one.

    Raises
    ------
    kopf.TemporaryError
        If there are none just now.
    """
    if os.environ.get("KUBECONFIG"):
        account = kopf.login_with_kubeconfig(**kwargs)
    else:
        account = kopf.login_with_service_account(**kwargs)
    if account is None:
        raise kopf.TemporaryError("there are no credentials for the API server", delay=5)
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    if os.environ.get("KUBECONFIG") or not host or not port:
        return _proxied(account)
    address = f"[{host}]" if ":" in host else host
    return _proxied(dataclasses.replace(account, server=f"https://{address}:{port}"))


def _proxied(info: kopf.ConnectionInfo) -> kopf.ConnectionInfo:
    if info.proxy_url:
        return info
    return dataclasses.replace(info, proxy_url=environment_proxy(info.server))


def _session(info: kopf.ConnectionInfo, *, priority: int) -> kopf.AiohttpSession:
    """Return a session as kopf would make it, but for two things.

    Its answers can be parsed however deep they are nested, and it verifies the API server as all
    our clients do.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=without_strictness(info.as_ssl_context())),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        response_class=BoundedResponse,
    )
    return kopf.AiohttpSession(
        aiohttp_session=session,
        server=info.server,
        default_namespace=info.default_namespace,
        expiration=info.expiration,
        priority=priority,
    )
