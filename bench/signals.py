"""Many open sockets: what each takes, and how long a signal needs to reach all of them.

Needs no cluster: ``python -m bench.signals`` measures these figures alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bench.environment import Environment
from bench.figures import Figure, table
from bench.signals_wire import ClientSocket, user
from bench.usage import Usage, usage
from bench.waiting import BenchmarkError

SOCKETS: Final = 5000
_AT_ONCE: Final = 200
"""Sockets that are being opened at the same time."""
_REPEATS: Final = 20
_SECONDS: Final = 120.0
_SPARE_FILES: Final = 200
_PEER: Final = "bare asyncio transports"


async def signals(environment: Environment, sockets: int) -> list[Figure]:
    """Measure so many sockets at one process."""
    environment.log(f"{sockets} sockets")
    return await measure(sockets)


async def measure(sockets: int) -> list[Figure]:
    """Measure the gateway's signals beside a server that does nothing but write."""
    _allow_files(sockets + _SPARE_FILES)
    bare = await _measure("bare", sockets)
    gateway = await _measure("gateway", sockets)
    name = f"signals-{sockets}"
    rows = (
        ("connect", gateway.connect, bare.connect, "sockets/s"),
        ("memory", gateway.memory / 1024, bare.memory / 1024, "KiB per socket"),
        ("broadcast", gateway.everybody, bare.everybody, "ms until all have it, median"),
        ("broadcast-cpu", gateway.everybody_cpu, bare.everybody_cpu, "ms of CPU"),
        ("each", gateway.each, bare.each, "ms until each has its own, median"),
    )
    return [
        Figure(figure=f"{name}.{part}", value=value, unit=unit, peer=_PEER, peer_value=peer)
        for part, value, peer, unit in rows
    ]


@dataclass(frozen=True, kw_only=True)
class _Result:
    """What one server needs."""

    connect: float
    memory: float
    everybody: float
    everybody_cpu: float
    each: float


async def _measure(kind: str, sockets: int) -> _Result:
    async with _server(kind) as server:
        clients = _Clients()
        try:
            # What a first connection loads belongs to the process, and not to the socket.
            await clients.open(server.port, 1)
            before = server.usage
            start = time.perf_counter()
            await clients.open(server.port, sockets - 1)
            connect = (sockets - 1) / (time.perf_counter() - start)
            await server.command("everybody", clients)
            memory = (server.usage.resident - before.resident) / (sockets - 1)
            cpu = server.usage.cpu
            everybody = [await server.command("everybody", clients) for _ in range(_REPEATS)]
            cpu = (server.usage.cpu - cpu) / _REPEATS
            each = [await server.command("each", clients) for _ in range(_REPEATS)]
        finally:
            clients.close()
    return _Result(
        connect=connect,
        memory=memory,
        everybody=median(everybody) * 1000,
        everybody_cpu=cpu * 1000,
        each=median(each) * 1000,
    )


@dataclass
class _Clients:
    """All sockets of the benchmark's side."""

    sockets: list[ClientSocket] = field(default_factory=list)
    received: int = 0
    sent_at: float = 0.0
    problem: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, port: int, count: int) -> None:
        """Open more sockets, and wait until the server accepted them."""
        loop = asyncio.get_running_loop()
        places = asyncio.Semaphore(_AT_ONCE)

        async def connect(number: int) -> None:
            accepted = loop.create_future()

            def close(why: bytes) -> None:
                self._fail(why)
                if not accepted.done():
                    accepted.set_exception(BenchmarkError(f"a socket was refused: {why!r}"))

            def make() -> ClientSocket:
                return ClientSocket(
                    user(number),
                    opened=lambda: accepted.set_result(None),
                    received=self._receive,
                    closed=close,
                )

            async with places:
                _, client = await loop.create_connection(make, "127.0.0.1", port)
                self.sockets.append(client)
                await accepted

        first = len(self.sockets)
        async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as tasks:
            for number in range(first, first + count):
                tasks.create_task(connect(number))

    async def wait(self) -> float:
        """Wait until every socket got the signal; returns the seconds since it was published."""
        async with asyncio.timeout(_SECONDS):
            while self.received < len(self.sockets):
                await self._changed.wait()
                self._changed.clear()
                if self.problem:
                    raise BenchmarkError(f"a socket was closed: {self.problem}")
        return time.perf_counter() - self.sent_at

    def close(self) -> None:
        """Close all of them."""
        for client in self.sockets:
            client.close()

    def _receive(self, text: bytes) -> None:
        if not self.received:
            self.sent_at = json.loads(text)["message"]["at"]
        self.received += 1
        if self.received == len(self.sockets):
            self._changed.set()

    def _fail(self, why: bytes) -> None:
        self.problem = why.decode(errors="replace")
        self._changed.set()


@dataclass(frozen=True)
class _Server:
    """A running server."""

    process: Process
    port: int

    @property
    def usage(self) -> Usage:
        """What it uses now."""
        return usage(self.process.pid)

    async def command(self, name: str, clients: _Clients) -> float:
        """Let it send, and return the seconds until all clients got what is for them."""
        assert self.process.stdin is not None
        clients.received = 0
        self.process.stdin.write(f"{name}\n".encode())
        return await clients.wait()


@asynccontextmanager
async def _server(kind: str) -> AsyncIterator[_Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.signals_server", kind, stdin=PIPE, stdout=PIPE
    )
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise BenchmarkError("the server of signals did not start")
        yield _Server(process, int(line))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _allow_files(count: int) -> None:
    """Raise the limit of open files, for this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except ValueError as error:
        raise BenchmarkError(f"{count} open files are needed, {hard} allowed") from error


def main() -> int:
    """Measure and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.signals", description=__doc__)
    parser.add_argument(
        "sockets", type=int, nargs="?", default=SOCKETS, help="(default: %(default)s)"
    )
    try:
        figures = asyncio.run(measure(parser.parse_args().sockets))
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(figures), *(figure.to_json() for figure in figures), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
