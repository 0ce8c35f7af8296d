"""The operator installed by real Helm, run as a process under the chart's own RBAC."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hack.cluster import Cluster, ports, tools

from .helm import CHART, Helm

_ROOT = Path(__file__).parents[2]

_FIRST_PORT = 10_000

AddProcessor = Callable[..., Awaitable[str]]
"""Creates a processor and returns its name; the fixture `add_processor`."""


def kubectl(
    kubeconfig: Path, *arguments: str, stdin: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the pinned kubectl as a user would."""
    result = subprocess.run(
        [str(tools().kubectl), "--kubeconfig", str(kubeconfig), *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if check and result.returncode != 0:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {result.stderr}{result.stdout}")
    return result


def free_port() -> int:
    """Return a port that nobody listens on, for somebody who will later, and perhaps again.

    It is below those that clusters and outgoing connections take meanwhile.
    """
    while True:
        port = random.randrange(_FIRST_PORT, ports.FIRST)
        if ports.is_free(port):
            return port


@dataclass(kw_only=True)
class Installation:
    """A release of the chart in a cluster without nodes, and its operator as a local process.

    The process gets the rendered Deployment's environment and a token of its ServiceAccount, so
    that it has the chart's rights and settings and nothing wider.
    """

    cluster: Cluster
    directory: Path
    namespace: str
    release: str = "notifications"
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    account: str = ""
    pod: str = "local"
    """Name of the pod that the process believes to run in; its UID is made from it."""
    settings: dict[str, str] = field(default_factory=dict)
    """Settings that differ from the chart's, by variable."""
    command: Sequence[str] | None = None
    """What is started; by default the installed ``notifications-operator run``."""
    manifest: str | None = None
    """What `apply` applied."""

    @property
    def helm(self) -> Helm:
        """The pinned Helm on this cluster."""
        return Helm(program=tools().helm, home=self.directory, kubeconfig=self.cluster.kubeconfig)

    @property
    def log(self) -> Path:
        """Everything the operator's processes wrote."""
        return self.directory / "operator.log"

    def install(self, values: dict[str, Any]) -> None:
        """Install the chart, or upgrade it."""
        self.helm.run(
            "upgrade",
            self.release,
            str(CHART),
            "--install",
            "--namespace",
            self.namespace,
            "--create-namespace",
            values=values,
        )

    def apply(self, values: dict[str, Any]) -> None:
        """Install the chart, or upgrade it, as ``helm template | kubectl apply`` does."""
        apply = ("apply", "--server-side", "--force-conflicts", "--filename", "-")
        kubeconfig = self.cluster.kubeconfig
        kubectl(kubeconfig, *apply, stdin=self.helm.run("show", "crds", str(CHART)))
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        kubectl(kubeconfig, *apply, stdin=json.dumps(namespace))
        self.manifest = self.helm.template(
            values=values, release=self.release, namespace=self.namespace
        )
        kubectl(kubeconfig, *apply, stdin=self.manifest)

    def uninstall(self) -> None:
        """Remove what `install` or `apply` made, as a user does; the namespace stays."""
        if self.manifest is not None:
            delete = ("delete", "--ignore-not-found", "--filename", "-")
            kubectl(self.cluster.kubeconfig, *delete, stdin=self.manifest)
            self.manifest = None
            return
        target = (self.release, "--namespace", self.namespace, "--ignore-not-found")
        self.helm.run("uninstall", *target)

    def start(self, *, server: str | None = None) -> None:
        """Start the operator; `wait_ready` waits for it.

        Parameters
        ----------
        server
            Address of the API server, if not the cluster's own: a proxy's.
        """
        self.launch(self.prepare(server=server))

    def prepare(self, *, server: str | None = None) -> dict[str, str]:
        """Return the process's environment, by asking the cluster for it."""
        self.port = free_port()
        environment = self._environment()
        self.account = environment.pop("serviceAccountName")
        return {
            **environment,
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "KUBECONFIG": str(self._kubeconfig(self.account, server)),
            "NOTIFICATIONS_SERVER__HOST": "127.0.0.1",
            "NOTIFICATIONS_SERVER__PORT": str(self.port),
            **self.settings,
        }

    def launch(self, environment: dict[str, str]) -> None:
        """Start the process."""
        program = Path(sys.executable).with_name("notifications-operator")
        command = self.command or (str(program), "run")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until the readiness probe says yes."""
        end = time.monotonic() + seconds
        while (status := self.probe("readyz")) != 200:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the operator is not ready ({status}):\n{self.tail()}")
            time.sleep(0.1)

    def probe(self, path: str) -> int:
        """Return the status of a probe; 0 if nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}") as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code)
        except (urllib.error.URLError, ConnectionError):
            return 0

    def readiness(self) -> str:
        """Return what the readiness probe says; nothing if nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz") as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()
        except (urllib.error.URLError, ConnectionError):
            return ""

    def stop(self, *, seconds: float = 40) -> int:
        """Stop the operator as the kubelet does, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(seconds)
        self.process = None
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the operator."""
        assert self.process is not None
        self.process.send_signal(number)

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def kill(self) -> None:
        """Kill -9 the operator."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self) -> None:
        """Leave no process behind."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def tail(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-8000:] if self.log.exists() else ""

    def _environment(self) -> dict[str, str]:
        deployment = json.loads(
            kubectl(
                self.cluster.kubeconfig,
                *("get", "deployment", "--namespace", self.namespace, "--output", "json"),
                *(
                    "--selector",
                    f"app.kubernetes.io/instance={self.release}"
                    ",app.kubernetes.io/component=operator",
                ),
            ).stdout
        )["items"][0]
        pod = deployment["spec"]["template"]["spec"]
        fields = {
            "metadata.namespace": self.namespace,
            "metadata.name": self.pod,
            "metadata.uid": f"uid-of-{self.pod}",
        }
        environment = {"serviceAccountName": pod["serviceAccountName"]}
        for entry in pod["containers"][0]["env"]:
            source = entry.get("valueFrom")
            environment[entry["name"]] = (
                fields[source["fieldRef"]["fieldPath"]] if source else entry.get("value", "")
            )
        return environment

    def _kubeconfig(self, account: str, server: str | None) -> Path:
        token = kubectl(
            self.cluster.kubeconfig,
            *("create", "token", account, "--namespace", self.namespace, "--duration", "6h"),
        ).stdout.strip()
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        if server is not None:
            config["clusters"][0]["cluster"]["server"] = server
        path = self.directory / "operator.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path
