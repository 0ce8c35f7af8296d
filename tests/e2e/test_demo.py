"""The demo, as a user runs it: once with operator and gateway as pods, once as processes.

`SCREENSHOTS=docs/images` has the test of the pods leave its picture there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hack import web
from hack.cluster import ClusterError, find, processes, tools
from hack.demo import steps
from hack.demo.place import GATEWAY, INBOX_NAMESPACE, NAMESPACE, RELEASE, TEAM_NAMESPACE, Place
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

POSTED = ["ada.lovelace", "alan.turing", "edsger.dijkstra", "grace.hopper"]
"""Who gets a mail of what is posted: everybody who has an address."""

TITLE = "Title of broadcast message"


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

    def recipients(self, namespace: str = TEAM_NAMESPACE) -> dict[str, list[str]]:
        """Return who got a mail, by a namespace's Notification; each mail counts."""
        received: dict[str, list[str]] = {}
        for mail in read_ledger(Place(self.name).mails):
            notification = dict(mail["headers"])["X-Notification"]
            if notification.startswith(f"{namespace}/"):
                received.setdefault(notification.removeprefix(f"{namespace}/"), []).extend(
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


def assert_posted(demo: Demo, output: str) -> None:
    """Check that what curl posted is where the demo says: in the mailboxes and in the inbox."""
    assert "4 mails, one to each recipient, all over TLS" in output
    shown = output.partition("In the mailboxes and in the inbox")[2]
    assert f"✉ {TITLE}" in shown
    assert f"● {TITLE}\n    high · The topic · from external:demo · unread" in shown
    items = demo.get("notifications", f"--namespace={INBOX_NAMESPACE}")["items"]
    assert {item["status"]["state"] for item in items} == {"Delivered"}
    names = {item["metadata"]["name"] for item in items}
    assert demo.recipients(INBOX_NAMESPACE) == dict.fromkeys(names, POSTED)


def printed(pattern: str, output: str) -> str:
    """Return what the demo has printed for its user."""
    found = re.search(pattern, output)
    assert found is not None, f"{pattern} is not in:\n{output}"
    return found[1]


def browse(output: str, pictures: Path) -> None:
    """Have Chromium do what the demo says that one can go on with."""
    demo = {
        "url": printed(r"Inbox: +(\S+)", output),
        "user": printed(r"Log in: +(\S+)", output),
        "issuer": printed(r"OpenID provider at (\S+)", output),
        "token": printed(r"Authorization: Bearer ([^']+)'", output),
        "title": TITLE,
        "unread": 1 + sum("ada.lovelace" in names for names in RECIPIENTS.values()),
    }
    web.install()
    environment = {"DEMO": json.dumps(demo), "SCREENSHOTS": str(pictures)}
    result = subprocess.run(
        ["npx", "--no-install", "vitest", "run", "--project", "demo"],
        cwd=web.WEB,
        env=os.environ | web.browser_environment() | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (pictures / "demo.png").is_file()


@pytest.mark.cluster
@pytest.mark.node
@pytest.mark.usefixtures("pods")
def test_delivers_from_hardened_pods_that_helm_installed(demo: Demo, tmp_path: Path) -> None:
    output = demo.command("up", "--node")

    assert_all_delivered(demo, output)
    assert_posted(demo, output)
    assert demo.recipients() == RECIPIENTS
    pods = demo.get("pods", f"--namespace={NAMESPACE}")["items"]
    assert {pod["spec"]["serviceAccountName"] for pod in pods} == {RELEASE, GATEWAY}
    for pod in pods:
        assert_hardened(pod)
    wanted = os.environ.get("SCREENSHOTS")
    browse(output, Path(wanted).resolve() if wanted else tmp_path)
    demo.tool("helm", "test", RELEASE, f"--namespace={NAMESPACE}")


def assert_hardened(pod: dict[str, Any]) -> None:
    assert pod["status"]["phase"] == "Running"
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


@pytest.mark.cluster
def test_second_run_sends_anew_and_down_leaves_nothing(demo: Demo, tmp_path: Path) -> None:
    first = demo.command("up", "--no-node")
    assert_all_delivered(demo, first)
    assert_posted(demo, first)
    browse(first, tmp_path)
    assert demo.recipients() == RECIPIENTS
    before = demo.notifications()

    second = demo.command("up", "--no-node")

    assert_all_delivered(demo, second)
    assert_posted(demo, second)
    assert demo.recipients() == {name: sorted(2 * who) for name, who in RECIPIENTS.items()}
    uids = {name: item["metadata"]["uid"] for name, item in demo.notifications().items()}
    assert all(uids[name] != item["metadata"]["uid"] for name, item in before.items())
    assert demo.command("mails").count("✉ Payments are failing") == 8

    left = processes.recorded(Place(demo.name).directory)
    assert {process.name for process in left} >= {"operator", "gateway", "identity-provider"}
    demo.command("down")
    assert not any(processes.is_running(process) for process in left)
    assert not Place(demo.name).directory.exists()
    with pytest.raises(ClusterError, match="no cluster"):
        find(demo.name)
