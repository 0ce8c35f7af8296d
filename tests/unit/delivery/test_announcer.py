"""One Event for the end of a Notification, or for what it waits for."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

from notifications_operator.api.conditions import ConditionType, condition
from notifications_operator.api.notification import (
    DeliveryState,
    Notification,
    NotificationState,
    NotificationStatus,
)
from notifications_operator.api.references import NOTIFICATIONS, ObjectRef
from notifications_operator.delivery.ledger.tally import Tally
from notifications_operator.delivery.storage.announcer import Announcer
from tests.unit.delivery.builders import NOW, notification, row
from tests.unit.delivery.harness import MemoryRecorder


def status(
    *,
    complete: bool | None = False,
    resolved: bool | None = True,
    state: NotificationState = NotificationState.DELIVERING,
) -> NotificationStatus:
    def made(kind: ConditionType, value: bool | None, reason: str) -> Any:
        return condition(kind, value, reason, f"{reason}!", generation=1, now=NOW)

    return NotificationStatus(
        state=state,
        deliveries=[row(DeliveryState.SENT).to_delivery()],
        conditions=[
            made(ConditionType.RECIPIENTS_RESOLVED, resolved, "UnknownEntities"),
            made(ConditionType.COMPLETE, complete, str(state)),
        ],
    )


NEW = NotificationStatus()
WAITING = status(resolved=False)
UNDER_WAY = status()
DONE = status(complete=True, state=NotificationState.DELIVERED)
IN_PART = status(complete=True, state=NotificationState.PARTIALLY_DELIVERED)
NOBODY = status(complete=True, state=NotificationState.NO_RECIPIENTS)
LATE = status(complete=True, resolved=False, state=NotificationState.FAILED)


async def announced(before: NotificationStatus, after: NotificationStatus) -> list[Any]:
    recorder = MemoryRecorder()
    found: Notification = notification().model_copy(update={"status": after})
    announcer = Announcer(recorder, ObjectRef.of(NOTIFICATIONS, found.metadata))
    await announcer.announce(before, found, Tally.of([row(DeliveryState.SENT)]))
    return [(event.warning, event.reason, event.note) for event in recorder.events]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (NEW, UNDER_WAY, []),
        (NEW, WAITING, [(True, "UnknownEntities", "UnknownEntities!")]),
        (WAITING, WAITING, []),
        (WAITING, UNDER_WAY, []),
        (UNDER_WAY, UNDER_WAY, []),
        (UNDER_WAY, DONE, [(False, "Delivered", "Delivered!")]),
        (NEW, DONE, [(False, "Delivered", "Delivered!")]),
        (UNDER_WAY, NOBODY, [(True, "NoRecipients", "NoRecipients!")]),
        (UNDER_WAY, IN_PART, [(True, "PartiallyDelivered", "PartiallyDelivered!")]),
        (NEW, LATE, [(True, "Failed", "Failed!")]),
        (DONE, DONE, []),
        (DONE, UNDER_WAY, []),
        (DONE, IN_PART, []),
    ],
)
async def test_events(
    before: NotificationStatus, after: NotificationStatus, expected: list[Any]
) -> None:
    assert await announced(before, after) == expected


async def test_end_is_counted_once_with_its_deliveries() -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    finished = value("notifications_finished_total", state="Delivered")
    sent = value("notifications_deliveries_total", processor="email", state="Sent", reason="")
    latency = value("notifications_created_to_finished_seconds_count")
    await announced(UNDER_WAY, DONE)
    await announced(DONE, DONE)
    assert value("notifications_finished_total", state="Delivered") == finished + 1
    assert (
        value("notifications_deliveries_total", processor="email", state="Sent", reason="")
        == sent + 1
    )
    assert value("notifications_created_to_finished_seconds_count") == latency + 1


async def test_warning() -> None:
    recorder = MemoryRecorder()
    ref = ObjectRef.of(NOTIFICATIONS, notification().metadata)
    await Announcer(recorder, ref).warn("StatusRefused", "Record", "too large")
    (event,) = recorder.events
    assert (event.kind, event.name, event.warning) == ("Notification", "n", True)
    assert (event.reason, event.note) == ("StatusRefused", "too large")


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (NEW, UNDER_WAY, "Pending -> Delivering"),
        (UNDER_WAY, DONE, "Delivering -> Delivered"),
        (DONE, IN_PART, "Delivered -> PartiallyDelivered"),
        (DONE, DONE, None),
        (DONE, DONE.model_copy(update={"revision": 2}), "Delivered -> Delivered"),
        (DONE, DONE.model_copy(update={"last_redeliver": "x"}), "Delivered -> Delivered"),
    ],
)
async def test_one_line_for_each_transition(
    before: NotificationStatus,
    after: NotificationStatus,
    line: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    await announced(before, after)
    lines = [record for record in caplog.records if " -> " in record.getMessage()]
    assert [record.getMessage() for record in lines] == ([line] if line else [])
    for record in lines:
        assert record.__dict__["notification"] == "team/n"
        assert record.__dict__["state"] == after.state
