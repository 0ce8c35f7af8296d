"""The chart in the demo's cluster, and what it needs there."""

import ipaddress
import os
from dataclasses import dataclass
from typing import Final

from hack.cluster import Cluster, ClusterError, Source, clusters, tools
from hack.cluster.controlplane import SERVICE_CIDR
from hack.demo import gateway, local_operator, values
from hack.demo.access import Access
from hack.demo.commands import Commands
from hack.demo.errors import DemoError
from hack.demo.mail_catcher import MailCatcher
from hack.demo.place import (
    CHART,
    EXAMPLES,
    NAMESPACE,
    NAMESPACES,
    RELEASE,
    TEAM_NAMESPACE,
    Place,
)
from hack.demo.screen import Screen
from hack.image.layout import REPOSITORY

IMAGE: Final = REPOSITORY / "dist" / "image.tar"

_GATEWAY_ADDRESS: Final = str(ipaddress.ip_network(SERVICE_CIDR)[80])
"""Below those that Kubernetes gives out by itself (KEP-3070)."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the chart is told of this machine."""

    catcher: MailCatcher
    access: Access
    issuer: str


def commands_for(cluster: Cluster, screen: Screen) -> Commands:
    """Return a shell for a cluster."""
    programs = tools()
    direct = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    return Commands(
        screen=screen,
        environment={
            "KUBECONFIG": str(cluster.kubeconfig),
            "no_proxy": f"{direct},127.0.0.1".lstrip(","),
        },
        programs={"kubectl": programs.kubectl, "helm": programs.helm},
    )


def prepare_namespaces(catcher: MailCatcher, commands: Commands) -> None:
    """Have in the cluster what the chart does not bring: people, and whom to trust."""
    with commands.screen.step("the catalog of people, and the mail server's authority"):
        for namespace in (NAMESPACE, TEAM_NAMESPACE):
            _apply_created(commands, "namespace", namespace)
        _apply_created(
            commands,
            *("secret", "generic", values.AUTHORITY_SECRET, "--namespace", NAMESPACE),
            f"--from-file={values.AUTHORITY_KEY}={catcher.authority}",
        )
        commands.run("kubectl", "apply", "-f", EXAMPLES / "catalog.yaml")


def install(
    place: Place,
    surroundings: Surroundings,
    cluster: Cluster,
    commands: Commands,
    *,
    with_pods: bool,
) -> None:
    """Install the chart or bring it up to date, and wait until everything in it is ready."""
    access = surroundings.access
    with commands.screen.step("chart installed"):
        values.write(
            place.values,
            surroundings.catcher,
            access,
            surroundings.issuer,
            image=IMAGE if with_pods else None,
            # A cluster of our own has no DNS.
            gateway_address=_GATEWAY_ADDRESS if cluster.source is Source.LOCAL else None,
        )
        wait = ("--wait", "--timeout=2m") if with_pods else ()
        commands.run(
            *("helm", "upgrade", "--install", RELEASE),
            CHART,
            f"--namespace={NAMESPACE}",
            f"--values={(EXAMPLES / 'values.yaml').relative_to(REPOSITORY)}",
            f"--values={place.values}",
            *wait,
        )
    if with_pods:
        with commands.screen.step(f"gateway at {access.url}"):
            gateway.forward(place, access, commands)
    else:
        with commands.screen.step(f"gateway at {access.url}, with its ServiceAccount of the chart"):
            internal_url = gateway.start(place, access, commands)
        with commands.screen.step("operator started, with its own"):
            local_operator.restart(place, commands, internal_url)
    with commands.screen.step("logged in to the mail server, and known to the gateway"):
        commands.run(
            *("kubectl", "wait", "notificationprocessor/email", "notificationprocessor/inbox"),
            *("--namespace", NAMESPACE, "--for=condition=Ready", "--timeout=60s"),
        )


def check_existing(cluster: Cluster, place: Place, commands: Commands) -> None:
    """Make sure that nothing of the user's is replaced in a cluster of theirs.

    Raises
    ------
    DemoError
        If one of the namespaces is there and not this demo's.
    """
    if cluster.source is not Source.EXISTING or place.values.exists():
        return
    options = ("--ignore-not-found", "--output=name")
    if found := commands.run("kubectl", "get", "namespace", *NAMESPACES, *options, shown=False):
        names = ", ".join(found.replace("namespace/", "").split())
        raise DemoError(
            f"{names}: in the cluster of KUBECONFIG={cluster.kubeconfig} already, and the demo "
            "would replace what is in there. Unset KUBECONFIG to get a new cluster."
        )


def uninstall_from_existing(place: Place, screen: Screen) -> None:
    """Take out of a cluster of the user's what the demo put into it; the CRDs stay."""
    try:
        cluster = clusters.find(place.name)
    except ClusterError:
        return
    if cluster.source is not Source.EXISTING or not place.values.exists():
        return
    commands = commands_for(cluster, screen)
    try:
        commands.run("helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found")
        commands.run("kubectl", "delete", "namespace", *NAMESPACES, "--ignore-not-found")
    except DemoError as error:
        screen.note(f"  What is left in the cluster of KUBECONFIG={cluster.kubeconfig}: {error}")


def _apply_created(commands: Commands, *what: str) -> None:
    """Create an object, or bring the one that is there up to date."""
    commands.show("kubectl", "create", *what)
    document = commands.run(
        "kubectl", "create", *what, "--dry-run=client", "-o", "yaml", shown=False
    )
    commands.run("kubectl", "apply", "-f", "-", text=document, shown=False)
