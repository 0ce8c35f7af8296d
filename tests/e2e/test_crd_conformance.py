"""A real API server judges the conformance table's documents as the table and the models do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from pydantic.fields import FieldInfo

from hack.cluster import Cluster
from notifications_operator.api.notification import Notification
from notifications_operator.api.processor import NotificationProcessor
from notifications_operator.api.resource import GROUP, VERSION, KubernetesModel
from notifications_operator.api.schema import missing_fields, nested_models
from tests.support.conformance import Case, load_cases
from tests.support.installation import kubectl

pytestmark = pytest.mark.cluster

CRDS = Path(__file__).resolve().parents[2] / "crds"

MODELS: dict[str, type[Notification | NotificationProcessor]] = {
    "Notification": Notification,
    "NotificationProcessor": NotificationProcessor,
}


@pytest.fixture(scope="module")
def crd_cluster(cluster: Cluster) -> Cluster:
    """A cluster with the definitions, whoever installed them. Everything here is a dry run."""
    installed = kubectl(cluster.kubeconfig, "get", "--filename", str(CRDS), check=False)
    if installed.returncode != 0:
        kubectl(cluster.kubeconfig, "apply", "--server-side", "--filename", str(CRDS))
    established = ("--for=condition=Established", "--timeout=30s", "--filename", str(CRDS))
    kubectl(cluster.kubeconfig, "wait", *established)
    return cluster


@pytest.fixture(scope="module")
def api_client(crd_cluster: Cluster) -> Iterator[client.ApiClient]:
    """The administrator's client."""
    api_client = config.new_client_from_config(config_file=str(crd_cluster.kubeconfig))
    yield api_client
    api_client.close()


@pytest.fixture(scope="module")
def resources(api_client: client.ApiClient) -> client.CustomObjectsApi:
    return client.CustomObjectsApi(api_client)


@pytest.fixture
def create(resources: client.CustomObjectsApi) -> Callable[[Case], dict[str, Any]]:
    """Create without effect, refusing unknown fields as kubectl does."""

    def create(case: Case) -> dict[str, Any]:
        created: dict[str, Any] = resources.create_namespaced_custom_object(
            GROUP,
            VERSION,
            "default",
            case.plural,
            case.manifest,
            dry_run="All",
            field_validation="Strict",
        )
        return created

    return create


@pytest.mark.parametrize(
    "case", [case for case in load_cases() if case.accepted], ids=lambda case: case.id
)
def test_accepted_and_understood_alike(
    case: Case, create: Callable[[Case], dict[str, Any]]
) -> None:
    created = create(case)
    if case.model_accepts:
        model = MODELS[case.kind]
        stored, written = model.model_validate(created), model.model_validate(case.manifest)
        assert stored.spec == written.spec, "defaults and nulls mean the same to both"
        assert stored.status == written.status


@pytest.mark.parametrize(
    "case", [case for case in load_cases() if not case.accepted], ids=lambda case: case.id
)
def test_refused_with_a_message(case: Case, create: Callable[[Case], dict[str, Any]]) -> None:
    with pytest.raises(client.ApiException) as caught:
        create(case)
    assert caught.value.status in (400, 422)
    message = json.loads(caught.value.body)["message"]
    for fragment in case.messages:
        assert fragment in message
    if case.hides is not None:
        assert case.hides not in message


@pytest.mark.parametrize("kind", [Notification, NotificationProcessor])
def test_installed_definition_knows_every_status_field(
    kind: type[Notification | NotificationProcessor], api_client: client.ApiClient
) -> None:
    plural = f"{kind.__name__.lower()}s.{GROUP}"
    definition = client.CustomObjectsApi(api_client).get_cluster_custom_object(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", plural
    )
    (version,) = definition["spec"]["versions"]
    assert missing_fields(kind, version["schema"]["openAPIV3Schema"]) == []
    conditions = {item["type"]: item["status"] for item in definition["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("kind", [Notification, NotificationProcessor])
def test_the_fullest_status_is_stored_whole(
    kind: type[Notification | NotificationProcessor], resources: client.CustomObjectsApi
) -> None:
    """No field is pruned, and no text is too long once it is cut.

    The object is real, because a status cannot be written in a dry run of its creation. It is
    suspended and for nobody, and judged by the answer to the write, whoever else writes.
    """
    group = {"Notification": "notification-options", "NotificationProcessor": "processor-spec"}
    case = next(c for c in load_cases() if c.accepted and c.group == group[kind.__name__])
    body = {**case.manifest, "metadata": {"generateName": "conformance-"}}
    body["spec"] = {**case.spec, "suspend": True}
    if kind is Notification:
        body["spec"]["recipients"] = {"type": "entity", "entityRef": "user:conformance/nobody"}
    where = (GROUP, VERSION, "default", case.plural)
    name = resources.create_namespaced_custom_object(*where, body)["metadata"]["name"]
    try:
        (status_model,) = nested_models(kind.model_fields["status"].annotation)
        wire = status_model.model_validate(fill(status_model)).to_wire()
        written = resources.patch_namespaced_custom_object_status(*where, name, {"status": wire})
        assert written["status"] == wire
    finally:
        resources.delete_namespaced_custom_object(*where, name)


def fill(model: type[KubernetesModel]) -> dict[str, Any]:
    """Return values for every field of a model, texts longer than any bound that cuts them."""
    return {name: _fill_field(field) for name, field in model.model_fields.items()}


def _fill_field(field: FieldInfo) -> Any:
    annotation = str(field.annotation)
    nested = [fill(model) for model in nested_models(field.annotation)]
    for kind, value in (
        ("NotificationState", "Delivered"),
        ("DeliveryState", "Sent"),
        ("Literal['Inline']", "Inline"),
        ("datetime", "2030-01-31T18:00:00Z"),
        ("int", 2**31 - 1),
    ):
        if not nested and kind in annotation:
            return value
    cut = "Cut(" in f"{annotation}{field.metadata}"
    scalar = nested[0] if nested else "é" * (50_000 if cut else 16)
    return [scalar] if "list[" in annotation else scalar


def test_a_new_notification_is_pending_before_the_operator_was_there(
    create: Callable[[Case], dict[str, Any]],
) -> None:
    created = create(next(case for case in load_cases() if case.id.endswith(": a broadcast")))
    assert created["status"] == {"observedGeneration": -1, "state": "Pending"}


@pytest.mark.parametrize("field", ["status.state", "spec.payload.severity"])
def test_selectable_fields(field: str, resources: client.CustomObjectsApi) -> None:
    listed = resources.list_namespaced_custom_object(
        GROUP, VERSION, "default", "notifications", field_selector=f"{field}=Nothing"
    )
    assert listed["items"] == []


def test_other_fields_are_not_selectable(resources: client.CustomObjectsApi) -> None:
    with pytest.raises(client.ApiException, match="field label not supported"):
        resources.list_namespaced_custom_object(
            GROUP, VERSION, "default", "notifications", field_selector="spec.payload.title=Hello"
        )


@pytest.mark.parametrize(
    ("resource", "columns", "wide"),
    [
        (
            "notifications",
            ["Name", "Severity", "State", "Delivered", "Reason", "Age"],
            ["Topic", "Scope", "Origin"],
        ),
        (
            "notificationprocessors",
            ["Name", "Type", "Ready", "Reason", "Age"],
            ["Channel", "Last Success"],
        ),
    ],
)
def test_columns(
    resource: str, columns: list[str], wide: list[str], api_client: client.ApiClient
) -> None:
    response = api_client.rest_client.request(
        "GET",
        f"{api_client.configuration.host}/apis/{GROUP}/{VERSION}/{resource}",
        headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    )
    shown = json.loads(response.read())["columnDefinitions"]
    assert [column["name"] for column in shown if column["priority"] == 0] == columns
    assert [column["name"] for column in shown if column["priority"] == 1] == wide


@pytest.mark.parametrize("short_name", ["ntf", "ntfp"])
def test_kubectl_explains_by_short_name(
    short_name: str, crd_cluster: Cluster, tmp_path: Path
) -> None:
    deadline = time.monotonic() + 30
    while True:
        # A fresh cache, because kubectl remembers the kinds of before the installation.
        cache = f"--cache-dir={tmp_path / str(time.monotonic())}"
        explained = kubectl(
            crd_cluster.kubeconfig, "explain", f"{short_name}.spec", cache, check=False
        )
        if explained.returncode == 0 or time.monotonic() > deadline:
            break
    assert "FIELDS:" in explained.stdout, explained.stderr
