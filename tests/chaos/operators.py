"""The operator's process in a campaign: started, struck, watched for leaks, and stopped."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.support.installation import Installation
from tests.support.proxy import APIProxy

from .leaks import Holdings, holdings, left_over
from .observed import METRIC
from .servers import MailServer

SPARE_FILES = 8
"""Open files that an operator at rest may have more than at its start."""

SPARE_CONNECTIONS = 8
"""Connections to the API server that it may have more: some are kept for the next request."""

SPARE_TASKS = 6
"""Tasks that an operator at rest may have more than at its start: requests of ours, for example."""

SETTLE_SECONDS = 60.0
"""Longest time that a ready operator takes until it watches and is at rest."""

WATCHED = frozenset({"notifications", "notificationprocessors", "configmaps"})
"""Resources that an operator at rest watches, as their paths end."""

KOPF_WORKER = "worker"
"""Coroutine of kopf that works on one object, and waits a second for its next event."""

OBSERVED = (sys.executable, "-m", "tests.chaos.observed", "run")
IMPATIENT = (sys.executable, "-m", "tests.chaos.impatient", "run")


@dataclass(kw_only=True)
class Operator:
    """One process of the operator, with a proxy of its own before the API server.

    Attributes
    ----------
    crashes
        Ends that nobody asked for, and what was wrong with those that somebody did.
    leaks
        What it still had when nothing was left to do.
    spare_connections
        See `SPARE_CONNECTIONS`.
    """

    installation: Installation
    proxy: APIProxy
    servers: Sequence[MailServer]
    spare_connections: int = SPARE_CONNECTIONS
    crashes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    _environment: dict[str, str] = field(default_factory=dict)
    _baseline: Holdings | None = None
    _baseline_tasks: Counter[str] = field(default_factory=Counter)

    async def start(self) -> None:
        """Start it for the first time and wait until it is ready."""
        prepare = self.installation.prepare
        self._environment = await asyncio.to_thread(prepare, server=self.proxy.url)
        self.launch()
        await asyncio.to_thread(self.installation.wait_ready)

    def launch(self) -> None:
        """Start it behind its proxy; it need not be ready."""
        self.installation.launch(self._environment)

    def strike(self, *, graceful: bool = False) -> None:
        """Kill it, or ask it to stop, now."""
        process = self.installation.process
        if process is not None:
            process.send_signal(signal.SIGTERM if graceful else signal.SIGKILL)

    def check_alive(self) -> None:
        """Note it if it has ended, and start it again as a kubelet would."""
        process = self.installation.process
        if process is not None and process.poll() is not None:
            self.crashes.append(f"exit status {process.returncode}: {self.installation.tail()}")
            self.launch()

    async def kill(self) -> None:
        """Kill it and wait for its end."""
        await asyncio.to_thread(self.installation.kill)

    async def stop(self, *, begun: bool = True) -> None:
        """Stop it as the kubelet does.

        Parameters
        ----------
        begun
            Whether it certainly runs by now; if not, it may not know yet how to stop in order.
        """
        try:
            status = await asyncio.to_thread(self.installation.stop)
        except subprocess.TimeoutExpired:
            self.crashes.append(f"not at SIGTERM: {self.installation.tail()}")
            await self.kill()
            return
        if status != 0 and (begun or status != -signal.SIGTERM):
            self.crashes.append(f"exit status {status} at SIGTERM: {self.installation.tail()}")

    async def metric(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        return await read_metric(self.installation.port, name)

    async def measure_baseline(self) -> None:
        """Note what the operator holds before there is work.

        It is ready before kopf watches anything: the tasks that watch begin about half a second
        later, and kopf's workers for what was there at the start end a second after that.

        Raises
        ------
        TimeoutError
            If it does not come so far.
        """
        assert self.installation.process is not None
        async with asyncio.timeout(SETTLE_SECONDS):
            while self._unwatched() or (await self._tasks())[KOPF_WORKER]:
                await asyncio.sleep(0.1)
        self._baseline = holdings(self.installation.process.pid)
        self._baseline_tasks = await self._tasks()

    def _unwatched(self) -> frozenset[str]:
        """Return the resources that it does not watch yet."""
        return WATCHED - {watch.request.path.rpartition("/")[2] for watch in self.proxy.watches}

    async def look_for_leaks(self) -> None:
        """Compare what the operator holds with what it held before there was work."""
        assert self.installation.process is not None and self._baseline is not None
        self.leaks += await left_over(
            partial(self._leaks, self.installation.process.pid, self._baseline)
        )

    async def _tasks(self) -> Counter[str]:
        """Return the tasks by their coroutine."""
        text = await asyncio.to_thread(_metrics, self.installation.port)
        found = re.findall(rf'^{METRIC}{{coroutine="(.*)"}} (\S+)$', text, re.MULTILINE)
        return Counter({name: int(float(count)) for name, count in found})

    async def _leaks(self, pid: int, baseline: Holdings) -> list[str]:
        now = await asyncio.to_thread(holdings, pid)
        ports = {server.peer.port: server for server in self.servers}
        mail = sum(now.connections[port] for port in ports)
        kept, kept_before = (found.connections[self.proxy.port] for found in (now, baseline))
        files, files_before = now.files - mail - kept, baseline.files - kept_before
        tasks, tasks_before = await self._tasks(), self._baseline_tasks
        checks = {
            f"{files} files, at its start {files_before}; {now.connections}": (
                files > files_before + SPARE_FILES
            ),
            f"{kept} API connections, at its start {kept_before}": (
                kept > kept_before + self.spare_connections
            ),
            f"{tasks.total()} tasks, at its start {tasks_before.total()}; {tasks - tasks_before}": (
                tasks.total() > tasks_before.total() + SPARE_TASKS
            ),
            f"{now.threads} threads, at its start {baseline.threads}": (
                now.threads > baseline.threads + SPARE_FILES
            ),
        }
        for port, server in ports.items():
            count = now.connections[port]
            checks[f"{count} connections of {server.processor}"] = count > server.concurrency
        for gauge in ("notifications_unfinished", "notifications_processor_waiting"):
            value = await self.metric(gauge)
            checks[f"{gauge} {value:.0f}"] = value > 0
        return [text for text, broken in checks.items() if broken]


async def read_metric(port: int, name: str) -> float:
    """Return the sum of the samples of a metric that a process shows at a port."""
    text = await asyncio.to_thread(_metrics, port)
    found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text: str = answer.read().decode()
        return text
