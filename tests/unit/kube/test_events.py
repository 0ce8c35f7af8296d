"""Events as ``kubectl describe`` shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from notifications_operator.api.errors import (
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    UnavailableError,
)
from notifications_operator.kube.client import KubernetesClient
from notifications_operator.kube.events import NOTE_LIMIT, REMEMBERED, EventRecorder
from notifications_operator.telemetry.redaction import remember_secrets

REGARDING = {
    "apiVersion": "notifications.orchestrator.io/v1alpha1",
    "kind": "Notification",
    "namespace": "team",
    "name": "n",
    "uid": "u-1",
}


class Sink:
    """A client that keeps Events, or fails to."""

    def __init__(self, failure: KubernetesError | None = None) -> None:
        self.failure = failure
        self.created: list[tuple[str, Mapping[str, Any]]] = []
        self.patched: list[tuple[str, Mapping[str, Any]]] = []

    async def create_event(self, namespace: str, body: Mapping[str, Any]) -> None:
        if self.failure is not None:
            raise self.failure
        self.created.append((namespace, body))

    async def patch_event(self, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        if self.failure is not None:
            raise self.failure
        assert name in {body["metadata"]["name"] for _, body in self.created}
        self.patched.append((name, body))


@pytest.fixture
def secret() -> Iterator[str]:
    remember_secrets("test_events", ["hunter22"])
    yield "hunter22"
    remember_secrets("test_events", ())


async def written(
    note: str = "it failed", *, warning: bool = True, instance: str = "pod-1", **regarding: str
) -> Mapping[str, Any]:
    sink = Sink()
    recorder = EventRecorder(cast("KubernetesClient", sink), instance=instance)
    await recorder.record(
        {**REGARDING, **regarding}, warning=warning, reason="Failed", action="Deliver", note=note
    )
    ((namespace, body),) = sink.created
    assert namespace == "team"
    return body


async def test_event() -> None:
    body = await written()
    assert body["apiVersion"] == "events.k8s.io/v1"
    assert body["type"] == "Warning"
    assert (body["reason"], body["action"], body["note"]) == ("Failed", "Deliver", "it failed")
    assert body["regarding"] == REGARDING
    assert body["metadata"]["namespace"] == "team"
    assert body["metadata"]["name"].startswith("n.")
    assert body["reportingController"] == "notifications.orchestrator.io/operator"
    assert body["reportingInstance"] == "pod-1"
    micro_time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    assert re.fullmatch(micro_time, body["eventTime"])


async def test_normal_event() -> None:
    assert (await written(warning=False))["type"] == "Normal"


async def test_names_differ() -> None:
    names = {(await written())["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20


@pytest.mark.parametrize("note", ["x" * 5000, "é" * 5000, "😀" * 5000])
async def test_note_is_cut_to_its_bound_in_bytes(note: str) -> None:
    found = (await written(note))["note"]
    assert NOTE_LIMIT - 4 < len(found.encode()) <= NOTE_LIMIT
    assert note.startswith(found)


async def test_longest_names_still_fit() -> None:
    body = await written(name="n" * 253, instance="p" * 253)
    assert len(body["metadata"]["name"]) <= 253
    assert len(body["reportingInstance"]) <= 128


async def test_note_is_redacted(secret: str) -> None:
    assert (await written(f"535 {secret}"))["note"] == "535 ***"


async def test_secret_is_not_saved_by_being_cut(secret: str) -> None:
    found = (await written("x" * (NOTE_LIMIT - 4) + secret))["note"]
    assert secret[:4] not in found


@pytest.mark.parametrize(
    "failure", [UnavailableError("down"), ForbiddenError("namespace is terminating")]
)
async def test_failure_is_logged_and_never_in_the_way(
    failure: KubernetesError, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = EventRecorder(cast("KubernetesClient", Sink(failure)), instance="pod-1")
    await recorder.record(REGARDING, warning=True, reason="Failed", action="Deliver", note="x")
    assert "could not write an Event" in caplog.text


class Repeating:
    """A recorder on a sink, and one Event to vary."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.recorder = EventRecorder(cast("KubernetesClient", self.sink), instance="pod-1")

    async def record(self, *, uid: str = "u-1", **changes: Any) -> None:
        given = {"warning": True, "reason": "Failed", "action": "Deliver", "note": "x", **changes}
        await self.recorder.record({**REGARDING, "uid": uid}, **given)

    @property
    def counts(self) -> list[int]:
        return [body["series"]["count"] for _, body in self.sink.patched]


async def test_same_event_again_becomes_a_series() -> None:
    events = Repeating()
    for _ in range(4):
        await events.record()
    ((_, created),) = events.sink.created
    assert "series" not in created, "the API server refuses a series of one"
    assert events.counts == [2, 3, 4]
    name, last = events.sink.patched[-1]
    assert name == created["metadata"]["name"]
    assert last.keys() == {"series"}, "all else of an Event cannot be changed"
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", last["series"]["lastObservedTime"]
    )


@pytest.mark.parametrize(
    "change",
    [{"note": "y"}, {"reason": "Other"}, {"action": "Verify"}, {"warning": False}, {"uid": "u-2"}],
)
async def test_another_event_is_no_repetition(change: dict[str, Any]) -> None:
    events = Repeating()
    await events.record()
    await events.record(**change)
    await events.record()
    assert len(events.sink.created) == 2
    assert events.counts == [2]


async def test_event_that_expired_begins_anew() -> None:
    events = Repeating()
    await events.record()
    created = events.sink.created.pop()

    async def gone(namespace: str, name: str, body: Mapping[str, Any]) -> None:
        raise NotFoundError("expired")

    events.sink.patch_event, patch = gone, events.sink.patch_event  # type: ignore[method-assign]
    await events.record()
    events.sink.patch_event = patch  # type: ignore[method-assign]
    await events.record()
    ((_, again),) = events.sink.created
    assert again["metadata"]["name"] != created[1]["metadata"]["name"]
    assert events.counts == [2]


async def test_event_that_could_not_be_created_is_created_next_time() -> None:
    events = Repeating()
    events.sink.failure = UnavailableError("down")
    await events.record()
    events.sink.failure = None
    await events.record()
    assert len(events.sink.created) == 1
    assert events.counts == []


async def test_memory_of_events_is_bounded() -> None:
    events = Repeating()
    await events.record()
    for number in range(REMEMBERED):
        await events.record(uid=f"other-{number}")
    await events.record()
    assert events.counts == []
    assert len(events.sink.created) == REMEMBERED + 2
