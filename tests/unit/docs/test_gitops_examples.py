"""The GitOps examples: valid as far as our own kinds go, and the same as what is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from notifications_operator.api.notification import Notification, NotificationState
from notifications_operator.delivery.storage.trackers import ttl_note
from tests.support.argocd import script

ROOT = Path(__file__).parents[3]
GITOPS = ROOT / "examples" / "gitops"
KINDS = ("Notification", "NotificationProcessor")
ARGOCD = sorted(set((GITOPS / "argocd").glob("*.yaml")) - {GITOPS / "argocd" / "argocd-cm.yaml"})
FLUX = sorted((GITOPS / "flux").glob("*.yaml"))


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def notification(path: Path) -> Notification:
    document = load(path)
    metadata = document["metadata"]
    metadata.setdefault("name", f"{metadata.get('generateName', '')}x")
    metadata |= {"namespace": "default", "uid": "0", "resourceVersion": "1", "generation": 1}
    return Notification.model_validate(document)


def test_config_map_holds_the_scripts_that_are_tested() -> None:
    data = load(GITOPS / "argocd" / "argocd-cm.yaml")["data"]
    prefix = "resource.customizations.health.notifications.orchestrator.io_"
    assert data == {f"{prefix}{kind}": script(kind).read_text() for kind in KINDS}


@pytest.mark.parametrize("path", ARGOCD, ids=lambda path: path.stem)
def test_notification_for_argocd(path: Path) -> None:
    found = notification(path)
    assert found.spec.payload.title
    # Only hooks may be cleaned up by a TTL; with a fixed name a hook would be sent only once.
    hook = "argocd.argoproj.io/hook" in found.metadata.annotations
    assert ttl_note(found) is None
    assert hook is (found.spec.ttl_seconds_after_finished is not None)
    assert hook is ("generateName" in load(path)["metadata"])


@pytest.mark.parametrize("path", FLUX, ids=lambda path: path.stem)
def test_kustomization_for_flux(path: Path) -> None:
    document = load(path)
    assert document["apiVersion"] == "kustomize.toolkit.fluxcd.io/v1"
    assert document["spec"]["wait"] is True
    for check in document["spec"].get("healthCheckExprs", ()):
        assert check["apiVersion"] == "notifications.orchestrator.io/v1alpha1"
        assert check["kind"] == "Notification"
        assert {"current", "failed", "inProgress"} <= check.keys()


def test_every_state_is_in_the_table() -> None:
    table = (ROOT / "docs" / "gitops.md").read_text().partition("\n## ")[0]
    for state in NotificationState:
        assert f"`{state}`" in table


def test_every_example_is_spoken_of() -> None:
    text = (ROOT / "docs" / "gitops.md").read_text()
    for path in (*ARGOCD, *FLUX, GITOPS / "argocd" / "argocd-cm.yaml"):
        assert str(path.relative_to(ROOT)) in text
