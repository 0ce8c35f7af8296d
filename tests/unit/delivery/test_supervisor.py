"""Processors as the supervisor keeps them: their status, their policy, their absence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications_operator.api.errors import RejectedError
from notifications_operator.api.processor import NotificationProcessor, OnAmbiguous
from notifications_operator.api.references import PROCESSORS
from notifications_operator.api.resource import format_time
from notifications_operator.delivery.dispatch import supervisor as supervisor_module
from notifications_operator.delivery.dispatch.channel import DEFAULT_POLICY
from tests.support.cluster import Interruption, lost_answer, unavailable
from tests.unit.delivery.harness import NAMESPACE, Event, World, world
from tests.unit.delivery.scripted import Script


def stored(w: World, name: str = "email") -> NotificationProcessor:
    return NotificationProcessor.model_validate(w.cluster.read(PROCESSORS, NAMESPACE, name))


def is_ready(w: World, name: str = "email") -> bool:
    return [item.status for item in stored(w, name).status.conditions] == ["True"]


def events(w: World) -> list[Event]:
    return [event for event in w.recorder.events if event.kind == "NotificationProcessor"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "WRITE_RETRY", 0.01)


async def test_status_of_a_ready_processor() -> None:
    async with world() as w:
        await w.until(lambda: is_ready(w), "ready")
        status = stored(w).status
        (ready,) = status.conditions
        assert (ready.reason, status.observed_generation) == ("Connected", 1)
        await w.until(lambda: bool(events(w)), "told")
        assert [(event.warning, event.reason) for event in events(w)] == [(False, "Connected")]


async def test_edit_is_observed_without_another_event() -> None:
    async with world() as w:
        await w.until(lambda: is_ready(w), "ready")
        w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=3))
        await w.until(lambda: stored(w).status.observed_generation == 2, "observed")
        await w.until(lambda: is_ready(w), "ready")
        await w.settle()
        assert len(events(w)) == 1


async def test_restart_writes_nothing_new() -> None:
    async with world() as w:
        await w.until(lambda: is_ready(w) and bool(events(w)), "ready")
        await w.engine.drain()
        before = stored(w)
        count = len(w.cluster.patches)
        w.restart(holder="pod_2")
        await w.until(lambda: w.scripts["email"].verified == 2, "verified")
        await w.settle()
        await w.engine.drain()
        assert w.cluster.patches[count:] == []
        assert stored(w) == before
        assert len(events(w)) == 1


@pytest.mark.parametrize(
    "interruption",
    [
        unavailable(times=3),
        lost_answer(),
        Interruption(error=RejectedError("422")),
    ],
    ids=["unavailable", "lost answer", "rejected"],
)
async def test_status_that_cannot_be_written_stops_nothing(interruption: Interruption) -> None:
    async with world(processors=()) as w:
        w.cluster.interrupt(interruption)
        w.processor()
        w.notify()
        await w.finished()
        assert len(w.scripts["email"].sent) == 1


async def test_edit_in_between_is_read_and_written_over() -> None:
    async with world(processors=()) as w:
        w.cluster.interrupt(
            Interruption(
                before=lambda: w.cluster.edit(
                    PROCESSORS,
                    NAMESPACE,
                    "email",
                    lambda body: body["metadata"].update(labels={"a": "b"}),
                )
            )
        )
        w.processor()
        await w.until(lambda: is_ready(w), "ready")


async def test_last_success_is_written_seldom() -> None:
    async with world() as w:
        await w.until(lambda: is_ready(w), "ready")
        for number in range(5):
            w.notify(f"n{number}")
            await w.finished(f"n{number}")
        channel = w.engine.supervisor.get("email")
        assert channel is not None
        channel.updated.set()
        await w.until(lambda: stored(w).status.last_success_time is not None, "written")
        first = stored(w).status.last_success_time
        channel.last_success = (datetime.now(UTC) + timedelta(seconds=30)).timestamp()
        channel.updated.set()
        await w.settle()
        assert stored(w).status.last_success_time == first
        channel.last_success = (datetime.now(UTC) + timedelta(seconds=90)).timestamp()
        channel.updated.set()
        await w.until(lambda: stored(w).status.last_success_time != first, "written again")


async def test_channels_are_in_the_order_of_their_specification() -> None:
    scripts = {name: Script() for name in ("a", "b", "c")}
    async with world(scripts=scripts, processors=()) as w:
        w.processor("a", order=2)
        w.processor("b")
        w.processor("c", order=-1)
        await w.settle()
        assert [channel.name for channel in w.engine.supervisor.channels] == ["c", "b", "a"]


async def test_policy_is_the_processors_or_the_default() -> None:
    async with world(processors=()) as w:
        w.processor("email", onAmbiguous="Hold", retry={"maxAttempts": 7})
        await w.settle()
        policy = w.engine.supervisor.policy("email")
        assert (policy.on_ambiguous, policy.retry.max_attempts) == (OnAmbiguous.HOLD, 7)
        assert w.engine.supervisor.policy("other") == DEFAULT_POLICY


async def test_absence_is_timed_from_the_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    class Time:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    clock: Any = Time()
    async with world() as w:
        supervisor = w.engine.supervisor
        monkeypatch.setattr(supervisor_module, "time", clock)
        w.cluster.remove(PROCESSORS, NAMESPACE, "email")
        await w.settle()
        clock.now += 50
        assert supervisor.get("email") is None
        assert supervisor.missing_seconds("email") == 50
        assert "there: none" in supervisor.describe_missing("email")
        monkeypatch.undo()


async def test_refused_processor_that_was_told_so_is_not_told_again() -> None:
    async with world() as w:
        condition = {
            "type": "Ready",
            "status": "False",
            "reason": "NotAllowed",
            "observedGeneration": 1,
            "lastTransitionTime": format_time(datetime.now(UTC)),
        }
        w.cluster.hold_events()
        w.cluster.create(
            PROCESSORS,
            {
                "kind": "NotificationProcessor",
                "metadata": {"namespace": "team", "name": "own"},
                "spec": {"type": "example.com/email"},
            },
        )
        body = w.cluster.write_status(
            PROCESSORS, "team", "own", lambda status: status.update(conditions=[condition])
        )
        before = len(w.cluster.patches)
        w.engine.offer_processor(body)
        await w.settle()
        assert [patch for patch in w.cluster.patches[before:] if patch.name == "own"] == []
