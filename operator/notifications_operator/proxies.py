"""Proxies that the environment names."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a server (``HTTPS_PROXY``, ``NO_PROXY``).

    As kubectl does, but without address ranges in ``NO_PROXY``.
    """
    server = urlsplit(url)
    if not server.hostname or proxy_bypass(server.hostname):
        return None
    proxy = getproxies().get(server.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
