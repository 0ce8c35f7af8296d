"""The gateway of an installed chart, run as a process under the chart's own RBAC."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from .installation import Installation, free_port, kubectl

_ROOT = Path(__file__).parents[2]


@dataclass(kw_only=True)
class GatewayInstallation:
    """The gateway of a release in a cluster without nodes.

    It gets the rendered Deployment's environment, its Secret, and a token of its ServiceAccount;
    what the kubelet would mount is in files beside its log.

    Attributes
    ----------
    settings
        Settings that differ from the chart's, by variable.
    """

    installation: Installation
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    internal_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Name of the Deployment and of the ServiceAccount."""
        return f"{self.installation.release}-gateway"

    @property
    def url(self) -> str:
        """Where callers and browsers reach it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What its processes wrote."""
        return self.directory / "gateway.log"

    def operator_settings(self) -> dict[str, str]:
        """Return how the operator's process reaches it: by a token as the kubelet projects it."""
        token = self._token(self.installation.account or "notifications", "notifications-gateway")
        file = self.directory / "operator-token"
        file.write_text(token)
        return {
            "NOTIFICATIONS_GATEWAY__URL": f"http://127.0.0.1:{self.internal_port}",
            "NOTIFICATIONS_GATEWAY__TOKEN_FILE": str(file),
        }

    def start(self) -> None:
        """Start it and wait until it is ready, its database too."""
        environment = self._environment()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("notifications-operator")), "gateway"],
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 60
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the gateway is not ready:\n{self.tail()}")
            time.sleep(0.1)

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

    def _is_ready(self) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.internal_port}/readyz", trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and "[!]" not in answer.text

    def _environment(self) -> dict[str, str]:
        deployment = self._get("deployment", self.name)
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        given = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
        return {
            **given,
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "KUBECONFIG": str(self._kubeconfig()),
            "NOTIFICATIONS_GATEWAY_SERVER__HOST": "127.0.0.1",
            "NOTIFICATIONS_GATEWAY_SERVER__PORT": str(self.port),
            "NOTIFICATIONS_GATEWAY_SERVER__INTERNAL_PORT": str(self.internal_port),
            "NOTIFICATIONS_GATEWAY_SERVER__SHUTDOWN_DELAY": "0",
            "NOTIFICATIONS_GATEWAY_DATABASE__URL": f"sqlite:///{self.directory / 'inbox.db'}",
            "NOTIFICATIONS_GATEWAY_CALLERS__FILE": str(self._callers()),
            **self.settings,
        }

    def _callers(self) -> Path:
        secret = self._get("secret", f"{self.name}-tokens")
        file = self.directory / "callers.yaml"
        file.write_bytes(base64.b64decode(secret["data"]["callers.yaml"]))
        return file

    def _kubeconfig(self) -> Path:
        config = yaml.safe_load(self.installation.cluster.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": self._token(self.name)}
        path = self.directory / "gateway.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path

    def _token(self, account: str, audience: str | None = None) -> str:
        return kubectl(
            self.installation.cluster.kubeconfig,
            *("create", "token", account, "--namespace", self.installation.namespace),
            *(("--audience", audience) if audience else ()),
            *("--duration", "6h"),
        ).stdout.strip()

    def _get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            kubectl(
                self.installation.cluster.kubeconfig,
                *("get", kind, name, "--namespace", self.installation.namespace),
                *("--output", "json"),
            ).stdout
        )
        return found
