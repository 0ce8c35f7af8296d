"""Claims of other processes, and of this one before it failed: nobody sends on them unasked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.references import NOTIFICATIONS
from notifications_operator.delivery import engine as engine_module
from tests.support.cluster import Interruption, MemoryCluster
from tests.unit.delivery.builders import ADA, BOB, EVE
from tests.unit.delivery.harness import World, world
from tests.unit.delivery.scripted import Script
from tests.unit.delivery.test_engine_faults import claims, records


@asynccontextmanager
async def claimed_by_another(
    *, on_ambiguous: str = "Resend", idempotent: bool = False
) -> AsyncIterator[World]:
    """Let a process claim and die; give the world without a process."""
    script = Script(idempotent=idempotent)
    async with world(scripts={"email": script}, processors=()) as w:
        w.processor("email", onAmbiguous=on_ambiguous)
        w.scripts["email"].gate = w.new_gate()
        w.notify()
        await w.started()
        await w.kill()
        assert w.rows()[ADA].state is DeliveryState.CLAIMED
        yield w


async def test_claim_of_a_dead_process_is_sent_again_after_its_backoff() -> None:
    async with claimed_by_another() as w:
        before = w.rows()[ADA]
        w.restart(holder="pod_2")
        await w.until(lambda: w.rows()[ADA].state is DeliveryState.RETRYING, "doubted")
        doubted = w.rows()[ADA]
        assert (doubted.reason, doubted.attempts) == ("Ambiguous", before.attempts)
        assert w.scripts["email"].started == [], "not before its backoff"
        assert doubted.next_attempt_time is not None
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        assert w.rows()[ADA].attempts == 2


async def test_the_copy_has_the_same_identity() -> None:
    async with claimed_by_another() as w:
        w.restart(holder="pod_2")
        await w.finished()
        w.notify("other")
        await w.finished("other")
        await w.engine.drain()
        copy, other = w.scripts["email"].sent
        assert (copy.revision, copy.redelivery) == (1, 0)
        assert copy.identity != other.identity


async def test_claim_of_a_dead_process_is_held_if_asked_to() -> None:
    async with claimed_by_another(on_ambiguous="Hold") as w:
        w.restart(holder="pod_2")
        done = await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].started == []
        assert w.rows()[ADA].state is DeliveryState.UNKNOWN
        assert done.status.state == "Failed"
        assert done.status.reason == "Ambiguous"


@pytest.mark.parametrize("on_ambiguous", ["Resend", "Hold"])
async def test_claim_of_a_dead_process_is_simply_repeated_where_nothing_can_be_doubled(
    on_ambiguous: str,
) -> None:
    async with claimed_by_another(on_ambiguous=on_ambiguous, idempotent=True) as w:
        w.restart(holder="pod_2")
        done = await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        assert (done.status.state, w.rows()[ADA].attempts) == ("Delivered", 2)
        states = [row["state"] for patch in w.patches() for row in patch.get("deliveries") or ()]
        assert not {"Retrying", "Unknown"} & set(states), "it waits for nothing"


async def test_same_pod_after_a_restart_is_another_process() -> None:
    async with claimed_by_another(on_ambiguous="Hold") as w:
        w.restart(holder="pod_1_other")
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].started == []


async def test_holder_may_just_have_recorded() -> None:
    """The doubt meets a 409, and what was read again says that it was sent."""
    async with claimed_by_another() as w:

        def record() -> None:
            def change(body: dict[str, Any]) -> None:
                (row,) = body["deliveries"]
                row |= {"state": "Sent", "attempts": 1}
                del row["holder"]

            w.cluster.write_status(NOTIFICATIONS, "team", "n", change)

        w.cluster.interrupt(Interruption(before=record, when=lambda status: "deliveries" in status))
        w.restart(holder="pod_2")
        done = await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].started == []
        assert done.status.state == "Delivered"
        assert w.rows()[ADA].attempts == 1


async def test_claim_taken_over_by_another_process_is_not_recorded_over() -> None:
    """A fenced process's outcome must not overwrite its successor's claim."""
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify()
        await w.started()

        def take_over(body: dict[str, Any]) -> None:
            body["deliveries"][0] |= {"holder": "1/pod_2/1.1", "attempts": 2}

        w.cluster.write_status(NOTIFICATIONS, "team", "n", take_over)
        gate.set()
        await w.until(lambda: len(w.patches()) >= 2, "decided anew")
        row = w.rows()[ADA]
        assert (row.state, row.reason) == (DeliveryState.RETRYING, "Ambiguous")


async def test_runner_that_fails_leaves_doubt_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it had sent is not known any more, so Hold must hold."""
    monkeypatch.setattr(engine_module, "RESTART_DELAY", 0.01)
    cluster = MemoryCluster()
    async with world(cluster=cluster, processors=()) as w:
        w.processor("email", onAmbiguous="Hold")
        bug: Any = RuntimeError("a bug")
        w.cluster.interrupt(Interruption(error=bug, when=records))
        w.notify()
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        assert w.rows()[ADA].state is DeliveryState.UNKNOWN
        assert "a background task has failed: Notification team/n" in caplog.text
        assert w.engine.supervisor.background.problem is not None


async def test_runner_that_fails_before_it_claims_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "RESTART_DELAY", 0.01)
    async with world() as w:
        bug: Any = RuntimeError("a bug")
        w.cluster.interrupt(Interruption(error=bug, when=claims))
        w.notify()
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]


async def test_restart_with_finished_ones_writes_and_sends_nothing() -> None:
    async with world() as w:
        for number in range(20):
            w.notify(f"n{number}", to=[ADA, BOB])
        for number in range(20):
            await w.finished(f"n{number}")
        await w.engine.drain()
        before = len(w.cluster.patches)
        sent = len(w.scripts["email"].sent)
        w.restart(holder="pod_2")
        await w.until(
            lambda: all(channel.readiness.ready for channel in w.engine.supervisor.channels)
        )
        await w.settle()
        await w.engine.drain()
        assert len(w.scripts["email"].sent) == sent == 40
        assert [patch for patch in w.cluster.patches[before:] if patch.name != "email"] == []


async def test_restart_in_the_middle_sends_only_the_rest() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        script.answers = {BOB: [w.new_gate()]}
        w.notify(to=[ADA, BOB, EVE])
        await w.until(lambda: script.started == [ADA, BOB], "the second begun")
        assert w.rows()[ADA].state is DeliveryState.SENT
        await w.kill()
        w.restart(holder="pod_2")
        await w.finished()
        await w.engine.drain()
        assert sorted(script.recipients) == [BOB, EVE]
        assert [row.attempts for row in w.rows().values()] == [1, 2, 1]
