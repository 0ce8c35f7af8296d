"""Events on a real API server: what repeats is one Event with a count."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.installation import AddProcessor, Installation
from tests.support.kubernetes import Kubernetes, Object, condition_is

pytestmark = pytest.mark.cluster


async def test_what_repeats_becomes_a_series(
    kubernetes: Kubernetes, installation: Installation, add_processor: AddProcessor
) -> None:
    name = await add_processor({"transport": "stream"})
    kind, namespace = "NotificationProcessor", installation.namespace
    for _ in range(3):
        for suspend, status in ((True, "False"), (False, "True")):
            await kubernetes.patch(kind, name, namespace, {"spec": {"suspend": suspend}})
            await kubernetes.wait(kind, name, namespace, condition_is("Ready", status))
    async with asyncio.timeout(30):
        while sum(map(count, found := await events_of(kubernetes, name, namespace))) < 7:
            await asyncio.sleep(0.05)
    by_reason = {event["reason"]: event for event in found}
    assert len(found) == len(by_reason) == 2, "one Event of each reason"
    suspended, connected = by_reason["Suspended"], by_reason["Connected"]
    assert (suspended["type"], count(suspended)) == ("Warning", 3)
    assert (connected["type"], count(connected)) == ("Normal", 4)
    assert connected["series"]["lastObservedTime"] > connected["eventTime"]


async def events_of(kubernetes: Kubernetes, name: str, namespace: str) -> list[Object]:
    events = await kubernetes.list("Event", namespace)
    return [event for event in events if event["regarding"]["name"] == name]


def count(event: Object) -> int:
    found: int = event.get("series", {}).get("count", 1)
    return found
