"""What must hold for everything the chart renders, whatever the values."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.support.helm import SEED_VALUES, Document, Helm, HelmError, documents
from tests.unit.chart.cases import CASES, Case

KUBERNETES = "1.37"
REPOSITORY = Path(__file__).parents[3]
NAMESPACE = "notifications-system"
NOT_IN_KUBERNETES = {"HTTPRoute", "NotificationProcessor", "PrometheusRule", "ServiceMonitor"}
CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
WITH_PASSWORD = [
    name
    for name, case in CASES.items()
    if case.values.get("notifications") == SEED_VALUES["notifications"]
]
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)

Rendering = Callable[[str], list[Document]]


@pytest.fixture(scope="module")
def manifests() -> dict[str, str]:
    return {}


@pytest.fixture
def manifest(helm: Helm, manifests: dict[str, str]) -> Callable[[str], str]:
    def render(name: str) -> str:
        if name not in manifests:
            case: Case = CASES[name]
            manifests[name] = helm.template(
                *case.arguments, values=case.values, release=case.release
            )
        return manifests[name]

    return render


@pytest.fixture
def rendering(manifest: Callable[[str], str]) -> Rendering:
    return lambda name: documents(manifest(name))


def pod_specs(rendered: list[Document]) -> Iterator[Document]:
    for document in rendered:
        match document["kind"]:
            case "Deployment":
                yield document["spec"]["template"]["spec"]
            case "Pod":
                yield document["spec"]


COMPONENT = "app.kubernetes.io/component"


def pod_labels(rendered: list[Document]) -> Iterator[dict[str, str]]:
    for document in rendered:
        if document["kind"] in {"Deployment", "Pod"}:
            template = document["spec"].get("template", document)
            yield dict(template["metadata"]["labels"])


def selectors(rendered: list[Document]) -> Iterator[tuple[str, dict[str, str]]]:
    for document in rendered:
        spec = document.get("spec", {})
        match document["kind"]:
            case "Deployment" | "PodDisruptionBudget":
                yield document["kind"], spec["selector"]["matchLabels"]
            case "NetworkPolicy":
                yield document["kind"], spec["podSelector"]["matchLabels"]
            case "Service":
                yield document["kind"], spec["selector"]


def closed(schema: Any) -> Any:
    """Return a definition's schema as the API server takes it: unknown fields are an error.

    What ``allOf`` says of some fields does not forbid the others.
    """
    match schema:
        case {"properties": properties, **rest} if "additionalProperties" not in rest:
            result = dict(rest)
            result["properties"] = {key: closed(value) for key, value in properties.items()}
            return result | {"additionalProperties": False}
        case {"items": items, **rest}:
            return {**rest, "items": closed(items)}
    return schema


def processor_schema() -> Document:
    definition = yaml.safe_load((REPOSITORY / "crds/notificationprocessors.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec: Document = closed(schema["properties"]["spec"])
    return spec


@pytest.mark.parametrize("name", CASES)
def test_is_valid(name: str, rendering: Rendering) -> None:
    for document in rendering(name):
        if document["kind"] == "NotificationProcessor":
            jsonschema.validate(document["spec"], processor_schema(), jsonschema.Draft4Validator)
        elif document["kind"] not in NOT_IN_KUBERNETES:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", CASES)
def test_names_labels_and_namespaces_are_valid(name: str, rendering: Rendering) -> None:
    case = CASES[name]
    inbox = case.release[:57].rstrip("-") + "-inbox"
    elsewhere = set(case.values.get("catalog", {}).get("namespaces", []))
    elsewhere |= {"monitoring", "posted", "team-a", inbox, "kube-system", "mail-election"}
    seen = set()
    for document in rendering(name):
        kind, metadata = document["kind"], document["metadata"]
        pattern = DNS_LABEL if kind in {"Service", "Pod"} else DNS_SUBDOMAIN
        assert pattern.fullmatch(metadata["name"]), (kind, metadata["name"])
        assert ("namespace" in metadata) != (kind in CLUSTER_SCOPED), kind
        assert metadata.get("namespace", NAMESPACE) in {NAMESPACE} | elsewhere
        identity = (kind, metadata.get("namespace"), metadata["name"])
        assert identity not in seen
        seen.add(identity)
        labels = [metadata.get("labels", {})]
        if kind == "Deployment":
            labels.append(document["spec"]["template"]["metadata"]["labels"])
        for value in [value for found in labels for value in found.values()]:
            assert LABEL_VALUE.fullmatch(value), (kind, value)


@pytest.mark.parametrize("name", CASES)
def test_selectors_are_one_components_pods_and_nobody_elses(
    name: str, rendering: Rendering
) -> None:
    rendered = rendering(name)
    pods = list(pod_labels(rendered))
    found = list(selectors(rendered))
    assert any(kind == "Deployment" for kind, _ in found)
    for kind, selector in found:
        chosen = [labels[COMPONENT] for labels in pods if selector.items() <= labels.items()]
        assert chosen == [selector[COMPONENT]], kind


@pytest.mark.parametrize("name", CASES)
def test_pods_are_hardened(name: str, rendering: Rendering) -> None:
    """The restricted profile of the Pod Security Standards, and a read-only root."""
    for spec in pod_specs(rendering(name)):
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] == pod["runAsGroup"] == 65532
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("name", CASES)
def test_rights_are_named_one_by_one(name: str, rendering: Rendering) -> None:
    for document in rendering(name):
        for rule in document.get("rules", []):
            for values in rule.values():
                assert "*" not in values
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            if "secrets" in rule["resources"]:
                assert document["kind"] == "Role"
                assert document["metadata"]["namespace"] == NAMESPACE
                assert rule["verbs"] == ["get"]
            assert "aggregationRule" not in document
            labels = document["metadata"]["labels"]
            assert not [label for label in labels if "aggregate-to" in label]


@pytest.mark.parametrize("name", WITH_PASSWORD)
def test_a_password_is_in_the_secret_only(name: str, manifest: Callable[[str], str]) -> None:
    rendered = manifest(name)
    password = SEED_VALUES["notifications"]["processors"]["email"]["transportConfig"]["password"]
    encoded = base64.b64encode(password.encode()).decode()
    holders = [document for document in documents(rendered) if encoded in yaml.dump(document)]
    assert [holder["kind"] for holder in holders] == ["Secret"]
    assert rendered.count(encoded) == 1
    assert password not in rendered


def test_two_releases_in_a_namespace_share_no_name_but_what_must_be_one(helm: Helm) -> None:
    def identities(release: str) -> set[tuple[str, str]]:
        rendered = documents(helm.template(values=SEED_VALUES, release=release))
        return {(document["kind"], document["metadata"]["name"]) for document in rendered}

    first, second = (identities("a" * 52 + end) for end in "xy")
    # Helm refuses a second release on these: two operators would send everything twice.
    assert first & second == {
        ("NotificationProcessor", "email"),
        ("ValidatingAdmissionPolicy", "verbs.notifications.orchestrator.io"),
        ("ValidatingAdmissionPolicyBinding", "verbs.notifications.orchestrator.io"),
    }


def test_passes_strict_lint(helm: Helm) -> None:
    for values in ({}, SEED_VALUES):
        helm.run("lint", "--strict", str(REPOSITORY / "charts/notifications"), values=values)


def test_is_refused_on_an_old_cluster(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"requires kubeVersion: >=1\.31"):
        helm.template("--kube-version", "1.30.0")
