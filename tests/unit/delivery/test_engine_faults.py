"""What goes wrong between the engine and the API server, and what must not come of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from notifications_operator.api.errors import ForbiddenError, RejectedError
from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS
from notifications_operator.delivery.runners import failures
from tests.support.cluster import Interruption, MemoryCluster, lost_answer, unavailable
from tests.support.definitions import installed_definitions
from tests.unit.delivery.builders import ADA, BOB, EVE, directory, error, users_yaml
from tests.unit.delivery.harness import World, world
from tests.unit.delivery.scripted import Script


def claims(status: Mapping[str, Any]) -> bool:
    return any(row["state"] == "Claimed" for row in status.get("deliveries", ()))


def records(status: Mapping[str, Any]) -> bool:
    return any(row["state"] == "Sent" for row in status.get("deliveries", ()))


async def test_lost_answer_to_the_claim_still_sends_once() -> None:
    async with world() as w:
        w.cluster.interrupt(lost_answer(when=claims))
        w.notify()
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        assert w.rows()[ADA].attempts == 1


async def test_lost_answer_to_the_record_never_sends_twice() -> None:
    async with world() as w:
        w.cluster.interrupt(lost_answer(when=records))
        w.notify()
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        assert len(w.patches()) == 2


@pytest.mark.parametrize("phase", [claims, records], ids=["claim", "record"])
async def test_patch_that_never_arrives_is_sent_again(phase: Any) -> None:
    async with world() as w:
        w.cluster.interrupt(unavailable(when=phase))
        w.notify()
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        assert w.rows()[ADA].attempts == 1


@pytest.mark.parametrize("phase", [claims, records], ids=["claim", "record"])
async def test_relabel_in_between_is_read_and_decided_again(phase: Any) -> None:
    async with world() as w:
        w.cluster.interrupt(
            Interruption(when=phase, before=lambda: w.annotate("n", "example.com/a", "b"))
        )
        w.notify()
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        assert len(w.patches()) == 2
        assert w.get().metadata.annotations["example.com/a"] == "b"


@pytest.mark.parametrize("phase", [claims, records], ids=["claim", "record"])
async def test_quota_or_policy_that_refuses_is_tried_again(phase: Any) -> None:
    async with world() as w:
        w.cluster.interrupt(Interruption(when=phase, error=ForbiddenError("403 quota")))
        w.notify()
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]


async def test_outage_with_an_outcome_pending_is_recorded_afterwards() -> None:
    script = Script(answers={"*": [error(retryable=False, message="no such user")]})
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify()
        await w.started()
        w.cluster.reachable = False
        gate.set()
        tries = len(w.cluster.patches)
        await w.until(lambda: len(w.cluster.patches) >= tries + 2, "tried twice in vain")
        w.cluster.reachable = True
        done = await w.finished()
        await w.engine.drain()
        assert done.status.state == "Failed"
        assert w.rows()[ADA].message == "no such user"
        assert script.recipients == [ADA]


async def test_update_is_sent_though_the_answer_to_its_claim_is_lost() -> None:
    """The write that records the old revision also claims the new one."""
    script = Script()
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify(title="one")
        await w.started()
        w.retitle("n", "two")
        w.cluster.interrupt(lost_answer(when=claims))
        gate.set()
        await w.until(lambda: w.get().finished and w.get().status.revision == 2)
        await w.engine.drain()
        assert [(item.title, item.revision) for item in script.sent] == [("one", 1), ("two", 2)]


async def test_redelivery_is_sent_though_the_answer_to_its_claim_is_lost() -> None:
    script = Script(answers={"*": [error(retryable=False)]})
    async with world(scripts={"email": script}) as w:
        script.gate = gate = w.new_gate()
        w.notify(to=[ADA, BOB])
        await w.started(2)
        w.annotate("n", "notifications.orchestrator.io/redeliver", "all:1")
        w.cluster.interrupt(lost_answer(when=lambda status: status.get("redelivery") == 1))
        gate.set()
        await w.finished()
        await w.engine.drain()
        assert sorted((item.recipient, item.redelivery) for item in script.sent) == [
            (ADA, 0),
            (ADA, 1),
            (BOB, 0),
            (BOB, 1),
        ]


async def test_edit_after_a_lost_claim_supersedes_what_was_not_sent() -> None:
    async with world() as w:
        w.cluster.interrupt(lost_answer(when=claims))
        w.notify(title="one")
        w.cluster.hold_events()
        await w.until(lambda: any(patch.error for patch in w.cluster.patches), "answer lost")
        w.retitle("n", "two")
        w.cluster.deliver_events()
        await w.until(lambda: w.get().finished and w.get().status.revision == 2)
        await w.engine.drain()
        assert [item.title for item in w.scripts["email"].sent] == ["two"]


async def test_suspending_after_a_lost_claim_sends_nothing() -> None:
    async with world() as w:
        w.cluster.interrupt(lost_answer(when=claims))
        w.notify()
        w.cluster.hold_events()
        await w.until(lambda: any(patch.error for patch in w.cluster.patches), "answer lost")
        w.edit("n", lambda body: body["spec"].update(suspend=True))
        w.cluster.deliver_events()
        await w.state("Suspended")
        await w.engine.drain()
        assert w.scripts["email"].sent == []
        assert (w.rows()[ADA].state, w.rows()[ADA].attempts) == ("Pending", 0)


async def test_late_watch_events_of_a_finished_one_do_nothing() -> None:
    async with world() as w:
        w.notify()
        w.cluster.hold_events()
        await w.finished()
        await w.until(lambda: not w.busy, "runner ended")
        w.cluster.deliver_events()
        await w.settle()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        assert len([patch for patch in w.cluster.patches if patch.name == "n"]) == 2


@pytest.mark.parametrize(
    "field",
    [
        "deliveries.holder",
        "deliveries.attempts",
        "deliveries.revision",
        "revision",
        "redelivery",
    ],
)
async def test_pruned_claims_never_send(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "REFUSED_DELAY", 0.01)
    older = installed_definitions()[NOTIFICATIONS].without(f"status.{field}")
    cluster = MemoryCluster(
        definitions={
            NOTIFICATIONS: older,
            PROCESSORS: installed_definitions()[PROCESSORS],
        }
    )
    async with world(cluster=cluster) as w:
        w.notify()
        await w.until(lambda: len(w.patches()) >= 4, "tried again and again")
        await w.engine.drain()
        assert w.scripts["email"].started == []
        (event,) = w.events()
        assert (event.warning, event.reason) == (True, "StatusRefused")
        assert "CRDs" in event.note


def refuse_details(w: World) -> Interruption:
    """The object is at its limit: only a status without messages still fits."""

    def detailed(status: Mapping[str, Any]) -> bool:
        return any("message" in row for row in status.get("deliveries", ()))

    return Interruption(error=RejectedError("request is too large"), when=detailed, times=99)


async def test_refused_record_falls_back_to_a_minimal_one_without_a_second_mail() -> None:
    async with world() as w:
        w.cluster.interrupt(refuse_details(w))
        w.notify()
        done = await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        assert done.status.state == "Delivered"
        assert w.rows()[ADA].message is None
        reasons = [event.reason for event in w.events()]
        assert reasons == ["StatusRefused", "Delivered"]


async def test_record_that_is_refused_for_good_is_kept_and_never_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failures, "REFUSED_DELAY", 0.01)
    async with world() as w:
        refusal = Interruption(error=RejectedError("422"), when=records, times=20)
        w.cluster.interrupt(refusal)
        w.notify()
        await w.until(lambda: refusal.times <= 5, "refused many times")
        assert [event.reason for event in w.events()] == ["StatusRefused", "StatusRefused"]
        await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]


async def test_one_that_cannot_be_stored_does_not_delay_another() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        w.cluster.interrupt(
            Interruption(
                error=RejectedError("request is too large"),
                when=lambda status: claims(status) and EVE in str(status),
                times=99,
            )
        )
        w.notify("bad", to=EVE)
        await w.until(lambda: bool(w.events("bad")), "refused")
        w.notify("good", to=ADA)
        await w.finished("good")
        await w.engine.drain()
        assert script.recipients == [ADA]


async def test_one_whose_record_cannot_be_stored_does_not_delay_another() -> None:
    script = Script(concurrency=1)
    async with world(scripts={"email": script}) as w:
        w.cluster.interrupt(
            Interruption(
                error=RejectedError("request is too large"),
                when=lambda status: records(status) and EVE in str(status),
                times=99,
            )
        )
        w.notify("bad", to=EVE)
        await w.until(lambda: bool(w.events("bad")), "refused")
        w.notify("good", to=ADA)
        await w.finished("good")
        assert script.recipients == [EVE, ADA]


async def test_real_object_limit_keeps_the_record() -> None:
    """The claim just fits into the object; the record must, too."""
    names = [f"user{number}" for number in range(50)]
    catalog = directory(users_yaml(names))
    script = Script(answers={"*": [error(retryable=False, message="x" * 500)] * 50}, concurrency=50)
    cluster = MemoryCluster()
    async with world(scripts={"email": script}, catalog=catalog, cluster=cluster) as w:
        script.gate = gate = w.new_gate()
        w.notify(to=[f"user:default/{name}" for name in names], payload={"severity": "critical"})
        await w.started(50)
        cluster.object_limit = len(str(cluster.read(NOTIFICATIONS, "team", "n")))
        gate.set()
        done = await w.finished()
        await w.engine.drain()
        assert done.status.state == "Failed"
        assert {row.state for row in w.rows().values()} == {"Failed"}
        assert len(script.sent) == 50
