"""How kopf's own watch logs in: by the same rule as our client."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import kopf

from ..kube.transport import environment_proxy


def add_login(registry: kopf.OperatorRegistry) -> None:
    """Use ``$KUBECONFIG`` if it is set, else the pod's service account.

    The API server's address is taken from the pod's environment, as all clients do: kopf's own
    way needs the cluster's DNS to work. So is the proxy, unless the kubeconfig names one.
    """

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        if os.environ.get("KUBECONFIG"):
            return _proxied(kopf.login_with_kubeconfig(**kwargs))
        account = kopf.login_with_service_account(**kwargs)
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
        if account is None or not host or not port:
            return _proxied(account)
        address = f"[{host}]" if ":" in host else host
        return _proxied(dataclasses.replace(account, server=f"https://{address}:{port}"))


def _proxied(info: kopf.ConnectionInfo | None) -> kopf.ConnectionInfo | None:
    if info is None or info.proxy_url:
        return info
    return dataclasses.replace(info, proxy_url=environment_proxy(info.server))
