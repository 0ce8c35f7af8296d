"""The gateway, reached on loopback: a pod's port brought here, or a process of this machine."""

import base64
from typing import Final

import httpx

from hack import web
from hack.cluster import ports, processes
from hack.demo import services, stand_ins
from hack.demo.access import Access
from hack.demo.commands import Commands
from hack.demo.place import GATEWAY, NAMESPACE, Place

_PROCESS: Final = "gateway"
_FORWARD: Final = "gateway-port-forward"
_READY_SECONDS: Final = 60


def forward(place: Place, access: Access, commands: Commands) -> None:
    """Bring the Service's port to this machine, and wait until the gateway answers.

    Raises
    ------
    hack.cluster.errors.ClusterError
        If it does not.
    """
    words = ("port-forward", "--namespace", NAMESPACE, f"service/{GATEWAY}", f"{access.port}:http")
    commands.show("kubectl", *words)
    argv = [str(commands.programs["kubectl"]), *words]
    services.start(place.directory, _FORWARD, argv, commands.environment)
    _wait(place, _FORWARD, access)


def start(place: Place, access: Access, commands: Commands) -> str:
    """Start the gateway as a process and wait until it answers; return its internal port's URL.

    Raises
    ------
    hack.demo.errors.DemoError
        If the cluster does not give what is needed.
    hack.cluster.errors.ClusterError
        If its page cannot be built, or it does not answer.
    """
    callers = stand_ins.read(commands, "secret", f"{GATEWAY}-tokens")["data"]["callers.yaml"]
    file = place.keep_secret("callers.yaml", base64.b64decode(callers).decode())
    [internal] = ports.free_ports(1, {access.port})
    settings = {
        "NOTIFICATIONS_GATEWAY_SERVER__HOST": "127.0.0.1",
        "NOTIFICATIONS_GATEWAY_SERVER__PORT": str(access.port),
        "NOTIFICATIONS_GATEWAY_SERVER__INTERNAL_PORT": str(internal),
        # No Service sends it anything any more once it is asked to end.
        "NOTIFICATIONS_GATEWAY_SERVER__SHUTDOWN_DELAY": "0",
        "NOTIFICATIONS_GATEWAY_DATABASE__URL": f"sqlite:///{place.inbox}",
        "NOTIFICATIONS_GATEWAY_CALLERS__FILE": str(file),
        "NOTIFICATIONS_GATEWAY_PAGE__DIRECTORY": str(web.build()),
    }
    stand_ins.restart(place, commands, _PROCESS, GATEWAY, settings)
    _wait(place, _PROCESS, access)
    return f"http://127.0.0.1:{internal}"


def stop(place: Place) -> None:
    """Stop what was started here; a pod goes on running."""
    for name in (_FORWARD, _PROCESS):
        services.stop(place.directory, name)


def _wait(place: Place, name: str, access: Access) -> None:
    process = processes.find(place.directory, name)
    processes.wait_until(
        lambda: _answers(access.url),
        _READY_SECONDS,
        f"the gateway's page at {access.url}",
        watch=[process] if process else [],
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
