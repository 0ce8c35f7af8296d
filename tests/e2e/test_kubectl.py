"""What users see with kubectl and Helm."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from tests.support.helm import Helm, HelmError
from tests.support.installation import AddProcessor, Installation, kubectl
from tests.support.kubernetes import Kubernetes, complete, notification
from tests.support.smtp import SMTPPeer, Step

pytestmark = pytest.mark.cluster


async def run(installation: Installation, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl off the event loop, which serves the SMTP peer meanwhile."""
    result = await asyncio.to_thread(
        kubectl, installation.cluster.kubeconfig, *arguments, stdin=stdin
    )
    return result.stdout


async def test_columns_and_selectors(
    kubernetes: Kubernetes, namespace: str, installation: Installation, title: str
) -> None:
    payload = {"severity": "high", "topic": "builds", "scope": "build-1"}
    await kubernetes.create(
        notification("seen", namespace, "user:default/ada", title=title, payload=payload)
    )
    await kubernetes.create(
        notification("lost", namespace, "user:default/ada", title=title, processors=["nowhere"])
    )
    for name in ("seen", "lost"):
        await kubernetes.wait("Notification", name, namespace, complete)
    plain = (await run(installation, "get", "ntf", "seen", "-n", namespace)).splitlines()
    assert plain[0].split() == ["NAME", "SEVERITY", "STATE", "DELIVERED", "REASON", "AGE"]
    assert plain[1].split()[:4] == ["seen", "high", "Delivered", "1/1"]
    wide = await run(installation, "get", "ntf", "seen", "-n", namespace, "-o", "wide")
    assert "builds" in wide and "build-1" in wide and f"namespace:{namespace}" in wide
    failed = await run(
        installation,
        *("get", "ntf", "-n", namespace, "--field-selector", "status.state=Failed", "-o", "name"),
    )
    assert failed.split() == ["notification.notifications.orchestrator.io/lost"]
    severe = await run(
        installation,
        *("get", "ntf", "-n", namespace, "-o", "name"),
        *("--field-selector", "spec.payload.severity=high"),
    )
    assert severe.split() == ["notification.notifications.orchestrator.io/seen"]
    listed = await run(installation, "get", "orchestrator", "-n", namespace, "-o", "name")
    assert "notification.notifications.orchestrator.io/seen" in listed


async def test_explain_describes_every_field(installation: Installation) -> None:
    for kind in ("notifications", "notificationprocessors"):
        text = await run(installation, "explain", f"{kind}.spec", "--recursive")
        assert "<Object>" in text
        text = await run(installation, "explain", f"{kind}.status.conditions")
        assert "<no description>" not in text


async def test_wait_for_success_and_for_failure(
    kubernetes: Kubernetes, namespace: str, installation: Installation, title: str
) -> None:
    admin = installation.cluster.kubeconfig
    await kubernetes.create(notification("good", namespace, "user:default/ada", title=title))
    arguments = ("wait", "ntf", "-n", namespace, "--timeout=60s")
    await run(installation, *arguments, "--for=condition=Delivered", "good")
    await kubernetes.create(
        notification("bad", namespace, "user:default/ada", title=title, processors=["nowhere"])
    )
    await run(installation, *arguments, "--for=condition=Complete", "bad")
    await run(installation, *arguments, "--for=condition=Delivered=False", "bad")
    result = await asyncio.to_thread(
        kubectl,
        admin,
        *("wait", "ntf", "-n", namespace, "--timeout=1s", "--for=condition=Delivered", "bad"),
        check=False,
    )
    assert result.returncode != 0


async def test_server_side_dry_run_has_no_effect(
    namespace: str, installation: Installation, title: str
) -> None:
    manifest = json.dumps(notification("dry", namespace, "user:default/ada", title=title))
    await run(installation, "apply", "--dry-run=server", "-f", "-", stdin=manifest)
    assert await run(installation, "get", "ntf", "-n", namespace, "-o", "name") == ""


@pytest.mark.parametrize(
    ("refused", "succeeds"),
    [((), True), (("grace@example.com",), True), (("ada@example.com", "grace@example.com"), False)],
    ids=["success", "partial", "failure"],
)
async def test_helm_waits_for_notifications(
    kubernetes: Kubernetes,
    namespace: str,
    installation: Installation,
    title: str,
    add_processor: AddProcessor,
    tmp_path: Path,
    refused: tuple[str, ...],
    succeeds: bool,
) -> None:
    """Helm 4 uses kstatus: Ready ends the wait well, Stalled badly."""
    async with SMTPPeer() as peer:
        for address in refused:
            peer.fail(Step.RCPT, "550 5.1.1 no such user", recipient=address, times=None)
        processor = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port}
        )
        refs = ("user:default/ada", "user:default/grace")
        manifest = notification("hooked", namespace, *refs, title=title, processors=[processor])
        chart = tmp_path / "chart"
        (chart / "templates").mkdir(parents=True)
        chart_file = {"apiVersion": "v2", "name": "sender", "version": "1.0.0"}
        (chart / "Chart.yaml").write_text(yaml.safe_dump(chart_file))
        (chart / "templates" / "notification.yaml").write_text(yaml.safe_dump(manifest))
        helm = Helm(
            program=installation.helm.program,
            home=tmp_path,
            kubeconfig=installation.cluster.kubeconfig,
        )
        arguments = ("install", "sender", str(chart), "-n", namespace, "--wait", "--timeout", "60s")
        if succeeds:
            await asyncio.to_thread(helm.run, *arguments)
        else:
            with pytest.raises(HelmError):
                await asyncio.to_thread(helm.run, *arguments)
        body = await kubernetes.wait("Notification", "hooked", namespace, complete)
        states = {0: "Delivered", 1: "PartiallyDelivered", 2: "Failed"}
        assert body["status"]["state"] == states[len(refused)]
