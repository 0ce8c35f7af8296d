"""The demo, as a user runs it: once with the operator as a pod, once as a process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hack.cluster import ClusterError, find, tools
from hack.demo import steps
from hack.demo.place import NAMESPACE, RELEASE, TEAM_NAMESPACE, Place
from hack.image.layout import REPOSITORY
from tests.support.smtp import read_ledger

RECIPIENTS = {
    "environment-ready": ["ada.lovelace"],
    "cluster-upgrade": ["ada.lovelace", "grace.hopper"],
    "certificate-expires": ["edsger.dijkstra"],
    "office-closed": ["ada.lovelace", "alan.turing", "edsger.dijkstra", "grace.hopper"],
    "incident-4711": ["ada.lovelace", "alan.turing", "edsger.dijkstra", "grace.hopper"],
}
"""Who gets a mail of each example Notification."""


@dataclass(frozen=True)
class Demo:
    """The demo under one name."""

    name: str

    def command(self, *arguments: str) -> str:
        """Run the demo's command line and return what it prints."""
        environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        result = subprocess.run(
            [sys.executable, "-m", "hack.demo", *arguments, "--name", self.name],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def tool(self, program: str, *arguments: str) -> str:
        """Run kubectl or Helm on the demo's cluster."""
        path = {"kubectl": tools().kubectl, "helm": tools().helm}[program]
        return subprocess.run(
            [path, *arguments],
            env=os.environ | {"KUBECONFIG": str(find(self.name).kubeconfig)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
            check=True,
        ).stdout

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get` says."""
        return json.loads(self.tool("kubectl", "get", *arguments, "--output=json"))

    def notifications(self) -> dict[str, dict[str, Any]]:
        """Return the example Notifications by name."""
        items = self.get("notifications", f"--namespace={TEAM_NAMESPACE}")["items"]
        return {item["metadata"]["name"]: item for item in items}

    def recipients(self) -> dict[str, list[str]]:
        """Return who got a mail, by Notification; each mail counts."""
        received: dict[str, list[str]] = {}
        for mail in read_ledger(Place(self.name).mails):
            notification = dict(mail["headers"])["X-Notification"].removeprefix(
                f"{TEAM_NAMESPACE}/"
            )
            received.setdefault(notification, []).extend(
                address.removesuffix("@mycompany.com") for address in mail["rcptTo"]
            )
        return {name: sorted(addresses) for name, addresses in received.items()}


@pytest.fixture
def demo(worker_id: str) -> Iterator[Demo]:
    demo = Demo(f"demo-{worker_id}-{os.getpid()}")
    yield demo
    demo.command("down")


@pytest.fixture
def pods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where no pods can run."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    if (obstacle := steps.pods_can_run()) is not None:
        pytest.skip(f"no pods on this machine: {obstacle}")


def assert_all_delivered(demo: Demo, output: str) -> None:
    states = {name: item["status"]["state"] for name, item in demo.notifications().items()}
    assert states == dict.fromkeys(RECIPIENTS, "Delivered")
    assert "12 mails, one to each recipient, all over TLS" in output
    assert re.search(r"NoAddress .*|Reason: +NoAddress", output)


@pytest.mark.cluster
@pytest.mark.node
@pytest.mark.usefixtures("pods")
def test_delivers_from_a_hardened_pod_that_helm_installed(demo: Demo) -> None:
    output = demo.command("up", "--node")

    assert_all_delivered(demo, output)
    assert demo.recipients() == RECIPIENTS
    (pod,) = demo.get("pods", f"--namespace={NAMESPACE}")["items"]
    assert pod["status"]["phase"] == "Running"
    assert pod["spec"]["serviceAccountName"] == RELEASE
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
    (status,) = pod["status"]["containerStatuses"]
    assert status["ready"]
    assert status["restartCount"] == 0
    assert status["user"]["linux"]["uid"] == 65532
    demo.tool("helm", "test", RELEASE, f"--namespace={NAMESPACE}")


@pytest.mark.cluster
def test_second_run_sends_anew_and_down_leaves_nothing(demo: Demo) -> None:
    first = demo.command("up", "--no-node")
    assert_all_delivered(demo, first)
    assert demo.recipients() == RECIPIENTS
    before = demo.notifications()

    second = demo.command("up", "--no-node")

    assert_all_delivered(demo, second)
    assert demo.recipients() == {name: sorted(2 * who) for name, who in RECIPIENTS.items()}
    uids = {name: item["metadata"]["uid"] for name, item in demo.notifications().items()}
    assert all(uids[name] != item["metadata"]["uid"] for name, item in before.items())
    assert demo.command("mails").count("✉ Payments are failing") == 8

    demo.command("down")
    assert not Place(demo.name).directory.exists()
    with pytest.raises(ClusterError, match="no cluster"):
        find(demo.name)
