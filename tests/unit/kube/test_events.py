"""Events as ``kubectl describe`` shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from notifications_operator.api.errors import ForbiddenError, KubernetesError, UnavailableError
from notifications_operator.kube.client import KubernetesClient
from notifications_operator.kube.events import NOTE_LIMIT, EventRecorder
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

    async def create_event(self, namespace: str, body: Mapping[str, Any]) -> None:
        if self.failure is not None:
            raise self.failure
        self.created.append((namespace, body))


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
