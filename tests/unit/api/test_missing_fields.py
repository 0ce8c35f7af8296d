"""The comparison of what the operator writes with what the API server keeps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from notifications_operator.api.notification import Notification
from notifications_operator.api.processor import NotificationProcessor
from notifications_operator.api.resource import KubernetesModel
from notifications_operator.api.schema import missing_fields
from notifications_operator.api.slice import NotificationDeliverySlice

CRDS = Path(__file__).resolve().parents[3] / "crds"


def read_schema(plural: str) -> dict[str, Any]:
    definition = yaml.safe_load((CRDS / f"{plural}.yaml").read_text(encoding="utf-8"))
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return copy.deepcopy(schema)


@pytest.mark.parametrize(
    ("plural", "model"),
    [
        ("notifications", Notification),
        ("notificationprocessors", NotificationProcessor),
        ("notificationdeliveryslices", NotificationDeliverySlice),
    ],
)
def test_our_definitions_lack_nothing(plural: str, model: type[KubernetesModel]) -> None:
    assert missing_fields(model, read_schema(plural)) == []


def test_missing_fields_are_named_in_order() -> None:
    schema = read_schema("notifications")
    status = schema["properties"]["status"]["properties"]
    del status["revision"]
    del status["recipients"]["properties"]["unresolved"]["properties"]["refs"]
    del status["deliveries"]["items"]["properties"]["holder"]
    assert missing_fields(Notification, schema) == [
        "status.revision",
        "status.recipients.unresolved.refs",
        "status.deliveries[].holder",
    ]


def test_kind_without_a_status_is_compared_whole() -> None:
    schema = read_schema("notificationdeliveryslices")
    del schema["properties"]["states"]
    del schema["properties"]["claims"]["items"]["properties"]["holder"]
    assert missing_fields(NotificationDeliverySlice, schema) == ["states", "claims[].holder"]


def test_a_missing_parent_stands_for_its_fields() -> None:
    schema = read_schema("notifications")
    del schema["properties"]["status"]["properties"]["deliveries"]
    assert missing_fields(Notification, schema) == ["status.deliveries"]


def test_what_is_preserved_is_there() -> None:
    schema = read_schema("notifications")
    status = schema["properties"]["status"]
    status["properties"]["deliveries"]["items"] = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    assert missing_fields(Notification, schema) == []
    schema["properties"]["status"] = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    assert missing_fields(Notification, schema) == []


@pytest.mark.parametrize("schema", [{}, {"properties": {}}, {"properties": None}])
def test_a_schema_without_status(schema: dict[str, Any]) -> None:
    assert missing_fields(Notification, schema) == ["status"]


def test_a_schema_that_preserves_everything() -> None:
    assert missing_fields(Notification, {"x-kubernetes-preserve-unknown-fields": True}) == []
