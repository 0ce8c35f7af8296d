"""The gateway of an installed chart, as a process under the chart's own RBAC."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml

from .gateway_process import GatewayProcess
from .installation import Installation, kubectl

AUDIENCE = "notifications-gateway"
"""Audience of the operator's tokens for the gateway."""


def installed_gateway(
    installation: Installation,
    directory: Path,
    settings: dict[str, str] | None = None,
    *,
    server: str | None = None,
) -> GatewayProcess:
    """Return the gateway of a release in a cluster without nodes; it is not started yet.

    It gets the rendered Deployment's environment, its Secret, and a token of its ServiceAccount;
    what the kubelet would mount is in files beside its log.

    Parameters
    ----------
    settings
        Settings that differ from the chart's, by variable; above all the database's, unless it
        shall be SQLite in the directory.
    server
        Address of the API server, if not the cluster's own: a proxy's.
    """
    name = f"{installation.release}-gateway"
    deployment = _get(installation, "deployment", name)
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    # The volumes are not there.
    given.pop("HOME")
    given.pop("NOTIFICATIONS_GATEWAY_DATABASE__URL", None)
    callers = directory / "callers.yaml"
    secret = _get(installation, "secret", f"{name}-tokens")
    callers.write_bytes(base64.b64decode(secret["data"]["callers.yaml"]))
    return GatewayProcess(
        directory=directory,
        environment={
            **given,
            "KUBECONFIG": str(_kubeconfig(installation, directory, name, server)),
            "NOTIFICATIONS_GATEWAY_CALLERS__FILE": str(callers),
            **(settings or {}),
        },
        namespace=given["NOTIFICATIONS_GATEWAY_NAMESPACE"],
    )


def operator_settings(
    installation: Installation, directory: Path, internal_port: int
) -> dict[str, str]:
    """Return how the operator's process reaches a gateway: by a token as the kubelet projects it.

    Parameters
    ----------
    directory
        Where the token is put.
    """
    file = directory / "operator-token"
    file.write_text(_token(installation, installation.account or "notifications", AUDIENCE))
    return {
        "NOTIFICATIONS_GATEWAY__URL": f"http://127.0.0.1:{internal_port}",
        "NOTIFICATIONS_GATEWAY__TOKEN_FILE": str(file),
    }


def _kubeconfig(
    installation: Installation, directory: Path, account: str, server: str | None
) -> Path:
    config = yaml.safe_load(installation.cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": _token(installation, account)}
    if server is not None:
        config["clusters"][0]["cluster"]["server"] = server
    path = directory / "gateway.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


def _token(installation: Installation, account: str, audience: str | None = None) -> str:
    return kubectl(
        installation.cluster.kubeconfig,
        *("create", "token", account, "--namespace", installation.namespace),
        *(("--audience", audience) if audience else ()),
        *("--duration", "6h"),
    ).stdout.strip()


def _get(installation: Installation, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        kubectl(
            installation.cluster.kubeconfig,
            *("get", kind, name, "--namespace", installation.namespace),
            *("--output", "json"),
        ).stdout
    )
    return found
