"""The limit of SMTP on this machine: Postfix's own load generator and sink, both in C."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path

from hack.cluster import cache
from tests.support.installation import free_port

SESSIONS = 8
"""Connections that the load generator keeps, as many as the operator's."""

MESSAGE_BYTES = 2048
"""Octets of its messages, about those of a rendered notification."""


class PostfixError(Exception):
    """Postfix's programs cannot be had, or one failed."""


@dataclass(frozen=True, kw_only=True)
class Postfix:
    """Debian's `postfix` package unpacked, not installed: no daemon, no configuration."""

    directory: Path

    def sink(self, log: Path, *, dump: Path | None = None) -> Sink:
        """Start `smtp-sink`, which accepts and forgets every message, and counts them.

        Parameters
        ----------
        dump
            File to append every message to, instead of forgetting it.
        """
        port = free_port()
        # It insists on a user to become, if it is root.
        user = ["-u", "root"] if os.geteuid() == 0 else []
        kept = ["-D", str(dump)] if dump is not None else []
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self._program("smtp-sink"), "-c", *user, *kept, f"127.0.0.1:{port}", "1000"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Sink(process=process, port=port, counters=log)

    def source(self, port: int, messages: int) -> float:
        """Send messages with `smtp-source` over kept connections, and return how many a second."""
        start = time.perf_counter()
        result = subprocess.run(
            [
                *(self._program("smtp-source"), "-d", "-s", str(SESSIONS)),
                *("-l", str(MESSAGE_BYTES), "-m", str(messages)),
                *("-f", "sender@example.com", "-t", "recipient@example.com", f"127.0.0.1:{port}"),
            ],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if result.returncode != 0:
            raise PostfixError(f"smtp-source failed: {result.stderr}")
        return messages / (time.perf_counter() - start)

    def _program(self, name: str) -> str:
        return str(self.directory / "usr" / "sbin" / name)

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"LD_LIBRARY_PATH": str(self.directory / "usr" / "lib" / "postfix")}


@dataclass(frozen=True, kw_only=True)
class Sink:
    """A running `smtp-sink`."""

    process: subprocess.Popen[bytes]
    port: int
    counters: Path

    def messages(self) -> int:
        """Return how many messages were accepted since it started."""
        return accepted(self.counters)

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


@contextmanager
def running_sink(postfix: Postfix, directory: Path, *, dump: Path | None = None) -> Iterator[Sink]:
    """Run a sink that can be connected to."""
    name = dump.name if dump is not None else "smtp-sink"
    sink = postfix.sink(directory / f"{name}.counters", dump=dump)
    try:
        end = time.monotonic() + 10
        while not _listens(sink.port):
            if sink.process.poll() is not None or time.monotonic() > end:
                text = sink.counters.read_text(errors="replace")
                raise PostfixError(f"smtp-sink did not start: {text}")
            time.sleep(0.02)
        yield sink
    finally:
        sink.close()


@remembered
def postfix() -> Postfix:
    """Return Postfix's programs, unpacked in the cache under the version of the package.

    Raises
    ------
    PostfixError
        If this is no Debian, or its package cannot be downloaded.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise PostfixError(
            "the benchmark compares with Postfix's smtp-source, from Debian's package: "
            "it needs apt-get and dpkg-deb"
        )
    version = _candidate()
    return Postfix(directory=cache.entry(f"packages/postfix-{version}", _unpack))


def _candidate() -> str:
    """Return the version that apt would install."""
    for line in _run(["apt-cache", "policy", "postfix"]).splitlines():
        name, _, version = line.strip().partition(": ")
        if name == "Candidate" and version != "(none)":
            return version.replace(":", "_")
    raise PostfixError("apt knows no package postfix; as root: apt-get update")


def _unpack(directory: Path) -> None:
    _run(["apt-get", "--quiet", "download", "postfix"], within=directory)
    (archive,) = directory.glob("postfix_*.deb")
    _run(["dpkg-deb", "--extract", str(archive), str(directory)])
    archive.unlink()


def _run(command: list[str], *, within: Path | None = None) -> str:
    result = subprocess.run(command, cwd=within, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise PostfixError(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def accepted(counters: Path) -> int:
    """Return how many messages a sink's counters say, such as ``sess=1 quit=0 mesg=17``.

    It ends each with a carriage return, as on a terminal.
    """
    with counters.open("rb") as output:
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - 256))
        parts = [part for part in output.read().split(b"\r")[:-1] if b"mesg=" in part]
    return int(parts[-1].rpartition(b"mesg=")[2]) if parts else 0


def _listens(port: int) -> bool:
    # By the kernel's table, so that the sink counts no session of ours.
    wanted = f"0100007F:{port:04X}"
    with Path("/proc/net/tcp").open() as table:
        return any(line.split()[1] == wanted and line.split()[3] == "0A" for line in table)
