"""Processes of this machine in the place of pods, where none can run.

Each gets the environment of the chart's Deployment and a token of its ServiceAccount, so its
settings and its rights are exactly those of the pod that it stands in for.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from hack.demo import services
from hack.demo.commands import Commands
from hack.demo.place import NAMESPACE, RELEASE, Place

_TOKEN_LIFE: Final = "24h"


def restart(
    place: Place, commands: Commands, name: str, deployment: str, settings: Mapping[str, str]
) -> None:
    """Start a process as a Deployment describes its pod, in place of one that runs.

    Parameters
    ----------
    name
        Of the process.
    settings
        Environment that differs from the pod's.

    Raises
    ------
    hack.demo.errors.DemoError
        If the cluster does not give what is needed.
    """
    services.stop(place.directory, name)
    pod = read(commands, "deployment", deployment)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    token = make_token(commands, pod["serviceAccountName"])
    kubeconfig = place.keep_secret(f"{name}.kubeconfig", _kubeconfig(commands, token))
    services.start(
        place.directory,
        name,
        [sys.executable, "-m", "notifications_operator", *container["args"]],
        _environment(container["env"]) | {"KUBECONFIG": str(kubeconfig)} | dict(settings),
    )


def make_token(commands: Commands, account: str, *, audience: str | None = None) -> str:
    """Return a token of a ServiceAccount, as the kubelet would project it."""
    options = () if audience is None else ("--audience", audience)
    return commands.run(
        *("kubectl", "create", "token", account, *options),
        *("--namespace", NAMESPACE, "--duration", _TOKEN_LIFE),
    ).strip()


def read(commands: Commands, kind: str, name: str) -> Any:
    """Return an object of the operator's namespace."""
    return json.loads(
        commands.run("kubectl", "get", kind, name, "-n", NAMESPACE, "-o", "json", shown=False)
    )


def _environment(entries: list[dict[str, Any]]) -> dict[str, str]:
    """Return a container's environment; fields are filled in as the kubelet would."""
    fields = {
        "metadata.namespace": NAMESPACE,
        "metadata.name": f"{RELEASE}-demo",
        "metadata.uid": f"{RELEASE}-demo",
    }
    return {
        entry["name"]: fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        if "valueFrom" in entry
        else entry.get("value", "")
        for entry in entries
    }


def _kubeconfig(commands: Commands, token: str) -> str:
    """Return a kubeconfig that leads to the same cluster with a ServiceAccount's rights."""
    view = json.loads(
        commands.run(
            "kubectl", "config", "view", "--minify", "--flatten", "-o", "json", shown=False
        )
    )
    cluster = view["clusters"][0]["cluster"]
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": RELEASE,
            "clusters": [{"name": RELEASE, "cluster": cluster}],
            "users": [{"name": RELEASE, "user": {"token": token}}],
            "contexts": [{"name": RELEASE, "context": {"cluster": RELEASE, "user": RELEASE}}],
        }
    )
