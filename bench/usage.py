"""What a process uses, by the kernel's account (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME = 11, 12
"""Fields 14 and 15 of stat, counted from 0 behind the name, which may hold blanks."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one process uses now.

    Attributes
    ----------
    cpu
        Seconds of CPU since it started, of all its threads.
    resident, peak
        Bytes of memory now, and the most there were.
    files, sockets
        Open file descriptors, and how many of them are sockets.
    """

    cpu: float
    resident: int
    peak: int
    files: int
    sockets: int


def usage(pid: int) -> Usage:
    """Return what a process uses."""
    process = Path("/proc") / str(pid)
    stat = (process / "stat").read_text().rpartition(")")[2].split()
    memory = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    descriptors = _descriptors(process / "fd")
    return Usage(
        cpu=(int(stat[_UTIME]) + int(stat[_STIME])) / _TICKS,
        resident=_bytes(memory["VmRSS"]),
        peak=_bytes(memory["VmHWM"]),
        files=len(descriptors),
        sockets=sum(target.startswith("socket:") for target in descriptors),
    )


def _bytes(text: str) -> int:
    amount, _unit = text.split()
    return int(amount) * 1024


def _descriptors(directory: Path) -> list[str]:
    targets = []
    for link in directory.iterdir():
        try:
            targets.append(str(link.readlink()))
        except FileNotFoundError:
            continue  # Closed while we looked.
    return targets
