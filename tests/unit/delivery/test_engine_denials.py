"""Quotas, admission policies and missing rights that refuse what a Notification needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from notifications_operator.api.conditions import ConditionType, find_condition
from notifications_operator.api.errors import (
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    RejectedError,
)
from notifications_operator.api.notification import Notification
from notifications_operator.api.references import NOTIFICATIONS
from notifications_operator.delivery.ledger import denials
from notifications_operator.delivery.runners import failures
from tests.support.cluster import Interruption
from tests.unit.delivery.builders import ADA, BOB, directory, users_yaml
from tests.unit.delivery.harness import World, world
from tests.unit.delivery.scripted import Script

NAMES = [f"u{number:03}" for number in range(150)]
QUOTA = ForbiddenError('403 "n-0" is forbidden: exceeded quota: objects, used: 10, limited: 10')
POLICY = RejectedError("422 ValidatingAdmissionPolicy 'labels' denied request: label team")
WEBHOOK = RejectedError('400 admission webhook "policies" denied the request: label team')
FOREVER = 10**6


def denied(w: World, error: KubernetesError, operation: str, **options: Any) -> Interruption:
    """Let an operation be refused until the interruption is lifted."""
    refusal = Interruption(operation=operation, error=error, times=FOREVER, **options)
    w.cluster.interrupt(refusal)
    return refusal


def lift(refusal: Interruption) -> None:
    refusal.times = 0


def recorded(found: Notification) -> tuple[str, str] | None:
    condition = find_condition(found.status.conditions, ConditionType.RECORDED)
    return None if condition is None else (condition.status, condition.reason)


def message(found: Notification) -> str:
    condition = find_condition(found.status.conditions, ConditionType.COMPLETE)
    assert condition is not None
    return condition.message


@pytest.fixture
def large() -> Iterator[dict[str, Any]]:
    """A world in which a broadcast needs slices."""
    yield {"scripts": {"email": Script(concurrency=8)}, "catalog": directory(users_yaml(NAMES))}


@pytest.mark.parametrize(
    ("error", "operation"),
    [
        (QUOTA, "create_slice"),
        (POLICY, "create_slice"),
        (WEBHOOK, "create_slice"),
        (ForbiddenError("403 cannot list notificationdeliveryslices"), "list_slices"),
    ],
    ids=["quota", "policy", "webhook", "role"],
)
async def test_what_forbids_slices_is_said_and_waited_for(
    error: KubernetesError, operation: str, large: dict[str, Any]
) -> None:
    async with world(**large) as w:
        refusal = denied(w, error, operation)
        w.notify(to=None)
        await w.until(lambda: recorded(w.get()) == ("False", "PolicyDenied"), "said")
        found = w.get()
        assert (found.status.state, found.status.reason) == ("Pending", "PolicyDenied")
        assert found.status.observed_generation == 1
        assert str(error) in message(found) and "namespace team" in message(found)
        resolved = find_condition(found.status.conditions, ConditionType.RECIPIENTS_RESOLVED)
        assert resolved is not None and resolved.status == "Unknown"
        await w.until(lambda: bool(w.events()), "an Event")
        (event,) = w.events()
        assert (event.warning, event.reason) == (True, "PolicyDenied")
        lift(refusal)
        done = await w.finished()
        assert (done.status.state, done.status.summary) == ("Delivered", "150/150")
        assert recorded(done) is None
        assert len(w.scripts["email"].sent) == 150


async def test_a_single_refusal_is_not_worth_a_word(large: dict[str, Any]) -> None:
    async with world(**large) as w:
        w.cluster.interrupt(Interruption(operation="create_slice", error=QUOTA))
        w.notify(to=None)
        await w.finished()
        assert not [event for event in w.events() if event.reason == "PolicyDenied"]
        assert not [patch for patch in w.patches() if "PolicyDenied" in str(patch)]


@pytest.mark.parametrize("error", [QUOTA, POLICY, WEBHOOK], ids=["quota", "policy", "webhook"])
async def test_what_forbids_the_status_is_said_by_an_event(
    error: KubernetesError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "REFUSED_DELAY", 0.1)
    async with world() as w:
        refusal = denied(w, error, "patch_status", when=lambda status: "deliveries" in str(status))
        w.notify()
        await w.until(lambda: any(str(error) in event.note for event in w.events()), "an Event")
        event = next(event for event in w.events() if str(error) in event.note)
        assert event.warning and "admission policies" in event.note
        lift(refusal)
        await w.finished()
        assert w.scripts["email"].recipients == [ADA]


@pytest.mark.parametrize("operation", ["create_slice", "list_slices"])
async def test_a_missing_definition_of_slices_is_waited_for(
    operation: str, large: dict[str, Any]
) -> None:
    async with world(**large) as w:
        missing = NotFoundError("404 the server could not find the requested resource")
        w.cluster.interrupt(Interruption(operation=operation, error=missing, times=2))
        w.notify(to=None)
        done = await w.finished()
        assert done.status.summary == "150/150"


async def test_others_are_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slots of a Notification whose writes are refused are for others."""
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        w.notify("denied", to=BOB)
        denied(w, QUOTA, "patch_status", when=lambda status: BOB in str(status))
        w.notify("good")
        await w.finished("good")
        assert script.recipients == [ADA]


async def test_it_ends_when_it_expires(large: dict[str, Any]) -> None:
    async with world(**large) as w:
        denied(w, QUOTA, "create_slice")
        w.notify(to=None, expiresAt=_soon(2))
        done = await w.finished()
        assert (done.status.state, done.status.reason) == ("Expired", "Expired")
        assert not w.scripts["email"].sent


async def test_it_ends_after_a_day(large: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(**large) as w:
        denied(w, QUOTA, "create_slice")
        monkeypatch.setattr(denials, "LONGEST_WAIT", timedelta(seconds=2))
        w.notify(to=None)
        done = await w.finished()
        assert (done.status.state, done.status.reason) == ("Failed", "PolicyDenied")
        assert str(QUOTA) in message(done)
        assert not w.scripts["email"].sent
        await w.until(lambda: any(event.reason == "Failed" for event in w.events()), "said")


async def test_the_day_counts_on_over_a_restart(large: dict[str, Any]) -> None:
    async with world(**large) as w:
        denied(w, QUOTA, "create_slice")
        w.notify(to=None)
        await w.until(lambda: recorded(w.get()) is not None, "said")
        await w.kill()

        def long_ago(status: dict[str, Any]) -> None:
            for condition in status["conditions"]:
                if condition["type"] == "Recorded":
                    condition["lastTransitionTime"] = "2020-01-01T00:00:00Z"

        w.cluster.write_status(NOTIFICATIONS, "team", "n", long_ago)
        w.restart(holder="pod_2", catalog=large["catalog"])
        done = await w.finished()
        assert (done.status.state, done.status.reason) == ("Failed", "PolicyDenied")


async def test_one_that_was_given_up_begins_anew_when_edited(
    large: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(**large) as w:
        refusal = denied(w, QUOTA, "create_slice")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(denials, "LONGEST_WAIT", timedelta(0))
            w.notify(to=None)
            await w.finished()
        w.retitle("n", "second")
        await w.until(lambda: w.get().status.state == "Pending", "waits for a day of its own")
        assert recorded(w.get()) == ("False", "PolicyDenied")
        lift(refusal)
        done = await w.finished()
        assert done.status.summary == "150/150"
        assert {sent.title for sent in w.scripts["email"].sent} == {"second"}


async def test_an_edit_that_is_refused_is_not_lost(large: dict[str, Any]) -> None:
    script = large["scripts"]["email"]
    async with world(**large) as w:
        w.notify(to=[f"user:default/{name}" for name in NAMES[:120]])
        await w.finished()
        refusal = denied(w, POLICY, "patch_slice")
        w.retitle("n", "second")
        await w.until(lambda: recorded(w.get()) == ("False", "PolicyDenied"), "said")
        found = w.get()
        assert found.status.observed_generation == 1, "not planned yet"
        assert (found.status.revision, found.status.processors[0].sent) == (1, 120)
        assert len(script.sent) == 120
        lift(refusal)
        await w.until(lambda: len(script.sent) == 240, "the update went out")
        done = await w.finished()
        assert (done.status.revision, done.status.summary) == (2, "120/120")
        assert recorded(done) is None


async def test_what_is_written_between_two_refusals_does_not_begin_the_day_anew(
    large: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices can be created, and their claims are refused."""
    monkeypatch.setattr(denials, "LONGEST_WAIT", timedelta(seconds=4))
    async with world(**large) as w:
        denied(w, POLICY, "patch_slice")
        w.notify(to=None)
        await w.until(lambda: recorded(w.get()) == ("False", "PolicyDenied"), "said")
        before = len(w.patches())
        done = await w.finished()
        assert (done.status.state, done.status.reason) == ("Failed", "PolicyDenied")
        later = [patch for patch in w.patches()[before:] if "conditions" in patch]
        assert all("Recorded" in str(patch) for patch in later)


def _soon(seconds: float) -> str:
    moment = datetime.now().astimezone() + timedelta(seconds=seconds)
    return moment.isoformat()
