"""What the models do beside validating: nulls, cutting, later releases' fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from notifications_operator.api.conditions import (
    MESSAGE_LIMIT,
    ConditionType,
    condition,
    find_condition,
    merge_conditions,
)
from notifications_operator.api.notification import (
    REDELIVER_ANNOTATION,
    REDELIVER_LIMIT,
    Delivery,
    DeliveryState,
    Notification,
    NotificationStatus,
)
from notifications_operator.api.processor import NotificationProcessor
from notifications_operator.api.resource import ObjectMeta

NOW = datetime(2026, 11, 23, 8, 0, 0, 999999, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def notification(**fields: Any) -> Notification:
    body = {
        "metadata": {"name": "a"},
        "spec": {"recipients": {"type": "broadcast"}, "payload": {"title": "Hello"}},
    }
    return Notification.model_validate({**body, **fields})


def processor(transport: dict[str, Any], **spec: Any) -> NotificationProcessor:
    email = {"sender": "a@example.com", "transportConfig": transport}
    return NotificationProcessor.model_validate(
        {"metadata": {"name": "a"}, "spec": {"type": "email", "email": email, **spec}}
    )


def test_nulls_count_as_absent_but_not_in_free_form_fields() -> None:
    read = notification(
        metadata={"name": "a", "labels": None, "annotations": None, "deletionTimestamp": None},
        spec={
            "recipients": {"type": "broadcast", "entityRefs": None},
            "payload": {"title": "Hello", "severity": None, "metadata": {"a": None}},
        },
        status=None,
    )
    assert read.metadata.labels == {}
    assert read.spec.payload.metadata == {"a": None}
    assert "severity" not in read.spec.payload.model_fields_set
    assert read.status == NotificationStatus()


def test_fields_of_later_releases_are_ignored() -> None:
    read = notification(status={"state": "Delivered", "inventedLater": {"x": 1}})
    assert read.status.state == "Delivered"
    assert "inventedLater" not in read.status.to_wire()


def test_status_texts_are_cut_when_written_and_kept_when_read() -> None:
    row = Delivery(
        processor="email",
        recipient="user:default/ada",
        state=DeliveryState.FAILED,
        reason="r" * 500,
        message="é" * 5000,
        holder="h" * 5000,
    )
    assert row.message == "é" * 5000
    wire = row.to_wire()
    assert wire["message"] == "é" * 1024
    assert wire["reason"] == "r" * 128
    assert wire["holder"] == "h" * 512
    assert row.model_copy(update={"message": "m" * 5000}).to_wire()["message"] == "m" * 1024


def test_what_identifies_a_row_is_never_cut() -> None:
    row = Delivery(processor="p" * 5000, recipient="r" * 5000, state=DeliveryState.PENDING)
    assert (row.to_wire()["processor"], row.to_wire()["recipient"]) == row.key


def test_a_long_redeliver_annotation_is_handled_once() -> None:
    """What is recorded equals what is asked for, however long the annotation is."""
    value = "x" * (REDELIVER_LIMIT + 1)
    asked = notification(metadata={"name": "a", "annotations": {REDELIVER_ANNOTATION: value}})
    written = NotificationStatus(last_redeliver=asked.redeliver).to_wire()
    assert written["lastRedeliver"] == asked.redeliver
    written = NotificationStatus(last_redeliver=value).to_wire()
    assert written["lastRedeliver"] == asked.redeliver


@pytest.mark.parametrize("text", ["2999-12-31T23:59:59.999999999-23:59", "2000-01-01T00:00:00Z"])
def test_moments_at_the_bounds_can_be_written(text: str) -> None:
    read = notification(status={"startTime": text})
    assert read.status.to_wire()["startTime"].endswith("Z")


def test_moments_are_written_in_whole_seconds() -> None:
    assert NotificationStatus(start_time=NOW).to_wire()["startTime"] == "2026-11-23T08:00:00Z"


@pytest.mark.parametrize("text", ["1900000000", "2030-01-31", "2030-01-31T18:00:00", "now", "", 5])
def test_no_moments(text: object) -> None:
    with pytest.raises(ValidationError, match="write RFC 3339"):
        ObjectMeta.model_validate({"name": "a", "creationTimestamp": text})


def test_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValidationError) as caught:
        processor({"transport": "smtp", "hostname": "h", "port": 25, "password": "hunter2"})
    (problem,) = caught.value.errors()
    assert "under the keys username and password" in problem["msg"]
    assert "hunter2" not in problem["msg"]


def test_fields_of_another_transport_are_named() -> None:
    with pytest.raises(ValidationError, match="hostname, port belong to another transport"):
        processor({"transport": "sendmail", "hostname": "h", "port": 25})


@pytest.mark.parametrize("transport", ["ses", "azure", "SMTP", "", None])
def test_a_transport_that_is_not_there_is_refused_with_those_that_are(transport: Any) -> None:
    with pytest.raises(ValidationError, match="'smtp', 'sendmail', 'stream'"):
        processor({"transport": transport})


def test_python_names_of_fields_are_accepted_too() -> None:
    made = NotificationStatus(observed_generation=3, last_redeliver=None)
    assert made.to_wire()["observedGeneration"] == 3


def test_a_condition_keeps_its_time_while_its_status_lasts() -> None:
    first = condition(ConditionType.READY, False, "A", "a", generation=1, now=NOW)
    same = condition(ConditionType.READY, False, "B", "b", generation=2, now=LATER)
    other = condition(ConditionType.READY, True, "C", "c", generation=2, now=LATER)
    assert merge_conditions([first], [same])[0].last_transition_time == NOW
    assert merge_conditions([first], [same])[0].reason == "B"
    assert merge_conditions([first], [other])[0].last_transition_time == LATER
    assert find_condition([first], ConditionType.READY) is first
    assert find_condition([first], ConditionType.STALLED) is None


def test_a_condition_of_unknown_status_and_too_long_a_message() -> None:
    made = condition(ConditionType.READY, None, "A", "x" * 5000, generation=1, now=NOW)
    assert made.status == "Unknown"
    assert len(made.message) == MESSAGE_LIMIT
