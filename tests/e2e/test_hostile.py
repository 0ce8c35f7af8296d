"""Hostile strings in every field, and guarded things that a tenant tries."""

from __future__ import annotations

import pytest

from tests.support.installation import Installation
from tests.support.kubernetes import APIError, Kubernetes, complete, notification
from tests.support.mail import Catcher

pytestmark = pytest.mark.cluster

HOSTILE = (
    "\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>"
    "\u202e{{7*7}}\x00 \U0001f600'\"%s$(id)"
)


async def test_hostile_strings_in_every_field_are_only_text(
    kubernetes: Kubernetes,
    namespace: str,
    catcher: Catcher,
    title: str,
    installation: Installation,
) -> None:
    manifest = notification(
        "hostile",
        namespace,
        "user:default/ada",
        title=title[:100] + HOSTILE,
        payload={
            "description": HOSTILE * 50,
            "topic": HOSTILE[:200],
            "scope": HOSTILE[:200],
            "icon": HOSTILE[:200],
            "metadata": {HOSTILE: HOSTILE, "backstage.io/body.markdown": HOSTILE},
        },
    )
    await kubernetes.create(manifest)
    body = await kubernetes.wait("Notification", "hostile", namespace, complete)
    assert body["status"]["state"] == "Delivered"
    (mail,) = catcher.mails(title[:100])
    assert mail["rcptTo"] == ["ada@example.com"]
    assert "\n" not in mail["subject"] and "\u202e" not in mail["subject"]
    names = {name.lower() for name, _ in mail["headers"]}
    assert "bcc" not in names
    assert "<script>" not in mail["html"]
    assert "49" not in mail["subject"]


async def test_too_much_metadata_is_refused_by_name(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    payload = {"metadata": {"blob": "x" * 70_000}}
    await kubernetes.create(
        notification("fat", namespace, "user:default/ada", title=title, payload=payload)
    )
    body = await kubernetes.wait("Notification", "fat", namespace, complete)
    assert (body["status"]["state"], body["status"]["reason"]) == ("Failed", "TooLarge")
    assert "metadata" in str(body["status"]["conditions"])
    assert catcher.mails(title) == []


async def test_limits_of_a_namespace_are_kept(
    kubernetes: Kubernetes, catcher: Catcher, title: str, installation: Installation
) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "limited"}}
    await kubernetes.create(namespace)
    try:
        await kubernetes.create(notification("many", "limited", "group:default/root", title=title))
        body = await kubernetes.wait("Notification", "many", "limited", complete)
        assert (body["status"]["state"], body["status"]["reason"]) == ("Failed", "PolicyDenied")
        assert "limits.maxRecipients" in str(body["status"]["conditions"])
        assert catcher.mails(title) == []
    finally:
        await kubernetes.delete("Namespace", "limited")


async def test_origin_is_honoured_in_trusted_namespaces_only(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    await kubernetes.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "trusted"}}
    )
    try:
        for where in ("trusted", namespace):
            await kubernetes.create(
                notification(
                    "origin",
                    where,
                    "user:default/ada",
                    title=f"{title} {where}",
                    origin="plugin:scaffolder",
                )
            )
            await kubernetes.wait("Notification", "origin", where, complete)
        trusted = await kubernetes.get("Notification", "origin", "trusted")
        other = await kubernetes.get("Notification", "origin", namespace)
        assert trusted["status"]["origin"] == "plugin:scaffolder"
        assert other["status"]["origin"] == f"namespace:{namespace}"
        assert "spec.origin is ignored" in str(other["status"]["conditions"])
        assert "plugin:scaffolder" in catcher.mails(f"{title} trusted")[0]["text"]
    finally:
        await kubernetes.delete("Namespace", "trusted")


async def test_a_dry_run_sends_nothing(
    kubernetes: Kubernetes, namespace: str, catcher: Catcher, title: str, installation: Installation
) -> None:
    manifest = notification("dry", namespace, "user:default/ada", title=title)
    answer = await kubernetes.create(manifest, dry_run=True)
    assert answer["status"] == {"observedGeneration": -1, "state": "Pending"}
    with pytest.raises(APIError):
        await kubernetes.get("Notification", "dry", namespace)
    await kubernetes.create(
        notification("real", namespace, "user:default/grace", title=f"{title} real")
    )
    await kubernetes.wait("Notification", "real", namespace, complete)
    assert catcher.recipients(title) == ["grace@example.com"]
