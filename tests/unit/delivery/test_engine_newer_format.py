"""A ledger that a newer release wrote is left alone, and gone on with once it can be read again."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from notifications_operator.api.conditions import Condition
from notifications_operator.api.errors import ForbiddenError
from notifications_operator.api.notification import REDELIVER_ANNOTATION
from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS, SLICES, ObjectRef
from notifications_operator.api.resource import ObjectMeta
from notifications_operator.delivery.runners import runner
from notifications_operator.delivery.storage import left_alone
from notifications_operator.delivery.storage.newer_format import NEWER_FORMAT
from tests.support.cluster import Interruption, MemoryCluster, unavailable
from tests.support.definitions import Definition, installed_definitions
from tests.unit.delivery.builders import ADA, BOB, EVE, directory, error, users_yaml
from tests.unit.delivery.harness import NAMESPACE, World, world
from tests.unit.delivery.scripted import Script

NAMES = [f"u{number:03}" for number in range(300)]
AT_ONCE = {"shutdown_grace": 5, "open_wait": 0}
"""Settings by which a first write waits for nothing."""

MANY = [f"user:default/{name}" for name in NAMES]

Status = dict[str, Any]
Change = Callable[[Status], object]


def _format(status: Status) -> None:
    status["ledger"]["format"] = 99


def _type(status: Status) -> None:
    status["ledger"]["type"] = "Table"


def _state(status: Status) -> None:
    status["state"] = "Paused"


def _delivery(status: Status) -> None:
    status["deliveries"] = [
        {"processor": "email", "recipient": ADA, "state": "Queued"},
        *status.get("deliveries", [])[1:],
    ]


def _everything(status: Status) -> None:
    """Replace the status by one of which this release knows no value."""
    status.clear()
    status.update(ledger={"format": 2}, state="Queued", conditions=[])


CHANGES = pytest.mark.parametrize("change", [_format, _type, _state, _delivery, _everything])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_alone, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(runner, "SLICE_RECHECK", 0.02)


def newer_definitions() -> dict[str, Definition]:
    """Return definitions under which slices may have letters that this release does not know."""
    schema = copy.deepcopy(dict(installed_definitions()[SLICES].schema))
    del schema["properties"]["states"]["pattern"]
    return {**installed_definitions(), SLICES: Definition(schema)}


def raw(w: World, name: str = "n") -> dict[str, Any]:
    return w.cluster.read(NOTIFICATIONS, "team", name)


def status_of(w: World, name: str = "n") -> Status:
    found: Status = raw(w, name)["status"]
    return found


def delivered(w: World, name: str = "n") -> Condition:
    """Return the condition; an empty one if it is not there."""
    stored = status_of(w, name).get("conditions", [])
    found = (Condition.model_validate(item) for item in stored if item["type"] == "Delivered")
    none = {"type": "Delivered", "status": "", "reason": ""}
    return next(found, Condition(**none, last_transition_time=datetime.now(UTC)))


def is_told(w: World, name: str = "n") -> bool:
    found = delivered(w, name)
    return (found.status, found.reason) == ("Unknown", NEWER_FORMAT)


def gauge(w: World) -> float:
    w.engine.measure()
    return REGISTRY.get_sample_value("notifications_newer_format") or 0.0


def replace_status(w: World, change: Change, name: str = "n") -> Status:
    """Change the status, as a newer release does; return what it was."""
    before = status_of(w, name)
    w.cluster.write_status(NOTIFICATIONS, "team", name, _as_none(change))
    return before


def _as_none(change: Change) -> Callable[[Status], None]:
    def changed(status: Status) -> None:
        change(status)

    return changed


def restore(w: World, before: Status, name: str = "n") -> None:
    def put(status: Status) -> None:
        status.clear()
        status.update(before)

    w.cluster.write_status(NOTIFICATIONS, "team", name, put)


async def change_slice(w: World, fields: dict[str, Any], at: int = 0) -> None:
    body = w.slices()[at]
    metadata = ObjectMeta.model_validate(body["metadata"])
    await w.cluster.patch_slice(
        ObjectRef.of(SLICES, metadata), fields, resource_version=metadata.resource_version
    )


def hold(w: World, suspend: bool) -> None:
    """Suspend the processor, or let it send."""
    w.cluster.edit(
        PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(suspend=suspend)
    )


async def pending(w: World, *, to: list[str] | None) -> None:
    """Make a Notification whose deliveries are all pending."""
    hold(w, True)
    w.notify(to=to)
    await w.until(lambda: w.get().status.revision == 1, "it is planned")
    if to is None:
        await w.until(lambda: len(w.slices()) == 2 and w.get().status.ledger is not None, "slices")


def without_conditions(status: Status) -> Status:
    return {name: value for name, value in status.items() if name != "conditions"}


@CHANGES
@pytest.mark.parametrize("to", [[ADA, BOB], None])
async def test_a_pending_notification_is_left_alone_and_then_sent_once(
    change: Change, to: list[str] | None
) -> None:
    script = Script()
    people = [ADA, BOB] if to else MANY
    catalog = directory(users_yaml(["ada", "bob"] if to else NAMES))
    async with world(scripts={"email": script}, catalog=catalog, delivery=AT_ONCE) as w:
        await pending(w, to=to)
        before = replace_status(w, change)
        changed = status_of(w)
        await w.until(lambda: is_told(w), "the condition says it")
        hold(w, False)
        w.engine.use_directory(directory(users_yaml(["eve"])))
        w.engine.use_directory(catalog)
        await w.settle()
        assert without_conditions(status_of(w)) == without_conditions(changed)
        assert script.started == []
        (event,) = w.events()
        assert (event.warning, event.reason) == (True, NEWER_FORMAT)
        assert "upgrade the operator" in event.note
        assert gauge(w) == 1
        assert "team/n" in w.engine.remarks["newer-format"]
        restore(w, before)
        done = await w.finished()
        assert done.status.summary == f"{len(people)}/{len(people)}"
        assert Counter(script.recipients) == dict.fromkeys(people, 1)
        assert gauge(w) == 0
        assert w.engine.remarks == {}
        assert delivered(w).reason == "Delivered"


@pytest.mark.parametrize(
    "fields",
    [
        {"format": 99},
        {"states": "X" * 256},
        {"states": "P"},
        {"details": [{"row": 256, "reason": "Later"}]},
        {"claims": [{"holder": "new", "time": "2030-01-01T00:00:00Z", "rows": [-1]}]},
    ],
)
@pytest.mark.parametrize("at", [0, 1])
async def test_a_slice_of_a_newer_format_keeps_all_of_its_notification_waiting(
    fields: dict[str, Any], at: int
) -> None:
    script = Script()
    cluster = MemoryCluster(definitions=newer_definitions())
    async with world(
        scripts={"email": script}, catalog=directory(users_yaml(NAMES)), cluster=cluster
    ) as w:
        await pending(w, to=None)
        before = w.slices()[at]
        await w.kill()
        await change_slice(w, fields, at)
        hold(w, False)
        w.restart(holder="pod_2", catalog=directory(users_yaml(NAMES)))
        await w.until(lambda: is_told(w), "the condition says it")
        stored = w.slices()
        await w.settle()
        assert (script.started, w.slices()) == ([], stored)
        assert before["metadata"]["name"] in delivered(w).message
        assert [event.reason for event in w.events()] == [NEWER_FORMAT]
        assert gauge(w) == 1
        put_back = {name: before.get(name) for name in fields}
        await change_slice(w, put_back, at)
        done = await w.finished()
        assert done.status.summary == "300/300"
        assert Counter(script.recipients) == dict.fromkeys(MANY, 1)
        assert gauge(w) == 0


async def test_what_is_in_flight_ends_and_is_recorded_once_it_can_be_read() -> None:
    """One send is under way; others are claimed and wait for the throttle: those do not begin."""
    script = Script(concurrency=3, starts=1, interval=timedelta(seconds=0.3))
    async with world(scripts={"email": script}, delivery=AT_ONCE) as w:
        gate = script.gate = w.new_gate()
        w.notify(to=[ADA, BOB, EVE])
        await w.started()
        assert status_of(w)["processors"][0]["pending"] == 3
        assert "Pending" not in [row.state for row in w.get().status.deliveries]
        before = replace_status(w, _format)
        await w.until(lambda: is_told(w), "the condition says it")
        stored = status_of(w)
        gate.set()
        end = time.monotonic() + 0.9
        await w.until(lambda: time.monotonic() > end, "the throttle would have let all through")
        assert status_of(w) == stored
        assert len(script.started) == len(script.sent) == 1
        restore(w, before)
        done = await w.finished()
        assert done.status.summary == "3/3"
        assert Counter(script.recipients) == dict.fromkeys([ADA, BOB, EVE], 1)


async def test_a_status_that_is_read_after_the_slices_counts() -> None:
    script = Script()
    catalog = directory(users_yaml(NAMES))
    async with world(scripts={"email": script}, catalog=catalog, delivery=AT_ONCE) as w:
        await pending(w, to=None)
        await w.kill()
        hold(w, False)
        before = status_of(w)
        slices = w.slices()
        w.cluster.hold_events()
        w.cluster.interrupt(
            Interruption(operation="list_slices", before=lambda: replace_status(w, _type))
        )
        w.restart(holder="pod_2", catalog=catalog)
        await w.until(lambda: is_told(w), "the condition says it")
        await w.settle()
        assert (script.started, w.slices()) == ([], slices)
        w.cluster.deliver_events()
        restore(w, before)
        assert (await w.finished()).status.summary == "300/300"
        assert Counter(script.recipients) == dict.fromkeys(MANY, 1)


async def test_an_older_version_that_comes_late_does_not_bring_it_back() -> None:
    script = Script()
    async with world(scripts={"email": script}, delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])
        late = raw(w)
        replace_status(w, _format)
        await w.until(lambda: is_told(w), "the condition says it")
        stored = raw(w)
        hold(w, False)
        w.engine.offer(late)
        await w.settle()
        await w.until(lambda: gauge(w) == 1, "it is met again")
        assert (raw(w), script.started, len(w.events())) == (stored, [], 1)


async def test_where_the_condition_is_forbidden_an_event_says_it() -> None:
    async with world(delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])
        forbidden = ForbiddenError("a policy forbids it")
        w.cluster.interrupt(Interruption(error=forbidden, times=1_000_000))
        replace_status(w, _format)
        tries = len(w.cluster.patches)
        await w.until(lambda: len(w.cluster.patches) > tries + 2, "it is tried again")
        assert [event.reason for event in w.events()] == [NEWER_FORMAT]
        assert gauge(w) == 1


async def test_a_slice_that_changes_while_it_is_sent_stops_the_rest() -> None:
    script = Script(concurrency=4)
    async with world(
        scripts={"email": script}, catalog=directory(users_yaml(NAMES)), delivery=AT_ONCE
    ) as w:
        gate = script.gate = w.new_gate()
        w.notify(to=None)
        await w.started()
        await change_slice(w, {"format": 99})
        gate.set()
        await w.until(lambda: is_told(w), "the condition says it")
        await w.settle()
        sent = len(script.sent)
        await w.settle()
        assert len(script.sent) == sent < 300
        await change_slice(w, {"format": None})
        assert (await w.finished()).status.summary == "300/300"
        assert Counter(script.recipients) == dict.fromkeys(MANY, 1)


async def test_the_status_is_met_by_reading_after_a_conflict() -> None:
    """The watch lags: nothing but a conflict tells that a newer release was here."""
    script = Script()
    async with world(scripts={"email": script}, delivery=AT_ONCE) as w:
        gate = script.gate = w.new_gate()
        w.notify(to=[ADA])
        await w.started()
        w.cluster.hold_events()
        before = replace_status(w, _type)
        gate.set()
        await w.until(lambda: w.cluster.patches[-1].error is not None, "a write meets it")
        await w.settle()
        assert status_of(w)["ledger"]["type"] == "Table"
        w.cluster.deliver_events()
        await w.until(lambda: is_told(w), "the condition says it")
        restore(w, before)
        assert (await w.finished()).status.summary == "1/1"
        assert script.recipients == [ADA]


async def test_it_is_said_once_and_again_only_after_an_edit() -> None:
    async with world(delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])
        replace_status(w, _format)
        await w.until(lambda: is_told(w), "the condition says it")
        patches = len(w.patches())
        for catalog in ("ada", "bob"):
            w.engine.use_directory(directory(users_yaml([catalog])))
        w.annotate("n", "example.com/note", "x")
        w.engine.offer(raw(w))
        await w.settle()
        assert len(w.patches()) == patches
        w.retitle("n", "second")
        await w.until(lambda: delivered(w).observed_generation == 2, "it says so of the edit")
        await w.settle()
        assert len(w.patches()) == patches + 1
        assert len(w.events()) == 1


async def test_a_restart_says_nothing_again() -> None:
    async with world(delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])
        replace_status(w, _format)
        await w.until(lambda: is_told(w), "the condition says it")
        patches = len(w.patches())
        await w.kill()
        w.restart(holder="pod_2")
        await w.until(lambda: gauge(w) == 1, "it is met again")
        await w.settle()
        assert (len(w.patches()), len(w.events())) == (patches, 1)
        w.remove("n")
        await w.until(lambda: gauge(w) == 0, "a deleted one is not left alone")
        assert w.engine.remarks == {}


async def test_other_conditions_and_fields_are_kept() -> None:
    theirs = {
        "type": "Sealed",
        "status": "True",
        "reason": "ByThem",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    async with world(delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])

        def change(status: Status) -> None:
            _format(status)
            status["conditions"].insert(1, theirs)

        replace_status(w, change)
        before = status_of(w)["conditions"]
        await w.until(lambda: is_told(w), "the condition says it")
        after = status_of(w)["conditions"]
        assert [item["type"] for item in after] == [item["type"] for item in before]
        differing = [item["type"] for item, was in zip(after, before, strict=True) if item != was]
        assert differing == ["Delivered"]


async def test_only_the_leader_says_it() -> None:
    async with world(delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])
        w.tenure.epoch = None
        w.engine.lead()
        before = replace_status(w, _format)
        await w.settle()
        assert not is_told(w)
        assert (w.engine.remarks, gauge(w)) == ({}, 0)
        w.tenure.epoch = 2
        w.engine.lead()
        await w.until(lambda: is_told(w), "the new leader says it")
        assert gauge(w) == 1
        restore(w, before)
        hold(w, False)
        assert (await w.finished()).status.summary == "1/1"


async def test_a_standby_forgets_what_the_newer_leader_finished() -> None:
    script = Script()
    async with world(scripts={"email": script}, delivery=AT_ONCE) as w:
        w.tenure.epoch = None
        w.engine.lead()
        w.notify(to=[ADA])
        await w.until(lambda: w.busy, "it is watched")

        def begin(status: Status) -> None:
            status.update(ledger={"format": 2}, state="Delivering", observedGeneration=1)

        def end(status: Status) -> None:
            complete = {"type": "Complete", "status": "True", "reason": "Delivered"}
            moment = {"lastTransitionTime": "2030-01-01T00:00:00Z"}
            status.update(state="Delivered", conditions=[complete | moment])

        replace_status(w, begin)
        await w.until(lambda: not w.busy, "no runner is kept for it")
        replace_status(w, end)
        await w.settle()
        finished = raw(w)
        w.tenure.epoch = 3
        w.engine.lead()
        await w.settle()
        assert gauge(w) == 0
        assert (raw(w), w.events(), script.started) == (finished, [], [])


async def test_a_finished_one_is_not_touched_and_its_ttl_does_not_end_it() -> None:
    async with world() as w:
        w.notify(ttlSecondsAfterFinished=1)
        done = await w.finished()
        replace_status(w, _format)
        stored = raw(w)
        completed = done.status.completion_time
        assert completed is not None
        await w.until(lambda: datetime.now(UTC) - completed > timedelta(seconds=1.3), "its TTL")
        await w.settle()
        assert raw(w) == stored
        assert gauge(w) == 0
        assert [event.reason for event in w.events()] == ["Delivered"]


async def test_a_redelivery_waits_until_it_can_be_read() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        w.notify(to=[ADA])
        await w.finished()
        before = replace_status(w, _format)
        w.annotate("n", REDELIVER_ANNOTATION, "all:1")
        await w.until(lambda: is_told(w), "the condition says it")
        await w.settle()
        assert len(script.sent) == 1
        restore(w, before)
        await w.until(lambda: len(script.sent) == 2, "it is sent again")
        done = await w.finished()
        assert done.status.last_redeliver == "all:1"
        assert script.recipients == [ADA, ADA]


async def test_the_condition_of_a_finished_one_is_put_right() -> None:
    """The redelivery is withdrawn meanwhile, so that nothing else would write the status."""
    script = Script(answers={ADA: [error(retryable=False)]})
    async with world(scripts={"email": script}) as w:
        w.notify(to=[ADA, BOB])
        await w.finished()
        before = status_of(w)["conditions"]
        replace_status(w, _format)
        w.annotate("n", REDELIVER_ANNOTATION, "1")
        await w.until(lambda: is_told(w), "the condition says it")
        w.edit("n", lambda body: body["metadata"]["annotations"].pop(REDELIVER_ANNOTATION))
        w.cluster.write_status(
            NOTIFICATIONS, "team", "n", lambda body: body["ledger"].update(format=1)
        )
        await w.until(lambda: not is_told(w), "it is put right")
        after = status_of(w)["conditions"]
        assert [{**item, "lastTransitionTime": None} for item in after] == [
            {**item, "lastTransitionTime": None} for item in before
        ]
        assert len(script.sent) == 2


@pytest.mark.parametrize("refusal", [unavailable, None])
async def test_a_condition_that_cannot_be_written_is_tried_again(refusal: Any) -> None:
    forbidden = ForbiddenError("a policy forbids it")
    fault = refusal(times=2) if refusal else Interruption(error=forbidden, times=3)
    async with world(delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])
        w.cluster.interrupt(fault)
        replace_status(w, _format)
        await w.until(lambda: is_told(w), "the condition says it")
        await w.settle()
        assert [event.reason for event in w.events()] == [NEWER_FORMAT]


async def test_others_go_on_and_the_process_drains() -> None:
    script = Script()
    async with world(scripts={"email": script}, delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])
        replace_status(w, _format)
        await w.until(lambda: is_told(w), "the condition says it")
        hold(w, False)
        w.notify("other", to=[BOB])
        assert (await w.finished("other")).status.summary == "1/1"
        async with asyncio.timeout(2):
            await w.engine.drain()
        assert script.recipients == [BOB]


async def test_a_specification_that_cannot_be_read_either_is_not_rejected() -> None:
    """A rejection would end what the newer release has still to send."""
    async with world(delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])
        replace_status(w, _format)
        body = raw(w)
        body["spec"]["recipients"] = {"type": "topic"}
        body["metadata"]["generation"] = 2
        body["metadata"]["resourceVersion"] = str(int(body["metadata"]["resourceVersion"]) + 1)
        w.engine.offer(body)
        await w.until(lambda: is_told(w), "the condition says it")
        await w.settle()
        assert status_of(w)["state"] == "Pending"


async def test_what_is_written_says_its_format() -> None:
    async with world(catalog=directory(users_yaml(NAMES))) as w:
        w.notify(to=None)
        await w.finished()
        assert status_of(w)["ledger"] == {"format": 1, "type": "Slices", "revision": 1, "slices": 2}
        assert [body["format"] for body in w.slices()] == [1, 1]


async def test_what_has_no_format_is_of_the_first_and_goes_on() -> None:
    script = Script()
    async with world(
        scripts={"email": script}, catalog=directory(users_yaml(NAMES)), delivery=AT_ONCE
    ) as w:
        await pending(w, to=None)
        await w.kill()
        w.cluster.write_status(
            NOTIFICATIONS, "team", "n", lambda body: body["ledger"].pop("format")
        )
        for at in range(2):
            await change_slice(w, {"format": None}, at)
        hold(w, False)
        w.restart(holder="pod_2", catalog=directory(users_yaml(NAMES)))
        assert (await w.finished()).status.summary == "300/300"
        assert Counter(script.recipients) == dict.fromkeys(MANY, 1)
        assert status_of(w)["ledger"]["format"] == 1


@pytest.mark.parametrize("finished", [True, False])
async def test_a_version_that_comes_late_changes_nothing(finished: bool) -> None:
    script = Script()
    async with world(scripts={"email": script}, delivery=AT_ONCE) as w:
        await pending(w, to=[ADA])
        before = replace_status(w, _format)
        late = raw(w)
        await w.until(lambda: is_told(w), "the condition says it")
        restore(w, before)
        await w.until(lambda: gauge(w) == 0, "it is gone on with")
        if finished:
            hold(w, False)
            await w.finished()
            await w.until(lambda: not w.busy, "nothing is left to do")
        w.engine.offer(late)
        await w.settle()
        assert gauge(w) == 0
        hold(w, False)
        assert (await w.finished()).status.summary == "1/1"
        assert script.recipients == [ADA]
