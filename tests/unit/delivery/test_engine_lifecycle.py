"""Deletion, suspension, expiry, draining, and objects that should not be there."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications_operator.api.errors import (
    ForbiddenError,
    KubernetesError,
    RejectedError,
    UnavailableError,
)
from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.references import NOTIFICATIONS
from notifications_operator.api.resource import format_time
from notifications_operator.delivery.storage import rejections
from tests.support.cluster import Interruption
from tests.unit.delivery.builders import ADA, BOB, CATALOG, EVE, directory, error, manifest
from tests.unit.delivery.harness import World, world
from tests.unit.delivery.scripted import Script


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def finalize(w: World) -> None:
    """Begin a foreground deletion: the object stays until its dependents are gone."""
    w.edit(
        "n",
        lambda body: body["metadata"].update(
            deletionTimestamp=format_time(datetime.now(UTC)), finalizers=["foregroundDeletion"]
        ),
    )


async def test_deletion_while_pending_sends_nothing() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify("first")
        await w.started()
        w.notify("n", to=BOB)
        await w.settle()
        w.remove("n")
        await w.settle()
        gate.set()
        await w.finished("first")
        await w.engine.drain()
        assert script.recipients == [ADA]


async def test_deletion_while_sending_gives_its_slot_to_others() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify("n")
        await w.started()
        w.remove("n")
        w.notify("other", to=BOB)
        await w.settle()
        gate.set()
        script.gate = None
        await w.finished("other")
        assert script.recipients == [ADA, BOB]
        lane = w.engine.supervisor.get("email").lane  # type: ignore[union-attr]
        await w.until(lambda: not w.busy, "all done")
        assert lane.held == 0


async def test_deletion_between_claim_and_record_is_no_trouble() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        w.cluster.hold_events()
        script.gate = gate = w.new_gate()
        w.cluster.deliver_events()
        w.notify()
        await w.started()
        w.cluster.hold_events()
        w.remove("n")
        gate.set()
        await w.until(lambda: not w.busy, "gave up")
        w.cluster.deliver_events()
        await w.settle()
        assert script.recipients == [ADA]


async def test_foreground_deletion_sends_nothing_more() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify("n", to=[ADA, BOB, EVE])
        await w.started()
        finalize(w)
        await w.settle()
        gate.set()
        await w.until(lambda: not w.busy, "stopped")
        await w.engine.drain()
        assert script.recipients == [ADA]


async def test_deletion_that_the_watch_has_not_told_yet_sends_nothing() -> None:
    async with world() as w:
        w.cluster.hold_events()

        def delete() -> None:
            finalize(w)

        w.cluster.interrupt(Interruption(before=delete))
        w.cluster.deliver_events()
        w.notify()
        w.cluster.hold_events()
        await w.until(lambda: not w.busy and bool(w.cluster.patches[-1].error), "gave up")
        await w.engine.drain()
        assert w.scripts["email"].started == []


async def test_one_created_anew_under_the_same_name_is_another() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify("n", to=ADA)
        await w.started()
        w.cluster.hold_events()
        w.remove("n")
        w.notify("n", to=BOB)
        gate.set()
        await w.settle()
        w.cluster.deliver_events()
        await w.finished("n")
        await w.engine.drain()
        assert script.recipients == [ADA, BOB]
        assert list(w.rows()) == [BOB]


async def test_suspend_in_the_middle() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify("n", to=[ADA, BOB])
        await w.started()
        w.edit("n", lambda body: body["spec"].update(suspend=True))
        await w.settle()
        gate.set()
        await w.until(lambda: w.rows()[ADA].state is DeliveryState.SENT, "the current one ends")
        await w.state("Suspended")
        await w.settle()
        assert script.recipients == [ADA]
        w.edit("n", lambda body: body["spec"].update(suspend=False))
        await w.finished()
        assert script.recipients == [ADA, BOB]


async def test_suspended_from_the_start() -> None:
    async with world() as w:
        w.notify(suspend=True)
        await w.state("Suspended")
        await w.settle()
        assert w.scripts["email"].started == []
        w.edit("n", lambda body: body["spec"].update(suspend=False))
        await w.finished()
        assert w.scripts["email"].recipients == [ADA]


async def test_expiry_while_it_waits() -> None:
    async with world(catalog=directory()) as w:
        w.notify(expiresAt=soon(0.3))
        await w.state("Pending")
        done = await w.finished()
        assert done.status.state == "Expired"
        assert w.scripts["email"].started == []


async def test_expiry_while_it_retries() -> None:
    script = Script(answers={"*": [error(retry_after=3600)]})
    async with world(scripts={"email": script}) as w:
        w.notify(expiresAt=soon(0.5))
        done = await w.finished()
        assert done.status.state == "Expired"
        assert (w.rows()[ADA].state, w.rows()[ADA].reason) == ("Failed", "Expired")


async def test_expiry_before_it_was_created() -> None:
    async with world() as w:
        w.notify(expiresAt=soon(-3600))
        done = await w.finished()
        assert done.status.state == "Expired"
        assert w.scripts["email"].started == []


async def test_drain_finishes_what_is_being_sent_and_claims_nothing_new() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify("n", to=[ADA, BOB])
        await w.started()
        draining = asyncio.create_task(w.engine.drain())
        await w.settle()
        w.notify("late", to=EVE)
        await w.settle()
        assert not draining.done()
        gate.set()
        await draining
        assert script.recipients == [ADA]
        assert {row.state for row in w.rows().values()} == {
            DeliveryState.SENT,
            DeliveryState.PENDING,
        }
        assert w.get("late").status.observed_generation == -1
        assert script.closed == 1
        assert not script.closed_while_sending
        w.restart(holder="pod_2")
        await w.finished("n")
        await w.finished("late")
        assert script.recipients[:1] == [ADA]
        assert sorted(script.recipients) == [ADA, BOB, EVE]


async def test_drain_does_not_wait_for_what_waits() -> None:
    async with world(catalog=directory()) as w:
        w.notify()
        await w.state("Pending")
        async with asyncio.timeout(2):
            await w.engine.drain()


async def test_drain_before_the_catalog_was_read_is_immediate() -> None:
    async with world() as w:
        fresh = w.run_process(holder="pod_2")
        w.notify()
        await w.settle()
        async with asyncio.timeout(2):
            await fresh.drain()


async def test_drain_gives_up_on_a_send_that_hangs() -> None:
    script = Script()
    async with world(scripts={"email": script}, delivery={"shutdown_grace": 0.05}) as w:
        script.gate = w.new_gate()
        w.notify()
        await w.started()
        await w.engine.drain()
        assert w.rows()[ADA].state is DeliveryState.CLAIMED, "in doubt for the next process"


async def test_drain_records_even_if_the_first_try_fails() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify()
        await w.started()
        w.cluster.reachable = False
        draining = asyncio.create_task(w.engine.drain())
        gate.set()
        tries = len(w.cluster.patches)
        await w.until(lambda: len(w.cluster.patches) > tries, "tried in vain")
        w.cluster.reachable = True
        await draining
        assert w.rows()[ADA].state is DeliveryState.SENT


async def test_definitions_that_do_not_fit_stop_all_claims() -> None:
    async with world(fit=False) as w:
        w.notify()
        await w.until(lambda: w.get().status.revision == 1, "planned")
        await w.settle()
        assert w.scripts["email"].started == []
        assert w.rows()[ADA].state is DeliveryState.PENDING
        w.engine.use_definitions(fit=True)
        await w.finished()
        assert w.scripts["email"].recipients == [ADA]


def unreadable(body: dict[str, Any]) -> None:
    body["spec"]["expiresAt"] = "2999-02-30T00:00:00Z"


async def test_one_that_cannot_be_read_is_told_so() -> None:
    """The definition checks the form of a moment, not whether there is such a day."""
    async with world() as w:
        w.cluster.create(NOTIFICATIONS, manifest("n", expiresAt="2999-02-30T00:00:00Z"))

        def rejected() -> bool:
            body = w.cluster.read(NOTIFICATIONS, "team", "n")
            return bool(body["status"]["state"] == "Failed")

        await w.until(rejected, "rejected")
        status = w.cluster.read(NOTIFICATIONS, "team", "n")["status"]
        assert status["reason"] == "InvalidConfig"
        assert "expiresAt" in str(status["conditions"])
        assert len([patch for patch in w.cluster.patches if patch.name == "n"]) == 1
        w.edit("n", lambda body: body["spec"].pop("expiresAt"))
        await w.finished()
        assert w.scripts["email"].recipients == [ADA]


@pytest.mark.parametrize(
    "refusal",
    [UnavailableError("503"), ForbiddenError("403 denied"), RejectedError("422 denied")],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_a_rejection_that_cannot_be_written_is_tried_again(
    refusal: KubernetesError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "PAUSES", (0.01,))
    async with world() as w:
        w.cluster.interrupt(Interruption(error=refusal, times=3))
        w.cluster.create(NOTIFICATIONS, manifest("n", expiresAt="2999-02-30T00:00:00Z"))
        await w.until(
            lambda: w.cluster.read(NOTIFICATIONS, "team", "n")["status"]["state"] == "Failed",
            "rejected in the end",
        )
        (event,) = [item for item in w.recorder.events if item.kind == "Notification"]
        assert (event.warning, event.reason) == (True, "InvalidConfig")
        assert "expiresAt" in event.note and str(refusal) in event.note


@pytest.mark.parametrize("end", ["edited", "deleted", "deposed", "stopped"])
async def test_a_rejection_is_not_tried_for_ever(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "PAUSES", (0.01,))
    async with world() as w:
        refusal = ForbiddenError("403")
        w.cluster.interrupt(
            Interruption(error=refusal, times=10**6, when=lambda status: "deliveries" not in status)
        )
        w.cluster.create(NOTIFICATIONS, manifest("n", expiresAt="2999-02-30T00:00:00Z"))
        await w.until(lambda: len(w.cluster.patches) > 2, "tried")
        match end:
            case "edited":
                w.edit("n", lambda body: body["spec"].pop("expiresAt"))
            case "deleted":
                w.cluster.remove(NOTIFICATIONS, "team", "n")
            case "deposed":
                w.tenure.epoch = None
                w.engine.lead()
            case "stopped":
                await w.engine.drain()
        await w.until(
            lambda: not [task for task in asyncio.all_tasks() if "rejection" in task.get_name()],
            "given up",
        )


async def test_one_that_becomes_unreadable_is_finished_as_it_was() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify()
        await w.started()
        w.edit("n", unreadable)
        await w.settle()
        gate.set()

        def sent() -> bool:
            body = w.cluster.read(NOTIFICATIONS, "team", "n")
            return [row["state"] for row in body["status"]["deliveries"]] == ["Sent"]

        await w.until(sent, "recorded")
        await w.engine.drain()
        assert script.recipients == [ADA]


async def test_finished_one_that_becomes_unreadable_keeps_its_ledger() -> None:
    async with world() as w:
        w.notify()
        await w.finished()
        await w.until(lambda: not w.busy, "runner ended")
        w.edit("n", unreadable)

        def rejected() -> bool:
            body = w.cluster.read(NOTIFICATIONS, "team", "n")
            return (
                body["status"]["reason"] == "InvalidConfig" if "reason" in body["status"] else False
            )

        await w.until(rejected, "rejected")
        body = w.cluster.read(NOTIFICATIONS, "team", "n")
        assert [row["state"] for row in body["status"]["deliveries"]] == ["Sent"]
        w.edit("n", lambda body: body["spec"].pop("expiresAt"))
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]


async def test_status_of_a_later_release_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Everything but its condition stays as it is; see `test_engine_newer_format`."""
    async with world() as w:
        w.cluster.hold_events()
        w.notify()
        w.cluster.write_status(
            NOTIFICATIONS,
            "team",
            "n",
            lambda status: status.update(
                deliveries=[{"processor": "email", "recipient": ADA, "state": "Teleported"}]
            ),
        )
        before = w.cluster.read(NOTIFICATIONS, "team", "n")
        w.engine.offer(before)
        await w.settle()
        status = w.cluster.read(NOTIFICATIONS, "team", "n")["status"]
        (told,) = status.pop("conditions")
        assert (told["type"], told["reason"]) == ("Delivered", "NewerFormat")
        assert status == before["status"]
        assert w.scripts["email"].started == []
        assert "left alone" in caplog.text


async def test_measure() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        assert not w.busy
        script.gate = gate = w.new_gate()
        w.notify()
        await w.started()
        assert w.busy
        gate.set()
        await w.finished()
        await w.until(lambda: not w.busy, "runner ended")


async def test_ttl_deletes_the_finished() -> None:
    async with world() as w:
        w.notify("n", ttlSecondsAfterFinished=0)
        w.notify("managed", ttlSecondsAfterFinished=0, labels={"app.kubernetes.io/instance": "x"})
        await w.finished("managed")
        await w.until(lambda: len(w.cluster.list(NOTIFICATIONS)) == 1, "deleted")
        await w.engine.drain()
        assert "TTLIgnored" in str(w.get("managed").status.conditions)
        assert [event.reason for event in w.events("managed")] == ["Delivered"]


async def test_recipients_per_hour_count_what_was_under_way_before_a_restart() -> None:
    limits = {"recipients_per_hour": 2}
    script = Script(concurrency=1)
    async with world(scripts={"email": script}, limits=limits) as w:
        script.gate = w.new_gate()
        w.notify("n", to=[ADA, BOB])
        await w.started()
        await w.kill()
        w.run_process(holder="pod_2", limits=limits)
        w.engine.use_definitions(fit=True)
        w.engine.use_directory(directory(CATALOG))
        w.notify("more", to=EVE)
        done = await w.finished("more")
        assert done.status.reason == "PolicyDenied"
