"""What happens to finished Notifications, and what the operator tells of itself."""

from __future__ import annotations

import urllib.request

import pytest

from tests.support.installation import Installation
from tests.support.kubernetes import Kubernetes, complete, notification
from tests.support.mail import Catcher

pytestmark = pytest.mark.cluster


async def test_a_finished_notification_is_deleted_when_its_time_is_over(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    await kubernetes.create(
        notification("brief", namespace, "user:default/ada", title=title, ttlSecondsAfterFinished=1)
    )
    await kubernetes.wait_gone("Notification", "brief", namespace)
    assert catcher.recipients(title) == ["ada@example.com"]


async def test_what_git_would_create_again_is_kept(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    """Deleted, it would come back with the next sync, and be sent again, for ever."""
    tracked = notification(
        "tracked", namespace, "user:default/ada", title=title, ttlSecondsAfterFinished=0
    )
    tracked["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "app:x/y:ns/tracked"}
    await kubernetes.create(tracked)
    body = await kubernetes.wait("Notification", "tracked", namespace, complete)
    assert "TTLIgnored: Argo CD" in str(body["status"]["conditions"])
    hook = notification(
        "hook", namespace, "user:default/ada", title=title, ttlSecondsAfterFinished=0
    )
    hook["metadata"]["annotations"] = {
        "argocd.argoproj.io/tracking-id": "app:x/y:ns/hook",
        "argocd.argoproj.io/hook": "PostSync",
    }
    await kubernetes.create(hook)
    await kubernetes.wait_gone("Notification", "hook", namespace)
    assert await kubernetes.get("Notification", "tracked", namespace)


async def test_metrics_tell_results_and_never_recipients(
    kubernetes: Kubernetes, namespace: str, title: str, installation: Installation
) -> None:
    refs = ("user:default/ada", "user:default/silent")
    await kubernetes.create(notification("counted", namespace, *refs, title=title))
    await kubernetes.wait("Notification", "counted", namespace, complete)
    with urllib.request.urlopen(f"http://127.0.0.1:{installation.port}/metrics") as answer:
        text = answer.read().decode()
    assert 'notifications_deliveries_total{processor="email",reason="",state="Sent"}' in text
    assert 'reason="NoAddress",state="Skipped"' in text
    assert 'notifications_processor_ready{processor="email"} 1.0' in text
    assert "default/ada" not in text and "default/silent" not in text
    assert "@example.com" not in text


async def test_logs_are_json_and_never_name_the_password(
    kubernetes: Kubernetes, namespace: str, title: str, installation: Installation
) -> None:
    await kubernetes.create(notification("logged", namespace, "user:default/ada", title=title))
    await kubernetes.wait("Notification", "logged", namespace, complete)
    lines = installation.log.read_text().splitlines()
    assert lines and all(line.startswith('{"timestamp": ') for line in lines), [
        line for line in lines if not line.startswith('{"timestamp": ')
    ]
    assert "my-password" not in installation.log.read_text()
