"""The gateway as a process of its own: started, asked, killed and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from .gateway import BROADCAST, TOKEN
from .installation import free_port

PATH = "/api/notifications/notifications"
"""Where is posted to."""

_ROOT = Path(__file__).parents[2]


@dataclass(kw_only=True)
class GatewayProcess:
    """``notifications-operator gateway``, with a port for callers and one for the operator.

    Attributes
    ----------
    directory
        Where its log is, and its database unless the environment names another.
    environment
        Its settings and its kubeconfig, by variable.
    namespace
        Where its callers' Notifications are made.
    """

    directory: Path
    environment: dict[str, str]
    namespace: str
    port: int = field(default_factory=free_port)
    internal_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where callers and browsers reach it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What its processes wrote."""
        return self.directory / "gateway.log"

    @property
    def database(self) -> Path:
        """The file of its inbox, unless the environment names another database."""
        return self.directory / "inbox.db"

    def start(self) -> None:
        """Start it and wait until it is ready, its database too."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it; it need not be ready."""
        program = Path(sys.executable).with_name("notifications-operator")
        prefix = "NOTIFICATIONS_GATEWAY_"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            f"{prefix}DATABASE__URL": f"sqlite:///{self.database}",
            **self.environment,
            f"{prefix}NAMESPACE": self.namespace,
            f"{prefix}SERVER__HOST": "127.0.0.1",
            f"{prefix}SERVER__PORT": str(self.port),
            f"{prefix}SERVER__INTERNAL_PORT": str(self.internal_port),
            f"{prefix}SERVER__SHUTDOWN_DELAY": "0",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(program), "gateway"],
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until the readiness probe finds nothing wrong."""
        assert self.process is not None
        end = time.monotonic() + seconds
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the gateway is not ready:\n{self.tail()}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Whether the readiness probe finds nothing wrong."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.internal_port}/readyz", trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and "[!]" not in answer.text

    def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> int:
        """Stop it as the kubelet does, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(40)
        self.process = None
        return status

    def close(self) -> None:
        """Leave no process behind."""
        if self.process is not None:
            self.kill()

    def tail(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-8000:] if self.log.exists() else ""

    async def post(
        self,
        body: Any = BROADCAST,
        *,
        token: str = TOKEN,
        key: str | None = None,
        path: str = PATH,
    ) -> httpx.Response:
        """Send as a caller."""
        headers = {"Authorization": f"Bearer {token}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            return await client.post(f"{self.url}{path}", json=body, headers=headers)
