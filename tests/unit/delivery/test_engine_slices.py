"""The ledger of a large fan-out, through the whole engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.api.references import SLICES
from tests.support.cluster import Interruption, lost_answer, unavailable
from tests.unit.delivery.builders import directory, error, users_yaml
from tests.unit.delivery.harness import World, world
from tests.unit.delivery.scripted import Script

NAMES = [f"u{number:04}" for number in range(1000)]


def states(w: World) -> str:
    return "".join(body["states"] for body in w.slices())


def refs(start: int, end: int) -> list[str]:
    return [f"user:default/{name}" for name in NAMES[start:end]]


async def test_thousand_recipients_cost_few_writes() -> None:
    script = Script(concurrency=8)
    async with world(scripts={"email": script}, catalog=directory(users_yaml(NAMES))) as w:
        w.notify(to=None)
        done = await w.finished()
        await w.engine.drain()
        assert done.status.summary == "1000/1000"
        assert done.status.ledger is not None
        assert (done.status.ledger.type, done.status.ledger.slices) == ("Slices", 4)
        assert done.status.deliveries == []
        assert states(w) == "S" * 1000
        assert Counter(script.recipients) == dict.fromkeys(refs(0, 1000), 1)
        writes = len(w.patches()) + w.cluster.slice_patches + len(w.slices())
        assert writes <= 40
        owners = {body["metadata"]["ownerReferences"][0]["uid"] for body in w.slices()}
        assert owners == {done.metadata.uid}


@pytest.mark.parametrize("fault", [unavailable, lost_answer])
async def test_edit_whose_status_is_not_written_is_planned_again(
    fault: Callable[..., Interruption],
) -> None:
    """The slices have the edit already; sent by the status of before it would be no update."""
    script = Script(concurrency=8)
    async with world(scripts={"email": script}, catalog=directory(users_yaml(NAMES[:300]))) as w:
        w.notify(to=None)
        await w.finished()
        script.sent.clear()
        w.cluster.interrupt(fault(when=lambda status: status.get("revision") == 2, times=2))
        w.retitle("n", "second")
        await w.until(lambda: len(script.sent) >= 300, "everybody got the update")
        done = await w.finished()
        await w.engine.drain()
        assert Counter((item.revision, item.title) for item in script.sent) == {(2, "second"): 300}
        assert (done.status.revision, done.status.summary) == (2, "300/300")


async def test_a_claim_whose_answer_was_lost_is_not_sent_as_the_edit_that_follows() -> None:
    """All rows of a slice are claimed as far as is known, so that the edit does not write it."""
    ada, bob = refs(0, 2)
    ended = asyncio.Event()
    small = Script(only=[ada, bob], answers={ada: [error()], bob: [ended]})
    scripts = {"big": Script(concurrency=50), "small": small}
    catalog = directory(users_yaml(NAMES[:150]))
    async with world(scripts=scripts, catalog=catalog, processors=[*scripts]) as w:

        def is_claimed_anew(fields: Mapping[str, Any]) -> bool:
            return len({claim["holder"] for claim in fields.get("claims") or ()}) == 2

        w.cluster.interrupt(
            lost_answer(
                operation="patch_slice",
                when=is_claimed_anew,
                before=lambda: w.retitle("n", "second"),
            )
        )
        begun = small.gate = w.new_gate()
        w.notify(to=None)
        await w.started(2, "small")
        await w.until(lambda: "S" * 150 in [body["states"] for body in w.slices()], "the others")
        begun.set()
        await w.until(lambda: any(item.revision == 2 for item in small.sent), "the edit is sent")
        ended.set()
        await w.until(
            lambda: w.get().finished and w.get().status.summary == "152/152", "all is sent"
        )
        await w.engine.drain()
        newest = Counter(item.recipient for item in small.sent if item.revision == 2)
        assert newest == {ada: 1, bob: 1}


async def test_hundred_stay_in_the_status() -> None:
    async with world(catalog=directory(users_yaml(NAMES[:100]))) as w:
        w.notify(to=None)
        done = await w.finished()
        assert (done.status.summary, len(done.status.deliveries)) == ("100/100", 100)
        assert w.slices() == []


async def test_status_shows_what_needs_attention() -> None:
    no = error(Reason.RECIPIENT_REJECTED, "no such user", retryable=False)
    script = Script(answers={f"user:default/{NAMES[7]}": [no]})
    async with world(scripts={"email": script}, catalog=directory(users_yaml(NAMES[:300]))) as w:
        w.notify(to=None)
        done = await w.finished()
        (shown,) = done.status.deliveries
        assert (shown.recipient, shown.state) == (f"user:default/{NAMES[7]}", "Failed")
        assert (shown.reason, shown.message) == ("RecipientRejected", "no such user")
        assert (done.status.state, done.status.summary) == ("PartiallyDelivered", "299/300")
        assert done.status.processors[0].failed == 1


async def test_restart_goes_on_where_it_was() -> None:
    script = Script(concurrency=8)
    catalog = directory(users_yaml(NAMES[:600]))
    async with world(scripts={"email": script}, catalog=catalog) as w:
        w.notify(to=None)
        await w.started(150)
        sent = list(script.sent)
        await w.kill()
        doubts = states(w).count("C")
        assert doubts <= 128, "the claim window"
        w.restart(holder="pod_2", catalog=catalog)
        done = await w.finished()
        await w.engine.drain()
        assert done.status.summary == "600/600"
        times = Counter(item.recipient for item in [*sent, *script.sent])
        assert set(times) == set(refs(0, 600))
        assert times.total() - 600 <= doubts


async def test_batches_are_as_large_as_slices_where_nothing_can_be_doubled() -> None:
    script = Script(concurrency=2, max_batch=256, idempotent=True)
    catalog = directory(users_yaml(NAMES[:600]))
    async with world(scripts={"email": script}, catalog=catalog, processors=()) as w:
        w.processor("email", onAmbiguous="Hold")
        script.gate = w.new_gate()
        w.notify(to=None)
        await w.started(256)
        await w.kill()
        assert states(w).count("C") > 128
        w.restart(holder="pod_2", catalog=catalog)
        done = await w.finished()
        await w.engine.drain()
        assert done.status.summary == "600/600"
        assert sorted(script.recipients) == refs(0, 600)


async def test_slices_that_were_not_committed_are_written_anew() -> None:
    catalog = directory(users_yaml(NAMES[:600]))
    async with world(catalog=catalog, processors=()) as w:
        w.processor()
        w.cluster.interrupt(
            Interruption(error=None, operation="create_slice", times=2),
            unavailable(operation="create_slice", times=2000),
        )
        w.notify(to=None)
        await w.until(lambda: len(w.slices()) == 2, "two of three slices")
        await w.kill()
        left = {body["metadata"]["uid"] for body in w.slices()}
        w.cluster._interruptions.clear()
        w.restart(holder="pod_2", catalog=catalog)
        done = await w.finished()
        assert done.status.summary == "600/600"
        assert len(w.slices()) == 3
        assert not left & {body["metadata"]["uid"] for body in w.slices()}


async def test_few_recipients_grow_into_slices_by_an_edit() -> None:
    script = Script()
    async with world(scripts={"email": script}, catalog=directory(users_yaml(NAMES))) as w:
        w.notify(to=refs(0, 50))
        await w.finished()
        w.redirect("n", refs(0, 400))
        await w.until(lambda: w.get().status.summary == "400/400", "all sent")
        await w.engine.drain()
        assert Counter(script.recipients) == dict.fromkeys(refs(0, 400), 1)


async def test_edit_of_recipients_keeps_rows_where_they_are() -> None:
    script = Script()
    async with world(scripts={"email": script}, catalog=directory(users_yaml(NAMES))) as w:
        w.notify(to=refs(0, 300))
        await w.finished()
        before = [body["recipients"] for body in w.slices()]
        w.redirect("n", refs(100, 500))
        await w.until(lambda: w.get().status.observed_generation == 2, "seen")
        await w.finished()
        await w.engine.drain()
        after = [body["recipients"] for body in w.slices()]
        assert after[0] == before[0]
        assert after[1][: len(before[1])] == before[1]
        assert Counter(script.recipients) == dict.fromkeys(refs(0, 500), 1)


async def test_edit_of_the_payload_is_sent_to_all() -> None:
    script = Script()
    async with world(scripts={"email": script}, catalog=directory(users_yaml(NAMES[:300]))) as w:
        w.notify(to=None)
        await w.started(100)
        w.retitle("n", "news")
        await w.until(lambda: w.get().status.revision == 2, "edited")
        await w.finished()
        await w.engine.drain()
        newest = [item.recipient for item in script.sent if item.title == "news"]
        assert Counter(newest) == dict.fromkeys(refs(0, 300), 1)
        assert max(Counter(item.identity for item in script.sent).values()) == 1


async def test_redelivery_to_the_failed() -> None:
    no = error(Reason.RECIPIENT_REJECTED, "no", retryable=False)
    script = Script(answers={f"user:default/{NAMES[7]}": [no]})
    async with world(scripts={"email": script}, catalog=directory(users_yaml(NAMES[:300]))) as w:
        w.notify(to=None)
        await w.finished()
        w.annotate("n", "notifications.orchestrator.io/redeliver", "again")
        await w.until(lambda: w.get().status.summary == "300/300", "all sent")
        await w.engine.drain()
        assert len(script.sent) == 301


async def test_deleted_slice_is_in_doubt_and_nobody_is_forgotten() -> None:
    script = Script()
    catalog = directory(users_yaml(NAMES[:600]))
    async with world(scripts={"email": script}, catalog=catalog, processors=()) as w:
        w.processor(onAmbiguous="Hold")
        w.notify(to=None)
        await w.started(550)
        await w.finished()
        await w.kill()
        w.cluster.remove(SLICES, "team", w.slices()[0]["metadata"]["name"])
        w.annotate("n", "notifications.orchestrator.io/redeliver", "again")
        w.restart(holder="pod_2", catalog=catalog)
        done = await w.finished()
        await w.engine.drain()
        assert len(states(w)) == 600
        assert states(w).count("U") == 256
        assert done.status.state == "PartiallyDelivered"


@pytest.mark.parametrize("operation", ["create_slice", "patch_slice", "list_slices", "get"])
@pytest.mark.parametrize("kind", ["lost", "unavailable"])
async def test_fault_of_one_request(operation: str, kind: str) -> None:
    fault = lost_answer if kind == "lost" else unavailable
    script = Script()
    async with world(scripts={"email": script}, catalog=directory(users_yaml(NAMES[:300]))) as w:
        w.cluster.interrupt(fault(operation=operation))
        w.notify(to=None)
        done = await w.finished()
        await w.engine.drain()
        assert done.status.summary == "300/300"
        assert Counter(script.recipients) == dict.fromkeys(refs(0, 300), 1)


async def test_name_of_a_slice_fits() -> None:
    async with world(catalog=directory(users_yaml(NAMES[:101]))) as w:
        name = "n" * 253
        w.notify(name, to=None)
        await w.finished(name)
        (only,) = w.slices(name)
        assert len(only["metadata"]["name"]) <= 253
