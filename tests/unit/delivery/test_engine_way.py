"""The way of Notifications through the engine, when nothing goes wrong around it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from notifications_operator.api.conditions import ConditionType, find_condition
from notifications_operator.api.notification import REDELIVER_ANNOTATION, DeliveryState
from notifications_operator.api.reasons import Reason
from notifications_operator.processors.errors import Scope
from tests.unit.delivery.builders import (
    ADA,
    BOB,
    EVE,
    directory,
    error,
    manifest,
    users_yaml,
)
from tests.unit.delivery.harness import world
from tests.unit.delivery.scripted import Script


async def test_single_recipient_takes_two_patches_and_one_event() -> None:
    async with world() as w:
        w.notify()
        done = await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        claim, record = (patch.status for patch in w.cluster.patches if patch.name == "n")
        assert [row["state"] for row in claim["deliveries"]] == ["Claimed"]
        assert [row["state"] for row in record["deliveries"]] == ["Sent"]
        (event,) = w.events()
        assert (event.warning, event.reason) == (False, "Delivered")
        assert (done.status.state, done.status.summary) == ("Delivered", "1/1")


async def test_claim_is_stored_before_the_first_byte() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = w.new_gate()
        w.notify()
        await w.started()
        row = w.rows()[ADA]
        assert (row.state, row.attempts) == (DeliveryState.CLAIMED, 1)
        assert (row.holder or "").startswith("1/pod_1/")


async def test_first_write_has_all_that_kstatus_reads() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = w.new_gate()
        w.notify()
        await w.started()
        status = w.get().status
        assert status.observed_generation == 1
        found = {item.type: item.status for item in status.conditions}
        assert (found["Ready"], found["Reconciling"], found["Stalled"]) == (
            "False",
            "True",
            "False",
        )


async def test_group_is_claimed_and_recorded_in_few_writes() -> None:
    names = [f"u{number:03}" for number in range(60)]
    script = Script(concurrency=64)
    catalog = directory(users_yaml(names))
    async with world(scripts={"email": script}, catalog=catalog) as w:
        script.gate = gate = w.new_gate()
        w.notify(to=None, payload={"severity": "high"})
        await w.started(60)
        gate.set()
        done = await w.finished()
        await w.engine.drain()
        assert done.status.summary == "60/60"
        assert len(w.patches()) <= 3


async def test_more_than_the_window_goes_in_turns_without_a_write_for_each() -> None:
    names = [f"u{number:03}" for number in range(200)]
    script = Script(concurrency=10)
    async with world(scripts={"email": script}, catalog=directory(users_yaml(names))) as w:
        w.notify(to=None)
        done = await w.finished()
        await w.engine.drain()
        assert done.status.summary == "200/200"
        assert sorted(script.recipients) == [f"user:default/{name}" for name in names]
        most = max(
            sum(row["state"] == "Claimed" for row in patch.get("deliveries", ()))
            for patch in w.patches()
        )
        assert most <= 128, "the claim window"


async def test_broadcast_holds_nobody_up() -> None:
    names = [f"u{number:03}" for number in range(300)]
    script = Script(concurrency=2)
    async with world(scripts={"email": script}, catalog=directory(users_yaml(names))) as w:
        w.notify("broadcast", to=None)
        await w.started(20)
        before = len(script.started)
        w.notify("small", to="user:default/u000")
        await w.finished("small")
        assert len(script.started) - before < 200, "it went in between"
        await w.finished("broadcast")


async def test_two_processors() -> None:
    scripts = {"email": Script(), "slack": Script()}
    async with world(scripts=scripts, processors=("email", "slack")) as w:
        w.notify(to=[ADA, BOB])
        done = await w.finished()
        await w.engine.drain()
        assert done.status.summary == "4/4"
        assert [script.recipients for script in scripts.values()] == [[ADA, BOB]] * 2
        assert len(w.patches()) == 2
        identities = {item.identity for script in scripts.values() for item in script.sent}
        assert len(identities) == 4


async def test_failed_and_sent_is_partial() -> None:
    script = Script(answers={BOB: [error(Reason.RECIPIENT_REJECTED, "no", retryable=False)]})
    async with world(scripts={"email": script}) as w:
        w.notify(to=[ADA, BOB])
        done = await w.finished()
        await w.engine.drain()
        assert (done.status.state, done.status.summary) == ("PartiallyDelivered", "1/2")
        assert done.status.reason == "RecipientRejected"
        (event,) = w.events()
        assert (event.warning, event.reason) == (True, "PartiallyDelivered")
        assert BOB in event.note


async def test_retry_is_made_and_counted() -> None:
    script = Script(answers={"*": [error(Reason.GREYLISTED, "later")]})
    async with world(scripts={"email": script}) as w:
        w.notify()
        await w.until(
            lambda: [row.state for row in w.rows().values()] == [DeliveryState.RETRYING], "failed"
        )
        waiting = w.get()
        assert waiting.status.processors[0].retrying == 1
        assert waiting.status.processors[0].next_attempt_time is not None
        await w.finished()
        await w.engine.drain()
        assert w.rows()[ADA].attempts == 2
        assert len({item.identity for item in script.sent}) == 1
        assert len(w.events()) == 1


async def test_lost_answer_of_the_next_hop_is_sent_again_as_the_same() -> None:
    script = Script(answers={"*": [error(Reason.AMBIGUOUS, "timeout", scope=Scope.MESSAGE)]})
    async with world(scripts={"email": script}) as w:
        w.notify()
        await w.finished()
        first, second = script.sent
        assert first.identity == second.identity


async def test_lost_answer_of_the_next_hop_is_held_if_asked_to() -> None:
    script = Script(answers={"*": [error(Reason.AMBIGUOUS, "timeout", scope=Scope.MESSAGE)]})
    async with world(scripts={"email": script}, processors=()) as w:
        w.processor("email", onAmbiguous="Hold")
        w.notify()
        done = await w.finished()
        assert w.rows()[ADA].state is DeliveryState.UNKNOWN
        assert done.status.state == "Failed"
        assert len(script.sent) == 1


async def test_edit_of_the_payload_while_it_is_being_sent() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify(title="one")
        await w.started()
        w.retitle("n", "two")
        await w.settle()
        gate.set()
        await w.until(lambda: w.get().finished and w.get().status.revision == 2)
        await w.engine.drain()
        assert [(item.title, item.revision) for item in script.sent] == [("one", 1), ("two", 2)]
        assert w.rows()[ADA].revision == 2


async def test_edit_after_the_end_is_sent_as_an_update() -> None:
    async with world() as w:
        w.notify(title="one")
        await w.finished()
        w.retitle("n", "two")
        await w.until(lambda: w.get().status.revision == 2 and w.get().finished)
        w.retitle("n", "one")
        await w.until(lambda: w.get().status.revision == 3 and w.get().finished)
        await w.engine.drain()
        assert [item.title for item in w.scripts["email"].sent] == ["one", "two", "one"]
        assert len({item.identity for item in w.scripts["email"].sent}) == 3


async def test_edit_of_the_recipients_reaches_the_new_ones() -> None:
    async with world() as w:
        w.notify(to=[ADA])
        await w.finished()
        w.redirect("n", [BOB])
        await w.until(lambda: BOB in w.rows() and w.get().finished)
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA, BOB]


async def test_reapply_and_relabel_write_and_send_nothing() -> None:
    async with world() as w:
        w.notify()
        await w.finished()
        before = len([patch for patch in w.cluster.patches if patch.name == "n"])
        w.edit("n", lambda body: body["spec"].update(manifest()["spec"]))
        w.annotate("n", "example.com/a", "b")
        await w.settle()
        await w.engine.drain()
        assert len([patch for patch in w.cluster.patches if patch.name == "n"]) == before
        assert w.scripts["email"].recipients == [ADA]


@pytest.mark.parametrize(
    ("value", "recipients", "identities"),
    [("1", [ADA, BOB, BOB], 2), ("all:1", [ADA, BOB, ADA, BOB], 4)],
)
async def test_redeliver(value: str, recipients: list[str], identities: int) -> None:
    script = Script(answers={BOB: [error(retryable=False)]})
    async with world(scripts={"email": script}) as w:
        w.notify(to=[ADA, BOB])
        await w.finished()
        w.annotate("n", REDELIVER_ANNOTATION, value)
        await w.until(lambda: w.get().status.last_redeliver == value and w.get().finished)
        await w.engine.drain()
        assert script.recipients == recipients
        assert len({item.identity for item in script.sent}) == identities
        assert w.get().status.state == "Delivered"
        assert [event.reason for event in w.events()] == ["PartiallyDelivered", "Delivered"]


async def test_redeliver_at_first_sight_is_only_recorded() -> None:
    async with world() as w:
        w.notify(annotations={REDELIVER_ANNOTATION: "all:1"})
        done = await w.finished()
        await w.engine.drain()
        assert done.status.last_redeliver == "all:1"
        assert w.scripts["email"].recipients == [ADA]


async def test_unknown_recipient_waits_with_one_event_and_goes() -> None:
    async with world(catalog=directory()) as w:
        w.notify()
        await w.until(lambda: bool(w.events()), "said so")
        waiting = w.get()
        found = find_condition(waiting.status.conditions, ConditionType.RECIPIENTS_RESOLVED)
        assert found is not None
        assert (found.status, found.reason) == ("False", "UnknownEntities")
        assert w.scripts["email"].sent == []
        w.engine.use_directory(directory(users_yaml(["ada"])))
        await w.finished()
        assert [event.reason for event in w.events()] == ["UnknownEntities", "Delivered"]


async def test_nothing_is_sent_or_written_before_the_catalog_is_read() -> None:
    async with world() as w:
        fresh = w.run_process(holder="pod_2")
        fresh.use_definitions(fit=True)
        w.notify()
        await w.settle()
        assert [patch for patch in w.cluster.patches if patch.name == "n"] == []
        assert not fresh.synced
        fresh.use_directory(directory(users_yaml(["ada"])))
        await w.finished()
        assert fresh.synced


async def test_waiting_for_a_slot_is_said_after_a_while() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}, delivery={"open_wait": 0.05}) as w:
        script.gate = gate = w.new_gate()
        w.notify("first")
        await w.started()
        w.notify("second", to=EVE)
        await w.until(lambda: w.get("second").status.state == "Pending", "opened")
        await w.until(lambda: w.get("second").status.revision == 1, "opened with its rows")
        assert [row.state for row in w.get("second").status.deliveries] == ["Pending"]
        gate.set()
        await w.finished("second")


async def test_waiting_for_a_slot_briefly_costs_no_write() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}, delivery={"open_wait": 60}) as w:
        script.gate = gate = w.new_gate()
        w.notify("first")
        await w.started()
        w.notify("second", to=EVE)
        await w.settle()
        gate.set()
        await w.finished("second")
        await w.engine.drain()
        assert len([patch for patch in w.cluster.patches if patch.name == "second"]) == 2


async def test_severe_ones_go_first() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify("first")
        await w.started()
        for severity in ("low", "normal", "critical"):
            w.notify(severity, to=[BOB], title=severity, payload={"severity": severity})
        await w.settle()
        gate.set()
        for severity in ("low", "normal", "critical"):
            await w.finished(severity)
        assert [item.title for item in script.sent[1:]] == ["critical", "normal", "low"]


async def test_times_are_told() -> None:
    async with world() as w:
        before = datetime.now(UTC).replace(microsecond=0)
        w.notify()
        done = await w.finished()
        assert done.status.start_time is not None
        assert done.status.completion_time is not None
        assert before <= done.status.start_time <= done.status.completion_time
