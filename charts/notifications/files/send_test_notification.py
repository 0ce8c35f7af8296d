"""Send one Notification and wait for it (`helm test`): NAMESPACE RECIPIENT TIMEOUT_SECONDS.

The standard library is enough, and leaves the test independent of what it tests.
"""
# ruff: noqa: S310, T201

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API_VERSION = "notifications.orchestrator.io/v1alpha1"
POLL_SECONDS = 1.0


def main(namespace: str, recipient: str, timeout_seconds: float) -> int:
    """Return the exit status: 0 if the Notification was delivered."""
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/notifications"
    try:
        notification = call("POST", path, notification_for(recipient))
        name = notification["metadata"]["name"]
        print(f"created notification {name} for {recipient}", flush=True)
        deadline = time.monotonic() + timeout_seconds
        while not holds(notification, "Complete") and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            notification = call("GET", f"{path}/{name}")
    except urllib.error.HTTPError as error:
        print(f"the API server answered {error.code}: {error.read().decode()}")
        return 1
    if not holds(notification, "Complete"):
        print(f"not complete after {timeout_seconds:g} s: {describe(notification)}")
        return 1
    print(describe(notification))
    return 0 if holds(notification, "Delivered") else 1


def notification_for(recipient: str) -> dict[str, Any]:
    """Return the Notification to create; the operator deletes it an hour after it is finished."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Notification",
        "metadata": {"generateName": "helm-test-"},
        "spec": {
            "recipients": {"type": "entity", "entityRef": recipient},
            "payload": {
                "title": "Test of the notification system",
                "description": "`helm test` sent this. Nothing needs to be done.",
                "severity": "low",
            },
            "ttlSecondsAfterFinished": 3600,
        },
    }


def call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the API server, as the pod's ServiceAccount."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    authority = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{authority}:{os.environ['KUBERNETES_SERVICE_PORT']}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {(CREDENTIALS / 'token').read_text()}",
            "Content-Type": "application/json",
        },
    )
    context = ssl.create_default_context(cafile=str(CREDENTIALS / "ca.crt"))
    # Authorities without key usage or key identifiers are accepted, as by kubectl.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with urllib.request.urlopen(request, timeout=10, context=context) as response:
        result: dict[str, Any] = json.load(response)
    return result


def condition(notification: dict[str, Any], kind: str) -> dict[str, str]:
    """Return one condition; before the operator has written it, an unknown one."""
    for found in notification.get("status", {}).get("conditions", []):
        if found["type"] == kind:
            return dict(found)
    return {"type": kind, "status": "Unknown", "reason": "Pending", "message": ""}


def holds(notification: dict[str, Any], kind: str) -> bool:
    """Return whether a condition is True."""
    return condition(notification, kind)["status"] == "True"


def describe(notification: dict[str, Any]) -> str:
    """Return a line with the state, and why it is not delivered."""
    delivered = condition(notification, "Delivered")
    state = notification.get("status", {}).get("state", "Pending")
    return f"{state}: {delivered['reason']} {delivered['message']}".rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
