"""What a process holds, as Linux says it (proc(5)): files, sockets, threads."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

REST_SECONDS = 120.0
"""Seconds in which a process without work comes to rest, also beside other work on two cores.

Unused connections are closed after 15 s to the API server and after 30 s to mail servers. What is
held for longer is a leak.
"""

_ESTABLISHED = "01"
"""State of a connection in ``/proc/net/tcp``: TCP_ESTABLISHED of ``net/tcp_states.h``."""


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """Open files and threads of a process at one moment.

    Attributes
    ----------
    connections
        Established connections by the port of the other side.
    """

    files: int
    threads: int
    connections: Counter[int] = field(default_factory=Counter)


def holdings(pid: int) -> Holdings:
    """Look at a process."""
    process = Path("/proc") / str(pid)
    targets = []
    for descriptor in (process / "fd").iterdir():
        try:
            targets.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    inodes = {
        target.removeprefix("socket:[").removesuffix("]")
        for target in targets
        if target.startswith("socket:[")
    }
    status = (process / "status").read_text()
    threads = next(line for line in status.splitlines() if line.startswith("Threads:"))
    return Holdings(
        files=len(targets),
        threads=int(threads.split()[1]),
        connections=_connections(process, inodes),
    )


async def left_over(look: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """Look until nothing is held that need not be; return what still is after a while."""
    end = time.monotonic() + REST_SECONDS
    while (problems := await look()) and time.monotonic() < end:
        await asyncio.sleep(0.2)
    return problems


def _connections(process: Path, inodes: set[str]) -> Counter[int]:
    found: Counter[int] = Counter()
    for table in ("tcp", "tcp6"):
        for line in (process / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _ESTABLISHED and fields[9] in inodes:
                found[int(fields[2].rpartition(":")[2], 16)] += 1
    return found
