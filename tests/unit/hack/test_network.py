"""Addresses and ports of clusters side by side do not meet."""

import ipaddress
import json
import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hack.cluster import ports
from hack.cluster.controlplane import SERVICE_CIDR, SERVICE_IP
from hack.cluster.errors import ClusterError
from hack.cluster.network import Network, free_subnet

_NUMBERS = st.integers(min_value=0, max_value=255)


def _networks(number: int) -> list[ipaddress.IPv4Network]:
    subnet = Network(number)
    link = f"{subnet.host_address}/{subnet.link_prefix}"
    return [
        ipaddress.IPv4Network(link, strict=False),
        ipaddress.IPv4Network(subnet.pod_cidr),
    ]


@given(_NUMBERS, _NUMBERS)
def test_no_two_networks_overlap(one: int, other: int) -> None:
    networks = [network for number in {one, other} for network in _networks(number)]
    networks.append(ipaddress.IPv4Network(SERVICE_CIDR))

    for index, left in enumerate(networks):
        assert not any(left.overlaps(right) for right in networks[index + 1 :])


@given(_NUMBERS)
def test_both_ends_of_a_link_are_in_its_network(number: int) -> None:
    subnet = Network(number)
    hosts = list(_networks(number)[0].hosts())

    assert hosts == [
        ipaddress.IPv4Address(subnet.host_address),
        ipaddress.IPv4Address(subnet.node_address),
    ]
    assert len(subnet.interface) <= 15


def test_service_address_is_the_first_of_its_range() -> None:
    assert ipaddress.IPv4Address(SERVICE_IP) == ipaddress.IPv4Network(SERVICE_CIDR)[1]


def _with_routes(monkeypatch: pytest.MonkeyPatch, *destinations: str) -> None:
    routes = json.dumps([{"dst": destination} for destination in destinations])

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 0, stdout=routes)

    monkeypatch.setattr(subprocess, "run", run)


def test_subnets_of_others_and_of_the_machine_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _with_routes(monkeypatch, "default", "10.213.1.0/30", "10.214.2.0/24", "192.168.0.0/16")

    assert free_subnet({0}) == 3


def test_machine_that_routes_everything_has_no_subnet_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _with_routes(monkeypatch, "10.0.0.0/8")

    with pytest.raises(ClusterError, match="no free subnet"):
        free_subnet(set())


def test_ports_are_distinct_free_and_not_promised() -> None:
    promised = set(range(ports.FIRST, ports.LAST + 1)) - set(range(25000, 25040))

    found = ports.free_ports(3, promised)

    assert len(set(found)) == 3
    assert not promised.intersection(found)
    for port in found:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_port_somebody_listens_on_is_left_out() -> None:
    free = ports.free_ports(2, set())
    others = set(range(ports.FIRST, ports.LAST + 1)) - set(free)
    with socket.create_server(("127.0.0.1", free[0])):
        assert ports.free_ports(1, others) == [free[1]]

        with pytest.raises(ClusterError, match="no 2 free TCP ports"):
            ports.free_ports(2, others)
