"""Tools that wait for a delivery: Helm (kstatus, as Flux), Argo CD's health check, kubectl wait.

A release by real Helm is only as good as what ``--wait`` reads in our status, and so is a sync of
Flux, which uses the same library.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import Cluster, tools
from tests.support.argocd import health
from tests.support.helm import Helm, HelmError
from tests.support.installation import AddProcessor, Installation, kubectl
from tests.support.kubernetes import (
    Kubernetes,
    Object,
    complete,
    condition_is,
    notification,
    state_is,
)
from tests.support.mail import Catcher
from tests.support.smtp import Reply, SMTPPeer, Step

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installation")]

EXAMPLES = Path(__file__).parents[2] / "examples" / "gitops"
EXAMPLE = EXAMPLES / "helm"
FLUX = EXAMPLES / "flux" / "everybody.yaml"
ADA, GRACE = "user:default/ada", "user:default/grace"


class Charts:
    """Installs charts that hold nothing but Notifications."""

    def __init__(self, cluster: Cluster, directory: Path, namespace: str) -> None:
        self.directory = directory
        self._namespace = namespace
        self._helm = Helm(program=tools().helm, home=directory, kubeconfig=cluster.kubeconfig)

    def write(self, *manifests: Object) -> Path:
        """Make a chart of some manifests."""
        chart = self.directory / "chart"
        (chart / "templates").mkdir(parents=True, exist_ok=True)
        metadata = {"apiVersion": "v2", "name": "tells", "version": "1.0.0"}
        (chart / "Chart.yaml").write_text(json.dumps(metadata))
        for number, manifest in enumerate(manifests):
            (chart / "templates" / f"{number}.yaml").write_text(json.dumps(manifest))
        return chart

    async def install(self, chart: Path, *, seconds: int = 60, **values: Any) -> str:
        """Run ``helm upgrade --install --wait``; raises `HelmError` if it says so."""
        return await asyncio.to_thread(
            self._helm.run,
            *("upgrade", "--install", "tells", str(chart), "--namespace", self._namespace),
            *("--wait", "--timeout", f"{seconds}s"),
            values=values,
        )


@pytest.fixture
def charts(cluster: Cluster, tmp_path: Path, namespace: str) -> Charts:
    return Charts(cluster, tmp_path, namespace)


@pytest.fixture
async def peer() -> AsyncIterator[SMTPPeer]:
    """A mail server that refuses Grace for ever."""
    async with SMTPPeer() as peer:
        refusal = Reply("550 5.1.1 no such mailbox")
        peer.fail(Step.RCPT, refusal, recipient="grace@example.com", times=None)
        yield peer


@pytest.fixture
async def strict(peer: SMTPPeer, add_processor: AddProcessor) -> str:
    return await add_processor({"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port})


class Flux:
    """Flux's ``healthCheckExprs`` of the example, evaluated by the API server's CEL.

    Both use cel-go. A policy that refuses dry-run writes of the status says in its message which
    expressions hold.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        (check,) = yaml.safe_load(FLUX.read_text())["spec"]["healthCheckExprs"]
        self._expressions = {key: check[key] for key in ("inProgress", "failed", "current")}
        self.name = f"flux-{namespace}"

    def policy(self) -> list[Object]:
        """Return the policy and its binding."""
        fields = re.compile(r"(?<![.\w])(status|metadata)\b")
        parts = [
            "((" + fields.sub(r"object.\1", text) + f") ? ' {key}' : '')"
            for key, text in self._expressions.items()
        ]
        group = "admissionregistration.k8s.io/v1"
        metadata = {"name": self.name}
        rule = {
            "apiGroups": ["notifications.orchestrator.io"],
            "apiVersions": ["*"],
            "operations": ["UPDATE"],
            "resources": ["notifications/status"],
        }
        selector = {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}}
        message = f"'holds:' + {' + '.join(parts)}"
        spec = {
            "failurePolicy": "Fail",
            "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
            "matchConditions": [{"name": "dry", "expression": "request.dryRun == true"}],
            "validations": [{"expression": "false", "messageExpression": message}],
        }
        binding = {"policyName": self.name, "validationActions": ["Deny"]}
        kind = "ValidatingAdmissionPolicy"
        return [
            {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec},
            {"apiVersion": group, "kind": f"{kind}Binding", "metadata": metadata, "spec": binding},
        ]

    async def true(self, name: str, status: Object) -> set[str]:
        """Return which expressions hold for a Notification, some of its status changed."""
        patch = json.dumps({"status": {"summary": "evaluated", **status}})
        target = ("patch", "ntf", name, "-n", self._namespace, "--subresource=status")
        arguments = (*target, "--type=merge", "--dry-run=server", "-p", patch)
        async with asyncio.timeout(30):
            # A policy is in force a moment after it was created.
            while True:
                result = await asyncio.to_thread(
                    kubectl, self._cluster.kubeconfig, *arguments, check=False
                )
                if "holds:" in result.stderr:
                    return set(result.stderr.partition("holds:")[2].split())
                assert result.returncode == 0, result.stderr
                await asyncio.sleep(0.1)


@pytest.fixture
def flux(cluster: Cluster, namespace: str) -> Iterator[Flux]:
    flux = Flux(cluster, namespace)
    manifest = "\n".join(f"---\n{json.dumps(item)}" for item in flux.policy())
    kubectl(cluster.kubeconfig, "create", "-f", "-", stdin=manifest)
    yield flux
    kubectl(cluster.kubeconfig, "delete", "-f", "-", stdin=manifest)


async def test_helm_waits_for_the_delivery(
    kubernetes: Kubernetes, namespace: str, charts: Charts, catcher: Catcher, title: str
) -> None:
    chart = charts.write(notification("tells", namespace, ADA, title=title, suspend=True))
    release = asyncio.create_task(charts.install(chart))
    async with asyncio.timeout(30):
        while not await kubernetes.list("Notification", namespace):
            await asyncio.sleep(0.05)
    await kubernetes.wait("Notification", "tells", namespace, state_is("Suspended"))
    done, _ = await asyncio.wait([release], timeout=3)
    assert not done, "a Notification that is not delivered is no success"
    assert catcher.mails(title) == []
    await kubernetes.patch("Notification", "tells", namespace, {"spec": {"suspend": False}})
    await release
    body = await kubernetes.get("Notification", "tells", namespace)
    assert complete(body) and body["status"]["state"] == "Delivered"
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_helm_fails_when_the_delivery_fails(
    kubernetes: Kubernetes, namespace: str, charts: Charts, strict: str, title: str
) -> None:
    chart = charts.write(notification("tells", namespace, GRACE, title=title, processors=[strict]))
    with pytest.raises(HelmError, match=r"Notification/\S+/tells not ready\. status: Failed"):
        await charts.install(chart, seconds=20)
    body = await kubernetes.get("Notification", "tells", namespace)
    assert condition_is("Stalled", "True", "RecipientRejected")(body)


async def test_helm_waits_for_the_unknown_to_be_given_up(
    kubernetes: Kubernetes, namespace: str, charts: Charts, title: str
) -> None:
    chart = charts.write(notification("tells", namespace, "user:default/nobody", title=title))
    with pytest.raises(HelmError, match="status: Failed"):
        await charts.install(chart, seconds=30)
    body = await kubernetes.get("Notification", "tells", namespace)
    assert "UnknownEntities" in str(body["status"]["conditions"])


async def test_helm_takes_a_part_for_delivered(
    kubernetes: Kubernetes, namespace: str, charts: Charts, strict: str, title: str
) -> None:
    """As documented: who is strict asks for the condition Delivered."""
    chart = charts.write(
        notification("tells", namespace, ADA, GRACE, title=title, processors=[strict])
    )
    await charts.install(chart)
    body = await kubernetes.get("Notification", "tells", namespace)
    assert body["status"]["state"] == "PartiallyDelivered"
    assert condition_is("Delivered", "False")(body)


async def test_helm_does_not_take_an_edit_for_delivered(
    kubernetes: Kubernetes, namespace: str, charts: Charts, catcher: Catcher, title: str
) -> None:
    """The old status is still there when Helm begins to look."""
    await charts.install(charts.write(notification("tells", namespace, ADA, title=title)))
    await charts.install(charts.write(notification("tells", namespace, ADA, title=f"{title} 2")))
    body = await kubernetes.get("Notification", "tells", namespace)
    assert complete(body) and body["status"]["revision"] == 2
    assert len(catcher.mails(f"{title} 2")) == 1


async def test_example_chart_announces_each_release(
    kubernetes: Kubernetes, namespace: str, charts: Charts
) -> None:
    chart = charts.directory / "example"
    shutil.copytree(EXAMPLE, chart)
    for number in (1, 2):
        await charts.install(chart, recipient=ADA)
        body = await kubernetes.get("Notification", f"tells-released-{number}", namespace)
        assert complete(body) and body["status"]["revision"] == 1
    found = await kubernetes.list("Notification", namespace)
    assert [item["metadata"]["name"] for item in found] == ["tells-released-2"]


async def test_argocd_sees_the_health_of_every_state(
    kubernetes: Kubernetes, namespace: str, strict: str, peer: SMTPPeer, title: str
) -> None:
    peer.fail(Step.RCPT, Reply("451 4.7.1 later"), recipient="edsger@example.com", times=None)
    cases: dict[str, tuple[list[str], Object]] = {
        "Delivered": ([ADA], {}),
        "PartiallyDelivered": ([ADA, GRACE], {}),
        "Failed": ([GRACE], {}),
        "Delivering": (["user:default/edsger"], {}),
        "Suspended": ([ADA], {"suspend": True}),
        "Expired": ([ADA], {"expiresAt": "2020-01-01T00:00:00Z"}),
        "NoRecipients": (["group:default/empty"], {}),
        "Pending": ([ADA], {"processors": ["to-come"]}),
    }
    expected = {
        "Delivered": "Healthy",
        "PartiallyDelivered": "Healthy",
        "Failed": "Degraded",
        "Delivering": "Progressing",
        "Suspended": "Suspended",
        "Expired": "Healthy",
        "NoRecipients": "Healthy",
        "Pending": "Progressing",
    }
    for state, (refs, options) in cases.items():
        manifest = notification(
            state.lower(), namespace, *refs, title=title, **{"processors": [strict], **options}
        )
        created = await kubernetes.create(manifest)
        assert health(created).status == "Progressing", "before the operator was there"
        body = await kubernetes.wait("Notification", state.lower(), namespace, state_is(state))
        found = health(body)
        assert found.status == expected[state], found
        assert found.message


async def test_argocd_sees_the_health_of_processors(
    kubernetes: Kubernetes, installation: Installation, strict: str, add_processor: AddProcessor
) -> None:
    async def seen(name: str, check: Callable[[Object], bool]) -> str:
        kind = "NotificationProcessor"
        return health(await kubernetes.wait(kind, name, installation.namespace, check)).status

    assert await seen(strict, condition_is("Ready", "True")) == "Healthy"
    closed = {"transport": "smtp", "hostname": "127.0.0.1", "port": 1}
    broken = await add_processor(closed, ready=False)
    assert await seen(broken, condition_is("Ready", "False", "ConnectFailed")) == "Degraded"
    patch = {"spec": {"suspend": True}}
    await kubernetes.patch("NotificationProcessor", strict, installation.namespace, patch)
    assert await seen(strict, condition_is("Ready", "False", "Suspended")) == "Suspended"


async def test_kubectl_waits_for_what_it_is_told(
    kubernetes: Kubernetes, namespace: str, cluster: Cluster, strict: str, title: str
) -> None:
    await kubernetes.create(
        notification("part", namespace, ADA, GRACE, title=title, processors=[strict])
    )

    def wait(condition: str, seconds: int) -> int:
        target = ("ntf/part", "-n", namespace, f"--for=condition={condition}")
        timeout = f"--timeout={seconds}s"
        return kubectl(cluster.kubeconfig, "wait", *target, timeout, check=False).returncode

    assert await asyncio.to_thread(wait, "Complete", 30) == 0
    assert await asyncio.to_thread(wait, "Delivered=False", 1) == 0
    assert await asyncio.to_thread(wait, "Delivered", 1) != 0


async def test_flux_expressions_tell_a_part_from_all(
    kubernetes: Kubernetes, namespace: str, flux: Flux, strict: str, title: str
) -> None:
    cases: dict[str, tuple[list[str], Object, set[str]]] = {
        "Suspended": ([ADA], {"suspend": True}, {"inProgress"}),
        "Delivered": ([ADA], {}, {"current"}),
        "PartiallyDelivered": ([ADA, GRACE], {}, {"failed"}),
        "Failed": ([GRACE], {}, {"failed"}),
        "NoRecipients": (["group:default/empty"], {}, {"failed"}),
    }
    for state, (refs, options, expected) in cases.items():
        name = state.lower()
        options = {"title": title, "processors": [strict], **options}
        await kubernetes.create(notification(name, namespace, *refs, **options))
        await kubernetes.wait("Notification", name, namespace, state_is(state))
        assert await flux.true(name, {}) == expected, state
        unseen = {"observedGeneration": -1, "state": "Pending", "conditions": None}
        assert await flux.true(name, unseen) == {"inProgress"}
        assert await flux.true(name, {"observedGeneration": 0}) >= {"inProgress"}


async def test_replace_force_is_another_notification(
    kubernetes: Kubernetes,
    namespace: str,
    cluster: Cluster,
    catcher: Catcher,
    title: str,
    tmp_path: Path,
) -> None:
    """Unless it has expired: ``expiresAt`` is the guard."""
    manifest = notification("again", namespace, ADA, title=title)
    file = tmp_path / "again.json"

    async def replace() -> Object:
        file.write_text(json.dumps(manifest))
        arguments = ("replace", "--force", "-f", str(file))
        await asyncio.to_thread(kubectl, cluster.kubeconfig, *arguments)
        return await kubernetes.wait("Notification", "again", namespace, complete)

    await kubernetes.create(manifest)
    first = await kubernetes.wait("Notification", "again", namespace, complete)
    second = await replace()
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert len(catcher.mails(title)) == 2
    manifest["spec"]["expiresAt"] = "2020-01-01T00:00:00Z"
    assert (await replace())["status"]["state"] == "Expired"
    assert len(catcher.mails(title)) == 2
