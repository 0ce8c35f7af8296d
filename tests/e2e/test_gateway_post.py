"""The gateway as a process under a ServiceAccount of its own, and a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from hack.cluster import Cluster, Source, up
from tests.support.gateway import (
    BROADCAST,
    ENTITIES_TOKEN,
    SUBJECT,
    TOKEN,
    static,
    write_callers,
)
from tests.support.gateway_process import GatewayProcess
from tests.support.installation import kubectl
from tests.support.kubernetes import Kubernetes, Object

pytestmark = pytest.mark.cluster

CRDS = Path(__file__).parents[2] / "crds"
GROUP = "notifications.orchestrator.io"


def role(namespace: str, *verbs: str) -> list[Object]:
    """Return a Role on Notifications for the gateway's ServiceAccount, and its binding."""
    metadata = {"name": "gateway", "namespace": namespace}
    api = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{"apiGroups": [GROUP], "resources": ["notifications"], "verbs": [*verbs]}],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "gateway"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "gateway", "namespace": "gateway-system"}
            ],
        },
    ]


def apply(cluster: Cluster, *documents: Object) -> None:
    """Apply as an administrator."""
    kubectl(cluster.kubeconfig, "apply", "-f", "-", stdin=yaml.safe_dump_all(documents))


@pytest.fixture(scope="module")
def cluster(worker_id: str) -> Iterator[Cluster]:
    """A control plane of this module's own, where no chart's policy judges what is sent."""
    cluster = up(f"gateway-post-{worker_id}-{os.getpid()}", source=Source.LOCAL)
    yield cluster
    cluster.down()


@pytest.fixture(scope="module")
def account(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the gateway's ServiceAccount, which may nothing yet; the CRDs are there."""
    for file in CRDS.glob("*.yaml"):
        kubectl(cluster.kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", str(file))
    apply(
        cluster,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gateway-system"}},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "gateway", "namespace": "gateway-system"},
        },
    )
    kubectl(
        cluster.kubeconfig,
        *("wait", "--for=condition=Established", "--timeout=30s"),
        f"crd/notifications.{GROUP}",
    )
    token = kubectl(
        cluster.kubeconfig,
        *("create", "token", "gateway", "--namespace", "gateway-system", "--duration", "6h"),
    ).stdout.strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = tmp_path_factory.mktemp("gateway") / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


@pytest.fixture
def gateway(
    cluster: Cluster, account: Path, namespace: str, tmp_path: Path
) -> Iterator[GatewayProcess]:
    """A gateway that may create, get, list and watch Notifications in one namespace."""
    apply(cluster, *role(namespace, "create", "get", "list", "watch"))
    _wait_allowed(cluster, namespace)
    callers = tmp_path / "callers.yaml"
    entries = [
        static(TOKEN, SUBJECT, broadcast=True),
        static(ENTITIES_TOKEN, "external:limited"),
    ]
    write_callers(callers, entries)
    prefix = "NOTIFICATIONS_GATEWAY_"
    gateway = GatewayProcess(
        directory=tmp_path,
        environment={
            "KUBECONFIG": str(account),
            f"{prefix}CALLERS__FILE": str(callers),
            f"{prefix}SENDING__STORE_TIMEOUT": "3",
            f"{prefix}SENDING__ROWS_TIMEOUT": "0",
        },
        namespace=namespace,
    )
    gateway.start()
    yield gateway
    gateway.close()


def _wait_allowed(cluster: Cluster, namespace: str) -> None:
    question = ("auth", "can-i", "create", f"notifications.{GROUP}", "-n", namespace)
    who = "system:serviceaccount:gateway-system:gateway"
    end = time.monotonic() + 30
    while kubectl(cluster.kubeconfig, *question, "--as", who, check=False).stdout.strip() != "yes":
        assert time.monotonic() < end, "the gateway's Role has no effect"
        time.sleep(0.1)


async def test_the_curl_of_the_issue(gateway: GatewayProcess, kubernetes: Kubernetes) -> None:
    """Word for word, but for the host and the token."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--noproxy", "*", "--include"),
        *("-X", "POST", f"http://127.0.0.1:{gateway.port}/api/notifications"),
        *("-H", "Content-Type: application/json", "-H", f"Authorization: Bearer {TOKEN}"),
        "-d",
        '{"recipients":{"type":"broadcast"},"payload":{"title":"Title of broadcast message",'
        '"link":"http://foo.com/bar","severity":"high","topic":"The topic"}}',
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    head, _, content = output.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 ")
    (row,) = json.loads(content)
    assert (row["origin"], row["user"]) == (SUBJECT, None)
    (stored,) = await kubernetes.list("Notification", gateway.namespace)
    assert stored["spec"]["origin"] == SUBJECT
    assert stored["spec"]["payload"] == BROADCAST["payload"]
    assert stored["spec"]["ttlSecondsAfterFinished"] == 86_400
    name = stored["metadata"]["name"]
    assert re.search(rf"^notification-resource: {gateway.namespace}/{name}\r$", head, re.M)


async def test_the_same_key_again(gateway: GatewayProcess, kubernetes: Kubernetes) -> None:
    first = await gateway.post(key="build-17")
    again = await gateway.post(key="build-17")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.headers["Notification-Resource"] == again.headers["Notification-Resource"]
    other = await gateway.post({**BROADCAST, "payload": {"title": "Other"}}, key="build-17")
    assert (other.status_code, other.json()["error"]["name"]) == (422, "UnprocessableError")
    (stored,) = await kubernetes.list("Notification", gateway.namespace)
    assert stored["spec"]["payload"]["title"] == "Title of broadcast message"


async def test_what_is_said_is_stored_unchanged(
    gateway: GatewayProcess, kubernetes: Kubernetes
) -> None:
    payload = {
        "title": "</script>\u202e\u05e9 \U0001f600\r\nBcc: x" + "ä" * 200,
        "description": "x" * 32_768,
        "link": "https://[::1]:8443/a?b=c#d",
        "severity": "low",
        "topic": "t",
        "scope": "s",
        "icon": "i",
        "metadata": {"a": [1, 2.5, {"b": True, "c": None}], "e": "x" * 60_000, "f": {}},
    }
    recipients = {
        "type": "entity",
        "entityRef": ["user:default/ada", "Group:Platform"],
        "excludeEntityRef": "user:bob",
    }
    response = await gateway.post({"recipients": recipients, "payload": payload})
    assert response.status_code == 200, response.text
    (stored,) = await kubernetes.list("Notification", gateway.namespace)
    assert stored["spec"]["payload"] == payload
    assert stored["spec"]["recipients"] == {
        "type": "entity",
        "entityRefs": ["user:default/ada", "Group:Platform"],
        "excludeEntityRef": "user:bob",
    }


async def test_a_token_without_the_right(gateway: GatewayProcess, kubernetes: Kubernetes) -> None:
    response = await gateway.post(token=ENTITIES_TOKEN)
    assert response.status_code == 403
    assert await kubernetes.list("Notification", gateway.namespace) == []


async def test_the_api_server_is_away_and_comes_back(
    gateway: GatewayProcess, cluster: Cluster, kubernetes: Kubernetes
) -> None:
    assert (await gateway.post(key="before")).status_code == 200
    await asyncio.to_thread(cluster.stop_apiserver)
    try:
        response = await gateway.post(key="away")
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
        assert response.json()["error"]["name"] == "ServiceUnavailableError"
        url = f"http://127.0.0.1:{gateway.internal_port}/readyz"
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url)).status_code == 200
    finally:
        await asyncio.to_thread(cluster.start_apiserver)
    end = time.monotonic() + 60
    while (response := await gateway.post(key="away")).status_code != 200:
        assert response.status_code == 503
        assert time.monotonic() < end
    assert (await gateway.post(key="before")).status_code == 200
    assert len(await kubernetes.list("Notification", gateway.namespace)) == 2


async def test_the_api_server_is_killed_under_load(
    gateway: GatewayProcess, cluster: Cluster, kubernetes: Kubernetes
) -> None:
    """Whatever was answered 200 is there, and whatever was repeated is there once."""

    async def send(number: int) -> None:
        while (await gateway.post(key=f"key-{number}")).status_code != 200:
            pass

    sending = [asyncio.create_task(send(number)) for number in range(40)]
    await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(cluster.stop_apiserver)
    await asyncio.to_thread(cluster.start_apiserver)
    async with asyncio.timeout(120):
        await asyncio.gather(*sending)
    assert len(await kubernetes.list("Notification", gateway.namespace)) == 40


async def test_kill_9_right_after_the_answer(
    gateway: GatewayProcess, kubernetes: Kubernetes
) -> None:
    answered: list[str] = []

    async def send(number: int) -> None:
        with contextlib.suppress(httpx.HTTPError):
            response = await gateway.post(key=f"key-{number}")
            assert response.status_code == 200
            answered.append(response.headers["Notification-Resource"].split("/")[1])

    sending = [asyncio.create_task(send(number)) for number in range(40)]
    await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
    gateway.kill()
    await asyncio.gather(*sending)
    stored = {
        body["metadata"]["name"]
        for body in await kubernetes.list("Notification", gateway.namespace)
    }
    assert answered
    assert set(answered) <= stored
    gateway.start()
    await asyncio.gather(*(send(number) for number in range(40)))
    assert len(await kubernetes.list("Notification", gateway.namespace)) == 40


async def test_sigterm_ends_it(gateway: GatewayProcess) -> None:
    assert gateway.stop() == 0
    assert "stopping" in gateway.log.read_text()


async def test_missing_rights_are_no_fault_of_the_caller(
    gateway: GatewayProcess, cluster: Cluster
) -> None:
    apply(cluster, *role(gateway.namespace, "get"))
    end = time.monotonic() + 30
    while (response := await gateway.post()).status_code == 200:
        assert time.monotonic() < end
    assert response.status_code == 503
    assert "cannot create resource" not in response.text
    assert "cannot create resource" in gateway.log.read_text()


async def test_a_namespace_that_is_missing(gateway: GatewayProcess, cluster: Cluster) -> None:
    """RBAC answers before the namespace is looked for."""
    callers = Path(gateway.environment["NOTIFICATIONS_GATEWAY_CALLERS__FILE"])
    write_callers(callers, [static(TOKEN, SUBJECT, broadcast=True, namespace="missing")])
    end = time.monotonic() + 30
    while (response := await gateway.post()).status_code == 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    assert response.status_code == 503


def policy(namespace: str, expression: str, message: str, reason: str) -> list[Object]:
    """Return a policy for one namespace that refuses what does not fit."""
    api = "admissionregistration.k8s.io"
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": namespace},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": namespace}
                    },
                    "resourceRules": [
                        {
                            "apiGroups": [GROUP],
                            "apiVersions": ["*"],
                            "operations": ["CREATE"],
                            "resources": ["notifications"],
                        }
                    ],
                },
                "validations": [{"expression": expression, "message": message, "reason": reason}],
            },
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": namespace},
            "spec": {"policyName": namespace, "validationActions": ["Deny"]},
        },
    ]


@pytest.mark.parametrize(("reason", "status"), [("Forbidden", 403), ("Invalid", 400)])
async def test_a_policy_of_the_cluster(
    gateway: GatewayProcess, cluster: Cluster, reason: str, status: int
) -> None:
    expression = "!object.spec.payload.title.contains('forbidden')"
    documents = policy(gateway.namespace, expression, "titles must be polite", reason)
    apply(cluster, *documents)
    try:
        body = {**BROADCAST, "payload": {"title": "forbidden"}}
        end = time.monotonic() + 60
        while (response := await gateway.post(body)).status_code == 200:
            assert time.monotonic() < end, "the policy has no effect"
            await asyncio.sleep(0.1)
        assert response.status_code == status, response.text
        message = response.json()["error"]["message"]
        assert "titles must be polite" in message
        assert "/apis/" not in message
        assert (await gateway.post()).status_code == 200
    finally:
        kubectl(cluster.kubeconfig, "delete", "-f", "-", stdin=yaml.safe_dump_all(documents))


async def test_the_charts_policy_is_about_the_gateway_itself(
    gateway: GatewayProcess, cluster: Cluster
) -> None:
    """Without the verb set-origin nothing can be sent, whoever sends."""
    documents = policy(gateway.namespace, "!has(object.spec.origin)", "needs the verb", "Forbidden")
    documents[0]["metadata"]["name"] = "verbs.notifications.orchestrator.io"
    documents[1]["spec"]["policyName"] = "verbs.notifications.orchestrator.io"
    apply(cluster, *documents)
    try:
        end = time.monotonic() + 60
        while (response := await gateway.post()).status_code == 200:
            assert time.monotonic() < end, "the policy has no effect"
            await asyncio.sleep(0.1)
        assert response.status_code == 503
        assert "needs the verb" in gateway.log.read_text()
    finally:
        kubectl(cluster.kubeconfig, "delete", "-f", "-", stdin=yaml.safe_dump_all(documents))


async def test_a_quota(gateway: GatewayProcess, cluster: Cluster) -> None:
    apply(
        cluster,
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "inbox", "namespace": gateway.namespace},
            "spec": {"hard": {f"count/notifications.{GROUP}": "3"}},
        },
    )
    end = time.monotonic() + 60
    while (response := await gateway.post()).status_code == 200:
        assert time.monotonic() < end, "the quota has no effect"
        await asyncio.sleep(0.05)
    assert response.status_code == 429, response.text
    assert int(response.headers["Retry-After"]) >= 1


async def test_too_many_unfinished(gateway: GatewayProcess, kubernetes: Kubernetes) -> None:
    gateway.stop()
    gateway.environment["NOTIFICATIONS_GATEWAY_SENDING__MAX_UNFINISHED"] = "5"
    gateway.start()
    codes = [(await gateway.post()).status_code for _ in range(8)]
    # What was created while it was counted may count twice for a moment, but never not at all.
    assert (codes[:4], codes[5:]) == ([200] * 4, [429] * 3)
    while len(await kubernetes.list("Notification", gateway.namespace)) < 5:
        await gateway.post()
    assert (await gateway.post()).status_code == 429
    (first, *_) = await kubernetes.list("Notification", gateway.namespace)
    await kubernetes.patch(
        "Notification",
        first["metadata"]["name"],
        gateway.namespace,
        {"status": {"state": "Delivered"}},
        subresource="status",
    )
    end = time.monotonic() + 30
    while (await gateway.post()).status_code != 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    assert (await gateway.post()).status_code == 429
