"""Policies of a cluster that forbid what a Notification needs, and objects nested too deeply."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import yaml

from tests.support.installation import AddProcessor, Installation, kubectl
from tests.support.kubernetes import APIError, Kubernetes, Object, complete, notification
from tests.support.smtp import SMTPPeer

pytestmark = pytest.mark.cluster

GROUP = "notifications.orchestrator.io"
ADDRESSES = [f"u{number:03}@example.com" for number in range(150)]


def policy(namespace: str, resources: str, reason: str | None) -> list[Object]:
    """Return a policy that forbids a kind of objects in one namespace."""
    api = "admissionregistration.k8s.io"
    validation = {"expression": "false", "message": "label it with a team"}
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": namespace},
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": namespace}
                    },
                    "resourceRules": [
                        {
                            "apiGroups": [GROUP],
                            "apiVersions": ["*"],
                            "operations": ["CREATE", "UPDATE"],
                            "resources": [resources],
                        }
                    ],
                },
                "validations": [{**validation, "reason": reason} if reason else validation],
            },
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": namespace},
            "spec": {"policyName": namespace, "validationActions": ["Deny"]},
        },
    ]


async def until_enforced(kubernetes: Kubernetes, namespace: str) -> None:
    """Wait for the policy, which has an effect some seconds after it is there."""
    probe = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "NotificationDeliverySlice",
        "metadata": {"name": "probe", "namespace": namespace},
        "processor": "email",
        "index": 0,
        "observedGeneration": 1,
        "revision": 1,
        "openedTime": "2026-01-01T00:00:00Z",
        "recipients": ["user:default/ada"],
        "states": "P",
    }
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            await kubernetes.create(probe, dry_run=True)
        except APIError as error:
            assert "label it with a team" in str(error), error
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the policy is not in force")


async def broadcaster(add_processor: AddProcessor, peer: SMTPPeer) -> str:
    return await add_processor(
        {"transport": "smtp", "hostname": "127.0.0.1", "port": peer.port},
        email={
            "broadcastConfig": {"receiver": "config", "receiverEmails": ADDRESSES},
            "throttleInterval": {"milliseconds": 0},
        },
    )


def recorded(body: Object) -> Object | None:
    conditions = body.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == "Recorded"), None)


@pytest.mark.parametrize("reason", ["Forbidden", None], ids=["403", "422"])
async def test_a_policy_that_forbids_slices_is_said_and_waited_for(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
    reason: str | None,
) -> None:
    kubeconfig = installation.cluster.kubeconfig
    documents = yaml.safe_dump_all(policy(namespace, "notificationdeliveryslices", reason))
    async with SMTPPeer() as peer:
        processor = await broadcaster(add_processor, peer)
        kubectl(kubeconfig, "apply", "-f", "-", stdin=documents)
        try:
            await until_enforced(kubernetes, namespace)
            await kubernetes.create(
                notification("many", namespace, title=title, processors=[processor])
            )
            body = await kubernetes.wait(
                "Notification", "many", namespace, lambda item: recorded(item) is not None
            )
        finally:
            kubectl(kubeconfig, "delete", "-f", "-", stdin=documents)
        assert body["status"]["reason"] == "PolicyDenied"
        said = recorded(body)
        assert said is not None and said["status"] == "False"
        assert "label it with a team" in said["message"]
        body = await kubernetes.wait("Notification", "many", namespace, complete, seconds=120)
        assert body["status"]["summary"] == "150/150"
        assert recorded(body) is None
        assert len(peer.ledger.messages) == 150


async def test_metadata_nested_too_deeply_end_that_notification_alone(
    kubernetes: Kubernetes,
    namespace: str,
    title: str,
    installation: Installation,
    add_processor: AddProcessor,
) -> None:
    kubeconfig = installation.cluster.kubeconfig
    deep = '{"a":' * 1_500 + "1" + "}" * 1_500
    async with SMTPPeer() as peer:
        processor = await broadcaster(add_processor, peer)
        manifest = notification("deep", namespace, title=title, processors=[processor])
        manifest["spec"]["payload"]["metadata"] = "DEEP"
        text = json.dumps(manifest).replace('"DEEP"', deep)
        kubectl(kubeconfig, "create", "-f", "-", stdin=text)
        await kubernetes.create(
            notification("flat", namespace, title=title, processors=[processor])
        )
        await kubernetes.wait("Notification", "flat", namespace, complete, seconds=60)
        assert len(peer.ledger.messages) == 150
        path = "jsonpath={.status.state} {.status.reason}"
        end = time.monotonic() + 30
        while (
            shown := kubectl(kubeconfig, "get", "ntf", "deep", "-n", namespace, "-o", path).stdout
        ) != "Failed TooLarge":
            assert time.monotonic() < end, shown
            await asyncio.sleep(0.2)
        kubectl(kubeconfig, "delete", "ntf", "deep", "-n", namespace)
