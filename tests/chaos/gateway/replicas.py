"""A gateway's process in the campaign: started, struck, watched for leaks, and stopped."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from dataclasses import dataclass, field
from functools import partial

from tests.support.gateway_process import GatewayProcess
from tests.support.proxy import APIProxy

from ..leaks import Holdings, holdings, left_over
from ..operators import SPARE_CONNECTIONS, SPARE_FILES, SPARE_TASKS, read_metric

POOL = 6
"""Most connections to PostgreSQL for requests; one more listens for signals."""


@dataclass(kw_only=True, eq=False)
class Replica:
    """One of the gateways, with a proxy of its own before the API server.

    Attributes
    ----------
    database_port
        Where PostgreSQL is.
    crashes
        Ends that nobody asked for, and what was wrong with those that somebody did.
    leaks
        What it still had when nothing was left to do.
    """

    gateway: GatewayProcess
    proxy: APIProxy
    database_port: int
    crashes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    _baseline: Holdings | None = None
    _baseline_tasks: float = 0.0

    def strike(self) -> None:
        """Kill it now; `end` waits for that."""
        if self.gateway.process is not None:
            self.gateway.process.send_signal(signal.SIGKILL)

    async def end(self) -> None:
        """Wait for the end of what was struck, and of what it had asked the API server for."""
        await asyncio.to_thread(self.gateway.close)
        self.proxy.behave()
        await self.proxy.idle()

    async def stop(self) -> None:
        """Stop it as the kubelet does."""
        try:
            status = await asyncio.to_thread(self.gateway.stop)
        except subprocess.TimeoutExpired:
            self.crashes.append(f"not at SIGTERM: {self.gateway.tail()}")
            self.gateway.close()
            return
        if status != 0:
            self.crashes.append(f"exit status {status} at SIGTERM: {self.gateway.tail()}")

    def check_alive(self) -> None:
        """Note it if it has ended, and start it again as a kubelet would."""
        process = self.gateway.process
        if process is not None and process.poll() is not None:
            self.crashes.append(f"exit status {process.returncode}: {self.gateway.tail()}")
            self.gateway.launch()

    async def measure_baseline(self) -> None:
        """Note what it holds before there is work."""
        assert self.gateway.process is not None
        self._baseline = holdings(self.gateway.process.pid)
        self._baseline_tasks = await self._metric("notifications_event_loop_tasks")

    async def look_for_leaks(self) -> None:
        """Compare what it holds with what it held before there was work."""
        # The last strike may have hit it, and the other one done all that was left.
        await asyncio.to_thread(self.gateway.wait_ready)
        assert self.gateway.process is not None and self._baseline is not None
        self.leaks += await left_over(
            partial(self._leaks, self.gateway.process.pid, self._baseline)
        )

    async def _leaks(self, pid: int, baseline: Holdings) -> list[str]:
        now = await asyncio.to_thread(holdings, pid)
        database = now.connections[self.database_port]
        kept, kept_before = (found.connections[self.proxy.port] for found in (now, baseline))
        files = now.files - database - kept
        files_before = baseline.files - baseline.connections[self.database_port] - kept_before
        tasks = await self._metric("notifications_event_loop_tasks")
        sockets = await self._metric("notifications_gateway_sockets")
        checks = {
            f"{files} files, at its start {files_before}; {now.connections}": (
                files > files_before + SPARE_FILES
            ),
            f"{database} connections to PostgreSQL": database > POOL + 1,
            f"{kept} API connections, at its start {kept_before}": (
                kept > kept_before + SPARE_CONNECTIONS
            ),
            f"{tasks:.0f} tasks, at its start {self._baseline_tasks:.0f}": (
                tasks > self._baseline_tasks + SPARE_TASKS
            ),
            f"{now.threads} threads, at its start {baseline.threads}": (
                now.threads > baseline.threads + SPARE_FILES
            ),
            f"{sockets:.0f} WebSockets": sockets > 0,
        }
        return [text for text, broken in checks.items() if broken]

    async def _metric(self, name: str) -> float:
        return await read_metric(self.gateway.internal_port, name)
