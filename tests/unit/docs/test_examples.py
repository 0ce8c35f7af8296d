"""The examples are right: they are what users begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from notifications_operator.api.email import SMTPTransport
from notifications_operator.api.notification import Notification
from notifications_operator.api.processor import NotificationProcessor, NotificationProcessorSpec
from notifications_operator.catalog import (
    Directory,
    EntityRef,
    Resolution,
    Source,
    parse_source,
    resolve,
    resolve_broadcast,
)
from tests.support.helm import SEED_VALUES

EXAMPLES = Path(__file__).parents[3] / "examples"

NOTIFICATIONS = sorted((EXAMPLES / "notifications").glob("*.yaml"))
PROCESSORS = sorted((EXAMPLES / "processors").glob("*.yaml"))
TOKENS = sorted((EXAMPLES / "oauth2").glob("*.yaml"))


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def notification(path: Path) -> Notification:
    """Return the Notification as the API server would store it."""
    document = load(path)
    document["metadata"] |= {
        "namespace": "default",
        "uid": "0",
        "resourceVersion": "1",
        "generation": 1,
    }
    return Notification.model_validate(document)


@pytest.fixture(scope="module")
def directory() -> Directory:
    document = load(EXAMPLES / "catalog.yaml")
    parsed = parse_source(
        Source(
            namespace=document["metadata"]["namespace"],
            name=document["metadata"]["name"],
            uid="0",
            resource_version="1",
            data=document["data"],
        )
    )
    assert [str(problem) for problem in parsed.problems] == []
    return Directory.build([parsed])


def resolved(name: str, directory: Directory) -> Resolution:
    recipients = notification(EXAMPLES / "notifications" / f"{name}.yaml").spec.recipients
    if recipients.type == "broadcast":
        return resolve_broadcast(directory)
    return resolve(
        directory,
        refs=[EntityRef.parse(text) for text in recipients.included],
        exclude=[EntityRef.parse(text) for text in recipients.excluded],
    )


def test_values_are_the_app_config_that_moves_over() -> None:
    assert load(EXAMPLES / "values.yaml") == SEED_VALUES


def test_catalog_is_found_by_its_label() -> None:
    labels = load(EXAMPLES / "catalog.yaml")["metadata"]["labels"]

    assert labels == {"notifications.orchestrator.io/catalog": "true"}


def test_groups_of_the_catalog_form_a_cycle(directory: Directory) -> None:
    platform = EntityRef.parse("group:default/platform")
    on_call = EntityRef.parse("group:default/platform-on-call")

    assert on_call in directory.children_of(platform)
    assert platform in directory.children_of(on_call)


@pytest.mark.parametrize("path", NOTIFICATIONS, ids=lambda path: path.stem)
def test_notification_is_valid_and_goes_where_it_is_applied(path: Path) -> None:
    assert notification(path).spec.payload.title
    assert "namespace" not in load(path)["metadata"]


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("one-user", ["ada.lovelace"]),
        ("group", ["ada.lovelace", "grace.hopper"]),
        ("component-owner", ["barbara.liskov", "edsger.dijkstra"]),
        (
            "broadcast",
            ["ada.lovelace", "alan.turing", "barbara.liskov", "edsger.dijkstra", "grace.hopper"],
        ),
        (
            "critical",
            ["ada.lovelace", "alan.turing", "barbara.liskov", "edsger.dijkstra", "grace.hopper"],
        ),
    ],
)
def test_notification_reaches(name: str, users: list[str], directory: Directory) -> None:
    resolution = resolved(name, directory)

    assert [user.ref.name for user in resolution.users] == users
    assert resolution.unresolved == ()


@pytest.mark.parametrize("path", PROCESSORS, ids=lambda path: path.stem)
def test_processors_are_what_they_are_called(path: Path) -> None:
    processor = NotificationProcessor.model_validate(load(path))
    assert processor.spec.type == processor.metadata.name == path.stem


@pytest.mark.parametrize("path", TOKENS, ids=lambda path: path.stem)
def test_values_with_access_tokens_are_valid(path: Path) -> None:
    email = load(path)["notifications"]["processors"]["email"]
    spec = NotificationProcessorSpec.model_validate({"type": "email", "email": email})

    assert spec.email is not None and isinstance(spec.email.transport_config, SMTPTransport)
    assert spec.email.transport_config.oauth2 is not None
