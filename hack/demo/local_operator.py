"""The operator as a process of this machine, where no pods can run.

It gets the environment of the chart's Deployment and a token of the chart's ServiceAccount, so its
settings and its rights are exactly those of the pod that it stands in for.
"""

import json
import sys
from typing import Any, Final

from hack.demo import services
from hack.demo.commands import Commands
from hack.demo.place import NAMESPACE, RELEASE, Place

_NAME: Final = "operator"
_TOKEN_LIFE: Final = "24h"


def restart(place: Place, commands: Commands) -> None:
    """Start the operator as the cluster's Deployment describes it, in place of one that runs.

    Raises
    ------
    hack.demo.errors.DemoError
        If the cluster does not give what is needed.
    """
    stop(place)
    deployment = _read(commands, "deployment", RELEASE)
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    token = commands.run(
        *("kubectl", "create", "token", pod["serviceAccountName"]),
        *("--namespace", NAMESPACE, "--duration", _TOKEN_LIFE),
    ).strip()
    _write_kubeconfig(place, commands, token)
    environment = _environment(container["env"]) | {
        "KUBECONFIG": str(place.kubeconfig),
        # Other demos and tests are on this machine too.
        "NOTIFICATIONS_SERVER__HOST": "127.0.0.1",
        "NOTIFICATIONS_SERVER__PORT": "0",
    }
    argv = [sys.executable, "-m", "notifications_operator", *container["args"]]
    services.start(place.directory, _NAME, argv, environment)


def stop(place: Place) -> None:
    """Stop the operator, if it runs."""
    services.stop(place.directory, _NAME)


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


def _write_kubeconfig(place: Place, commands: Commands, token: str) -> None:
    """Write a kubeconfig that leads to the same cluster with a ServiceAccount's rights."""
    view = json.loads(
        commands.run(
            "kubectl", "config", "view", "--minify", "--flatten", "-o", "json", shown=False
        )
    )
    cluster = view["clusters"][0]["cluster"]
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": RELEASE,
        "clusters": [{"name": RELEASE, "cluster": cluster}],
        "users": [{"name": RELEASE, "user": {"token": token}}],
        "contexts": [{"name": RELEASE, "context": {"cluster": RELEASE, "user": RELEASE}}],
    }
    place.kubeconfig.touch(mode=0o600)
    place.kubeconfig.write_text(json.dumps(kubeconfig))


def _read(commands: Commands, kind: str, name: str) -> Any:
    return json.loads(
        commands.run("kubectl", "get", kind, name, "-n", NAMESPACE, "-o", "json", shown=False)
    )
