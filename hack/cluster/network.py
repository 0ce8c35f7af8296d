"""Addresses of a node: its own network namespace, joined to this machine by a pair of interfaces.

Nothing is forwarded: pods reach this machine and each other, and nothing beyond.
"""

import ipaddress
import json
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

from hack.cluster.errors import ClusterError

_LINKS = ipaddress.ip_network("10.213.0.0/16")
_PODS = ipaddress.ip_network("10.214.0.0/16")
_SUBNETS = 256


@dataclass(frozen=True)
class Network:
    """The addresses of the node with one subnet number."""

    number: int

    @property
    def interface(self) -> str:
        """The end of the link on this machine."""
        return f"ntf{self.number}"

    @property
    def host_address(self) -> str:
        """This machine, as the node and its pods see it."""
        return str(_LINKS[self.number * 256 + 1])

    @property
    def node_address(self) -> str:
        """The node, as this machine sees it."""
        return str(_LINKS[self.number * 256 + 2])

    @property
    def link_prefix(self) -> int:
        """Length of the prefix both addresses share."""
        return 30

    @property
    def pod_cidr(self) -> str:
        """The addresses of the pods."""
        return f"{_PODS[self.number * 256]}/24"


def free_subnet(taken: Collection[int]) -> int:
    """Return a subnet number that neither another cluster nor this machine's routes use.

    Raises
    ------
    ClusterError
        If every subnet is taken.
    """
    routed = _routed_networks()
    for number in range(_SUBNETS):
        if number in taken:
            continue
        link = ipaddress.ip_network(f"{_LINKS[number * 256]}/24")
        pods = ipaddress.ip_network(Network(number).pod_cidr)
        if not any(link.overlaps(other) or pods.overlaps(other) for other in routed):
            return number
    raise ClusterError(f"no free subnet in {_LINKS} and {_PODS} for another node")


def _routed_networks() -> list[ipaddress.IPv4Network]:
    output = subprocess.run(
        ["ip", "-json", "-4", "route", "show", "table", "main"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    destinations = [route["dst"] for route in json.loads(output or "[]")]
    return [ipaddress.IPv4Network(item) for item in destinations if item != "default"]
