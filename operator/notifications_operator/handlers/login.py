"""How kopf's own watch logs in: by the same rule as our client."""

from __future__ import annotations

import os
from typing import Any

import kopf


def add_login(registry: kopf.OperatorRegistry) -> None:
    """Use ``$KUBECONFIG`` if it is set, else the pod's service account."""

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        if os.environ.get("KUBECONFIG"):
            return kopf.login_with_kubeconfig(**kwargs)
        return kopf.login_with_service_account(**kwargs)
