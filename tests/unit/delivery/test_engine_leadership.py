"""With and without the Lease: only the leader decides; nothing that is known is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS, SLICES, ObjectRef
from notifications_operator.api.resource import ObjectMeta, format_time
from notifications_operator.processors.errors import LeaseLost
from notifications_operator.telemetry import metrics
from tests.support.cluster import Interruption, MemoryCluster, lost_answer
from tests.unit.delivery.builders import ADA, BOB, EVE, directory, manifest, users_yaml
from tests.unit.delivery.harness import NAMESPACE, World, world
from tests.unit.delivery.scripted import Script


def lead(w: World, epoch: int | None) -> None:
    """Win or lose the Lease."""
    w.tenure.epoch = epoch
    w.engine.lead()


@asynccontextmanager
async def standby(**options: Any) -> AsyncIterator[World]:
    """Run a process that does not lead, and has tried its processors."""
    async with world(processors=(), **options) as w:
        lead(w, None)
        w.processor()
        await w.until(lambda: all(item.readiness.ready for item in w.engine.supervisor.channels))
        yield w


def doubted(row: dict[str, Any], holder: str = "2/other_1/1.1") -> None:
    row |= {"state": "Claimed", "holder": holder}


class TestStandby:
    async def test_it_writes_nothing_at_all(self) -> None:
        async with standby() as w:
            w.notify()
            w.notify("later")
            await w.settle()
            assert w.cluster.patches == []
            assert w.recorder.events == []
            assert w.scripts["email"].started == []

    async def test_what_it_saw_is_done_when_it_leads(self) -> None:
        async with standby() as w:
            w.notify()
            await w.settle()
            lead(w, 3)
            await w.finished()
            await w.until(lambda: bool(w.events()), "the Event")
            row = w.rows()[ADA]
            assert (row.state, row.attempts) == (DeliveryState.SENT, 1)
            claim = next(patch for patch in w.patches() if "deliveries" in patch)
            assert claim["deliveries"][0]["holder"].startswith("3/pod_1/")

    async def test_the_leaders_claims_are_doubts_only_once_it_leads(self) -> None:
        async with standby() as w:
            w.notify()
            await w.settle()
            lead(w, 1)
            w.scripts["email"].gate = w.new_gate()
            await w.started()
            await w.kill()
            lead_tenure, w.tenure.epoch = w.tenure, None
            w.restart(holder="pod_2")
            await w.settle()
            assert w.rows()[ADA].state is DeliveryState.CLAIMED
            lead_tenure.epoch = 2
            w.engine.lead()
            done = await w.finished()
            assert done.status.state == "Delivered"
            assert w.rows()[ADA].attempts == 2

    async def test_what_another_process_finished_is_left_alone(self) -> None:
        async with world() as w:
            w.notify()
            await w.finished()
            await w.until(lambda: not w.busy)
            await w.kill()
            w.tenure.epoch = None
            w.restart(holder="pod_2")
            patches = len(w.patches())
            await w.settle()
            lead(w, 2)
            w.notify("other")
            await w.finished("other")
            assert len(w.patches()) == patches

    async def test_it_says_what_is_wrong_with_processors_only_when_it_leads(self) -> None:
        async with standby() as w:
            w.cluster.create(
                PROCESSORS,
                {
                    "kind": "NotificationProcessor",
                    "metadata": {"namespace": "team", "name": "email"},
                    "spec": {"type": "example.com/email"},
                },
            )
            await w.settle()

            def conditions(namespace: str) -> list[dict[str, Any]]:
                status = w.cluster.read(PROCESSORS, namespace, "email").get("status") or {}
                found: list[dict[str, Any]] = status.get("conditions") or []
                return found

            assert conditions("team") == conditions(NAMESPACE) == []
            lead(w, 1)
            await w.until(lambda: bool(conditions(NAMESPACE)), "the status of the processor")
            await w.until(lambda: bool(conditions("team")), "the status of the other")

    async def test_a_processors_status_is_not_written_again(self) -> None:
        async with standby() as w:
            at = format_time(datetime(2030, 1, 1, tzinfo=UTC))

            def connected(status: dict[str, Any]) -> None:
                status |= {
                    "observedGeneration": 1,
                    "conditions": [
                        {
                            "type": "Ready",
                            "status": "True",
                            "reason": "Connected",
                            "message": "ready to send",
                            "observedGeneration": 1,
                            "lastTransitionTime": at,
                        }
                    ],
                }

            w.cluster.write_status(PROCESSORS, NAMESPACE, "email", connected)
            await w.settle()
            lead(w, 1)
            w.notify()
            await w.finished()
            await w.settle()
            [condition] = w.cluster.read(PROCESSORS, NAMESPACE, "email")["status"]["conditions"]
            assert condition["lastTransitionTime"] == at
            assert [event for event in w.recorder.events if event.name == "email"] == []

    async def test_what_another_process_said_of_a_processor_is_replaced(self) -> None:
        """It led in between, however short, and could not send."""
        async with world() as w:

            def ready() -> dict[str, Any]:
                status = w.cluster.read(PROCESSORS, NAMESPACE, "email").get("status") or {}
                return dict((status.get("conditions") or [{}])[0])

            def refused(status: dict[str, Any]) -> None:
                status["conditions"][0] |= {"status": "False", "reason": "AuthFailed"}

            await w.until(lambda: ready().get("status") == "True", "reported")
            lead(w, None)
            w.cluster.write_status(PROCESSORS, NAMESPACE, "email", refused)
            await w.settle()
            assert ready()["status"] == "False"
            lead(w, 3)
            await w.until(lambda: ready()["status"] == "True", "reported again")

    async def test_one_that_cannot_be_read_is_rejected_when_it_leads(self) -> None:
        async with standby() as w:
            w.cluster.create(NOTIFICATIONS, manifest("n", expiresAt="2999-02-30T00:00:00Z"))
            await w.settle()
            assert w.patches() == []
            lead(w, 1)
            await w.until(lambda: len(w.patches()) == 1, "rejected")
            assert w.patches()[0]["state"] == "Failed"

    async def test_it_stops_at_once(self) -> None:
        async with standby() as w:
            w.notify()
            await w.settle()
            async with asyncio.timeout(2):
                await w.engine.drain()
            assert w.patches() == []

    async def test_the_metric(self) -> None:
        async with standby() as w:
            w.engine.measure()
            assert metrics.LEADER._value.get() == 0
            lead(w, 1)
            w.engine.measure()
            assert metrics.LEADER._value.get() == 1


class TestLoss:
    async def test_a_send_that_ended_is_recorded_and_nothing_else_is_decided(self) -> None:
        gate = asyncio.Event()
        script = Script(answers={ADA: [gate]}, concurrency=1)
        async with world(scripts={"email": script}) as w:
            w.notify(to=[ADA, BOB])
            await w.started()
            lead(w, None)
            before = len(w.patches())
            gate.set()
            await w.until(lambda: w.rows()[ADA].state is DeliveryState.SENT, "recorded")
            await w.settle()
            assert w.scripts["email"].recipients == [ADA]
            [patch] = w.patches()[before:]
            assert set(patch) == {"deliveries"}
            assert w.get().status.state == "Delivering"
            assert w.events() == []
            lead(w, 2)
            assert (await w.finished()).status.state == "Delivered"

    async def test_an_outcome_that_another_process_overtook_is_dropped(self) -> None:
        gate = asyncio.Event()
        async with world(scripts={"email": Script(answers={ADA: [gate]})}) as w:
            w.notify()
            await w.started()
            lead(w, None)
            w.cluster.write_status(
                NOTIFICATIONS, "team", "n", lambda status: doubted(status["deliveries"][0])
            )
            version = w.get().metadata.version
            gate.set()
            await w.until(lambda: w.scripts["email"].recipients == [ADA], "answered")
            await w.settle()
            assert w.get().metadata.version == version

    async def test_a_conflict_lets_the_new_leaders_word_stand(self) -> None:
        """The watch has not said yet that the claim was taken over."""
        gate = asyncio.Event()
        async with world(scripts={"email": Script(answers={ADA: [gate]})}) as w:
            w.notify()
            await w.started()
            lead(w, None)

            def overtake() -> None:
                w.cluster.write_status(
                    NOTIFICATIONS, "team", "n", lambda status: doubted(status["deliveries"][0])
                )

            w.cluster.interrupt(Interruption(before=overtake))
            gate.set()
            await w.until(lambda: w.rows()[ADA].holder == "2/other_1/1.1", "overtaken")
            await w.settle()
            assert w.rows()[ADA].state is DeliveryState.CLAIMED

    async def test_claims_that_were_not_begun_are_given_back(self) -> None:
        """The Lease is lost while the claim is written."""
        async with world() as w:

            def lose() -> None:
                w.tenure.epoch = None

            w.cluster.interrupt(Interruption(before=lose, when=lambda status: True))
            w.notify()
            await w.until(lambda: bool(w.get().status.deliveries), "opened")
            w.engine.lead()
            await w.until(lambda: w.rows()[ADA].state is DeliveryState.PENDING, "given back")
            row = w.rows()[ADA]
            assert (row.attempts, row.holder) == (0, None)
            assert w.scripts["email"].started == []
            lead(w, 2)
            await w.finished()
            assert w.rows()[ADA].attempts == 1

    async def test_a_claim_of_an_earlier_epoch_is_not_sent_on(self) -> None:
        """Between the claim and its answer the Lease was lost and won; another may have led."""
        async with world() as w:

            def lose_and_win() -> None:
                w.tenure.epoch = 3

            w.cluster.interrupt(Interruption(before=lose_and_win))
            w.notify()
            await w.finished()
            claims = [
                row["holder"].partition("/")[0]
                for patch in w.patches()
                for row in patch.get("deliveries", [])
                if row["state"] == "Claimed"
            ]
            assert claims == ["1", "3"]
            assert w.scripts["email"].recipients == [ADA]
            assert w.rows()[ADA].attempts == 1

    async def test_what_waits_for_its_turn_is_not_begun(self) -> None:
        """More is claimed than can be sent at a time, because much was sent just now."""
        gate = asyncio.Event()
        script = Script(concurrency=1)
        async with world(scripts={"email": script}) as w:
            for name in ("a", "b"):
                w.notify(name, to=[ADA, BOB, EVE])
                await w.finished(name)
            script.answers["*"] = [gate]
            w.notify(to=[ADA, BOB, EVE])
            await w.started(7)
            lead(w, None)
            gate.set()
            await w.until(
                lambda: all(row.state is not DeliveryState.CLAIMED for row in w.rows().values()),
                "all recorded",
            )
            assert len(script.recipients) == 7
            assert all(item.readiness.ready for item in w.engine.supervisor.channels)
            lead(w, 2)
            await w.finished()
            assert {row.attempts for row in w.rows().values()} == {1}

    async def test_a_processor_that_is_told_to_stop_does_not_count_as_broken(self) -> None:
        gate = asyncio.Event()
        async with world(scripts={"email": Script(answers={ADA: [LeaseLost()]}, gate=gate)}) as w:
            w.notify()
            await w.started()
            lead(w, None)
            gate.set()
            await w.until(lambda: w.rows()[ADA].state is DeliveryState.PENDING, "given back")
            assert w.rows()[ADA].attempts == 0
            assert all(item.readiness.ready for item in w.engine.supervisor.channels)
            lead(w, 2)
            await w.finished()
            assert w.scripts["email"].verified == 1

    async def test_a_lost_answer_is_no_reason_to_send_again(self) -> None:
        gate = asyncio.Event()
        async with world(scripts={"email": Script(answers={ADA: [gate]})}) as w:
            w.notify()
            await w.started()
            lead(w, None)
            w.cluster.interrupt(lost_answer())
            gate.set()
            await w.until(lambda: w.rows()[ADA].state is DeliveryState.SENT, "recorded")
            lead(w, 2)
            await w.finished()
            assert w.scripts["email"].recipients == [ADA]


async def test_nothing_is_deleted_without_the_lease() -> None:
    async with world() as w:
        w.notify(ttlSecondsAfterFinished=0, to=ADA)
        lead(w, None)
        await w.settle()
        lead(w, 1)
        cluster: MemoryCluster = w.cluster
        await w.until(lambda: not cluster.list(NOTIFICATIONS), "deleted")


class TestSlices:
    async def test_what_is_known_is_recorded_and_the_rest_given_back(self) -> None:
        """Every recipient gets one mail although the Lease is lost and won on the way."""
        names = [f"u{number:03}" for number in range(300)]
        script = Script(concurrency=8)
        catalog = directory(users_yaml(names))
        async with world(scripts={"email": script}, catalog=catalog) as w:
            w.notify(to=None)
            await w.started(100)
            lead(w, None)
            await w.until(
                lambda: not any("C" in item["states"] for item in w.slices()), "nothing claimed"
            )
            begun = len(script.started)
            assert begun < len(names)
            stored = "".join(item["states"] for item in w.slices())
            assert (stored.count("S"), stored.count("P")) == (begun, len(names) - begun)
            await w.settle()
            assert len(script.started) == begun
            lead(w, 2)
            done = await w.finished()
            assert done.status.summary == "300/300"
            assert sorted(script.recipients) == [f"user:default/{name}" for name in names]
            assert {row.attempts for row in w.rows().values()} == {1}

    async def test_a_slice_that_another_process_has_taken_over_is_left_alone(self) -> None:
        names = [f"u{number:03}" for number in range(120)]
        script = Script(concurrency=8)
        catalog = directory(users_yaml(names))
        async with world(scripts={"email": script}, catalog=catalog) as w:
            script.gate = gate = w.new_gate()
            w.notify(to=None)
            await w.started(6)
            lead(w, None)
            [item] = w.slices()
            assert item["states"].count("C") == 6
            metadata = ObjectMeta.model_validate(item["metadata"])
            await w.cluster.patch_slice(
                ObjectRef.of(SLICES, metadata),
                {"states": item["states"].replace("C", "S"), "claims": None},
                resource_version=metadata.resource_version,
            )
            before = [item["metadata"]["resourceVersion"] for item in w.slices()]
            gate.set()
            await w.until(lambda: len(script.sent) >= 6, "answered")
            await w.settle()
            assert [item["metadata"]["resourceVersion"] for item in w.slices()] == before
