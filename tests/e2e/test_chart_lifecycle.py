"""Install, upgrade, uninstall: the chart by real Helm, on a cluster that has nothing of it.

No operator runs, so the tests themselves say what a processor's status is.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.cluster import Cluster, Source, tools, up
from tests.support.helm import CHART, SEED_VALUES, Helm, HelmError
from tests.support.installation import kubectl
from tests.support.kubernetes import APIError, Kubernetes, Object, notification

pytestmark = pytest.mark.cluster

DEFINITIONS = (
    "notifications.notifications.orchestrator.io",
    "notificationprocessors.notifications.orchestrator.io",
)
NAMESPACE = "lifecycle"


@pytest.fixture(scope="module")
def used_cluster(worker_id: str) -> Iterator[Cluster]:
    """A control plane whose definitions come with the first release, and stay."""
    cluster = up(f"lifecycle-{worker_id}-{os.getpid()}", source=Source.LOCAL)
    yield cluster
    cluster.down()


@pytest.fixture
def new_cluster(worker_id: str) -> Iterator[Cluster]:
    """A control plane that never had the definitions.

    Deleting them instead sometimes hangs: the API server waits for its own caches.
    """
    cluster = up(f"lifecycle-new-{worker_id}-{os.getpid()}", source=Source.LOCAL)
    yield cluster
    cluster.down()


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of the chart, with no pods."""

    helm: Helm
    name: str = "notifications"
    namespace: str = NAMESPACE

    def install(self, *arguments: str, values: Object, chart: Path = CHART) -> str:
        return self._run("install", *arguments, "--create-namespace", values=values, chart=chart)

    def upgrade(self, *arguments: str, values: Object) -> str:
        return self._run("upgrade", *arguments, values=values, chart=CHART)

    def uninstall(self) -> None:
        self.helm.run("uninstall", self.name, "-n", self.namespace, "--ignore-not-found", "--wait")

    def _run(self, command: str, *arguments: str, values: Object, chart: Path) -> str:
        target = (self.name, str(chart), "-n", self.namespace)
        return self.helm.run(command, *target, *arguments, values={"replicaCount": 0, **values})


@pytest.fixture
def release(used_cluster: Cluster, tmp_path: Path) -> Iterator[Release]:
    """A release to be made; nothing but the definitions is left of it afterwards."""
    helm = Helm(program=tools().helm, home=tmp_path, kubeconfig=used_cluster.kubeconfig)
    release = Release(helm=helm)
    yield release
    release.uninstall()
    kubectl(used_cluster.kubeconfig, "delete", "ntf", "--all", "-n", NAMESPACE)


@pytest.fixture
def first_release(new_cluster: Cluster, tmp_path: Path) -> Release:
    """A release to be made on a new cluster."""
    return Release(
        helm=Helm(program=tools().helm, home=tmp_path, kubeconfig=new_cluster.kubeconfig)
    )


@pytest.fixture
async def api(used_cluster: Cluster) -> AsyncIterator[Kubernetes]:
    async with Kubernetes(used_cluster.kubeconfig) as client:
        yield client


@pytest.fixture
async def new_api(new_cluster: Cluster) -> AsyncIterator[Kubernetes]:
    async with Kubernetes(new_cluster.kubeconfig) as client:
        yield client


def seed(**options: object) -> Object:
    """Return the seed values with some of the email processor's options changed."""
    values = copy.deepcopy(SEED_VALUES)
    values["notifications"]["processors"]["email"].update(options)
    return values


async def processor(api: Kubernetes) -> Object:
    return await api.get("NotificationProcessor", "email", NAMESPACE)


async def report_ready(api: Kubernetes, status: str, reason: str) -> None:
    """Write the processor's status as the operator does."""
    generation = (await processor(api))["metadata"]["generation"]
    condition = {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": f"the mail server said {reason}",
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    body = {"status": {"observedGeneration": generation, "conditions": [condition]}}
    await api.patch("NotificationProcessor", "email", NAMESPACE, body, subresource="status")


async def test_one_command_installs_definitions_and_processor(
    first_release: Release, new_api: Kubernetes
) -> None:
    """Without --wait too, although the definitions are new to the cluster."""
    notes = first_release.install(values=SEED_VALUES)
    assert "kubectl get notificationprocessor email -n lifecycle" in notes
    email = await processor(new_api)
    assert email["spec"]["secretRef"] == {"name": "notifications-email"}
    assert email["spec"]["email"]["sender"] == "sender@mycompany.com"
    assert email["status"] == {"observedGeneration": -1}
    secret = await new_api.get("Secret", "notifications-email", NAMESPACE)
    assert secret["data"].keys() == {"username", "password"}
    await new_api.create(notification("first", NAMESPACE, "user:default/ada", title="Hello"))


async def test_upgrade_changes_the_processor_in_place(release: Release, api: Kubernetes) -> None:
    release.install(values=SEED_VALUES)
    before = await processor(api)
    deployment = await api.get("Deployment", "notifications", NAMESPACE)
    transport = SEED_VALUES["notifications"]["processors"]["email"]["transportConfig"]
    release.upgrade(
        values=seed(
            transportConfig={**transport, "password": "new-password"}, concurrencyLimit=7, cache={}
        )
    )
    after = await processor(api)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["email"]["concurrencyLimit"] == 7
    assert after["spec"]["email"]["cache"] == {"ttl": "1h"}
    secret = await api.get("Secret", "notifications-email", NAMESPACE)
    assert secret["data"]["password"] == "bmV3LXBhc3N3b3Jk"
    unchanged = await api.get("Deployment", "notifications", NAMESPACE)
    assert unchanged["metadata"]["generation"] == deployment["metadata"]["generation"]


async def test_upgrade_moves_to_an_existing_secret(release: Release, api: Kubernetes) -> None:
    release.install(values=SEED_VALUES)
    transport = {"transport": "smtp", "hostname": "mail.example.com", "port": 465, "secure": True}
    release.upgrade(values=seed(transportConfig=transport, existingSecret="mine"))
    assert (await processor(api))["spec"]["secretRef"] == {"name": "mine"}
    with pytest.raises(APIError, match="404"):
        await api.get("Secret", "notifications-email", NAMESPACE)


async def test_upgrade_without_the_processor_removes_it(release: Release, api: Kubernetes) -> None:
    release.install(values=SEED_VALUES)
    release.upgrade(values={})
    with pytest.raises(APIError, match="404"):
        await processor(api)


async def test_upgrade_brings_new_fields_and_their_use(
    first_release: Release, new_api: Kubernetes, tmp_path: Path
) -> None:
    older = tmp_path / "older" / "notifications"
    shutil.copytree(CHART, older)
    file = older / "charts/crds/crds/notificationprocessors.yaml"
    definition = file.read_text()
    assert "                onAmbiguous:\n" in definition
    file.write_text(
        definition.replace("                onAmbiguous:\n", "                later:\n")
    )
    first_release.install(values=SEED_VALUES, chart=older)
    await new_api.create(notification("kept", NAMESPACE, "user:default/ada", title="Hello"))
    kept = await new_api.get("Notification", "kept", NAMESPACE)
    first_release.upgrade(values=seed(onAmbiguous="Hold"))
    assert (await processor(new_api))["spec"]["onAmbiguous"] == "Hold"
    assert (await new_api.get("Notification", "kept", NAMESPACE))["metadata"] == kept["metadata"]


async def test_upgrade_can_leave_the_definitions_alone(release: Release, api: Kubernetes) -> None:
    release.install(values=SEED_VALUES)
    before = [await api.get("CustomResourceDefinition", name) for name in DEFINITIONS]
    release.upgrade(values={**SEED_VALUES, "crds": {"install": False}})
    after = [await api.get("CustomResourceDefinition", name) for name in DEFINITIONS]
    versions = [definition["metadata"]["resourceVersion"] for definition in after]
    assert versions == [definition["metadata"]["resourceVersion"] for definition in before]


async def test_rollback(release: Release, api: Kubernetes) -> None:
    release.install(values=SEED_VALUES)
    before = await processor(api)
    release.upgrade(values=seed(concurrencyLimit=7))
    release.helm.run("rollback", release.name, "1", "-n", NAMESPACE)
    after = await processor(api)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_uninstall_leaves_definitions_and_notifications(
    release: Release, api: Kubernetes, used_cluster: Cluster
) -> None:
    values = {**SEED_VALUES, "catalog": {"entities": []}}
    release.install(values=values)
    release.upgrade(values=values)
    await api.create(notification("kept", NAMESPACE, "user:default/ada", title="Hello"))
    kept = await api.get("Notification", "kept", NAMESPACE)
    release.uninstall()
    assert await api.get("Notification", "kept", NAMESPACE) == kept
    everything = "deploy,svc,sa,secret,configmap,role,rolebinding,ntfp"
    cluster_wide = (
        "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"
    )
    for kinds, where in ((everything, ("-n", NAMESPACE)), (cluster_wide, ())):
        left = kubectl(
            used_cluster.kubeconfig,
            *("get", kinds, *where, "-o", "json"),
            *("-l", "app.kubernetes.io/instance=notifications"),
        )
        assert json.loads(left.stdout)["items"] == []
    again = Release(helm=release.helm, name="another", namespace=f"{NAMESPACE}-2")
    again.install(values=SEED_VALUES)
    assert await api.get("Notification", "kept", NAMESPACE) == kept
    again.uninstall()


async def test_a_second_release_is_refused(release: Release) -> None:
    release.install(values=SEED_VALUES)
    second = Release(helm=release.helm, name="second", namespace=f"{NAMESPACE}-second")
    with pytest.raises(HelmError, match="cannot be imported into the current release"):
        second.install(values={})


async def test_without_definitions_helm_says_what_is_missing(first_release: Release) -> None:
    with pytest.raises(HelmError, match="ensure CRDs are installed first"):
        first_release.install(values={**SEED_VALUES, "crds": {"install": False}})


async def test_waiting_is_for_the_mail_server(release: Release, api: Kubernetes) -> None:
    """Helm's --wait judges by conditions (kstatus), and shows the message of what is not ready."""
    release.install(values=SEED_VALUES)
    await report_ready(api, "False", "ConnectFailed")
    wait = ("--wait", "--timeout", "3s")
    with pytest.raises(HelmError) as refusal:
        release.upgrade(*wait, values=SEED_VALUES)
    assert "NotificationProcessor/lifecycle/email not ready" in str(refusal.value)
    assert "the mail server said ConnectFailed" in str(refusal.value)
    await report_ready(api, "True", "Connected")
    release.upgrade(*wait, values=SEED_VALUES)
