"""Free TCP ports for the servers of a cluster."""

import random
import socket
from collections.abc import Collection

from hack.cluster.errors import ClusterError

FIRST, LAST = 20000, 29999
"""Below NodePorts and Linux's ephemeral range: no outgoing connection takes a port from here while
an API server is stopped that must come back on it."""


def free_ports(count: int, taken: Collection[int]) -> list[int]:
    """Return ports nobody listens on.

    Parameters
    ----------
    taken
        Ports to leave out: promised to clusters that may not listen on them yet.

    Raises
    ------
    ClusterError
        If there are not enough.
    """
    candidates = [port for port in range(FIRST, LAST + 1) if port not in taken]
    random.shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    if len(found) < count:
        raise ClusterError(f"no {count} free TCP ports between {FIRST} and {LAST}")
    return found


def is_free(port: int) -> bool:
    """Say whether nobody listens on a port."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
