"""What the watch brings twice, late or in another order, and what it never brings."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS
from notifications_operator.delivery.runners import failures
from tests.unit.delivery.builders import ADA, BOB
from tests.unit.delivery.harness import NAMESPACE, World, world
from tests.unit.delivery.scripted import Script

Event = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def no_pauses() -> Iterator[None]:
    """Let every backoff be over at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failures.Failures, "_back_off", lambda self: 0.001)
        yield


class Watch:
    """Keeps all events back, and delivers them as it likes."""

    def __init__(self, w: World) -> None:
        self._world = w
        self._history: list[Event] = []
        self._undelivered: set[int] = set()
        w.cluster.hold_events()

    def deliver(self, number: int) -> None:
        """Deliver one event of the history, perhaps once more; the number may be any."""
        self._collect()
        if self._history:
            self._deliver(number % len(self._history))

    async def deliver_rest(self, order: random.Random) -> None:
        """Deliver in any order what was never delivered, and what that gives rise to."""
        self._collect()
        while self._undelivered:
            self._deliver(order.choice(sorted(self._undelivered)))
            if order.random() < 0.5:
                await self._world.settle()
            self._collect()

    def _collect(self) -> None:
        held = self._world.cluster._held_events
        assert held is not None
        first = len(self._history)
        self._history.extend(held)
        self._undelivered.update(range(first, len(self._history)))
        held.clear()

    def _deliver(self, index: int) -> None:
        self._undelivered.discard(index)
        kind, body = self._history[index]
        self._world._deliver(kind, body)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@example(steps=["edit", "relabel"], seed=1, removed=True, standby=True)
@given(
    st.lists(st.sampled_from(["edit", "relabel", "redirect", "again", "work"]), max_size=8),
    st.integers(0, 2**16),
    st.booleans(),
    st.booleans(),
)
def test_any_order_and_repetition_of_events_comes_to_the_same_end(
    steps: list[str], seed: int, removed: bool, standby: bool
) -> None:
    """The newest version is delivered once to everyone; what is deleted is let go."""

    async def campaign() -> None:
        order = random.Random(seed)
        script = Script()
        async with world(scripts={"email": script}) as w:
            await w.until(lambda: any(e.reason == "Connected" for e in w.recorder.events))
            watch = Watch(w)
            w.tenure.epoch = None if standby else 1
            before = len(w.cluster.patches)
            w.notify(to=[ADA, BOB])
            for number, step in enumerate(steps):
                match step:
                    case "edit":
                        w.retitle("n", f"edit {number}")
                    case "relabel":
                        w.annotate("n", "example.com/a", str(number))
                    case "redirect":
                        w.redirect("n", [ADA, BOB] if number % 2 else [ADA])
                    case "again":
                        watch.deliver(order.randrange(100))
                    case "work":
                        watch.deliver(order.randrange(100))
                        await w.settle()
            if removed:
                w.remove("n")
            for _ in range(order.randrange(5)):
                watch.deliver(order.randrange(100))
            await watch.deliver_rest(order)
            if standby:
                await w.settle()
                assert len(w.cluster.patches) == before, "a standby writes nothing"
                w.tenure.epoch = 1
                w.engine.lead()
            if removed:
                await w.until(lambda: not w.busy, "let go")
            else:
                await w.finished()
                await watch.deliver_rest(order)
                await w.until(lambda: not w.busy, "done")
                newest = w.get().spec.payload.title
                last = {item.recipient: item.title for item in script.sent}
                assert last[ADA] == newest
            times = Counter(item.identity for item in script.sent)
            assert [item for item, count in times.items() if count > 1] == []

    asyncio.run(campaign())


async def test_newer_version_is_not_displaced_by_an_older_one() -> None:
    """Nothing would bring it again: the watch has delivered it, and a list agrees."""
    script = Script()
    async with world(scripts={"email": script}) as w:
        w.notify(suspend=True)
        await w.state("Suspended")
        await w.settle()
        w.cluster.hold_events()
        older = w.cluster.read(NOTIFICATIONS, "team", "n")
        w.edit("n", lambda body: body["metadata"]["annotations"].update(a="b"))
        newer_older = w.cluster.read(NOTIFICATIONS, "team", "n")
        w.edit("n", lambda body: body["spec"].update(suspend=False))
        newest = w.cluster.read(NOTIFICATIONS, "team", "n")
        for body in (newest, newer_older, older):
            w.engine.offer(body)
        await w.finished()
        assert len(script.sent) == 1


async def test_nothing_is_remembered_of_what_a_runner_found_gone() -> None:
    """The watch may never say so, and then nobody would ever forget it."""
    async with world() as w:
        w.notify()
        await w.finished()
        await w.until(lambda: not w.busy)
        w.cluster.hold_events()
        w.retitle("n", "other")
        body = w.cluster.read(NOTIFICATIONS, "team", "n")
        w.remove("n")
        w.engine.offer(body)
        await w.until(lambda: not w.busy)
        assert w.engine._written == {}


async def test_vanished_one_that_sleeps_is_let_go_by_a_standby_too() -> None:
    script = Script()
    async with world(scripts={"email": script}) as w:
        w.tenure.epoch = None
        w.notify()
        await w.settle()
        assert w.busy
        uid = w.get().metadata.uid
        w.cluster.hold_events()
        w.remove("n")
        w.engine.withdraw(uid)
        await w.until(lambda: not w.busy)


def processor(name: str = "email") -> dict[str, Any]:
    return {
        "kind": "NotificationProcessor",
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {"type": "example.com/email"},
    }


async def test_late_deletion_of_a_processor_spares_the_one_of_the_same_name() -> None:
    """kopf keeps the order of one object's events, not of two objects'."""
    async with world() as w:
        w.cluster.hold_events()
        old = w.cluster.read(PROCESSORS, NAMESPACE, "email")
        w.cluster.remove(PROCESSORS, NAMESPACE, "email")
        new = w.cluster.create(PROCESSORS, processor())
        w.engine.offer_processor(new)
        w.engine.withdraw_processor(old)
        w.engine.offer_processor(old)
        found = w.engine.supervisor.get("email")
        assert found is not None
        assert found.metadata.uid == new["metadata"]["uid"]


async def test_older_version_of_a_processor_is_ignored() -> None:
    async with world() as w:
        w.cluster.hold_events()
        old = w.cluster.read(PROCESSORS, NAMESPACE, "email")
        w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(order=7))
        w.engine.offer_processor(w.cluster.read(PROCESSORS, NAMESPACE, "email"))
        w.engine.offer_processor(old)
        broken = {**old, "spec": {"type": 5}}
        w.engine.offer_processor(broken)
        found = w.engine.supervisor.get("email")
        assert found is not None and found.spec is not None
        assert found.spec.order == 7


async def test_late_event_does_not_bring_a_deleted_processor_back() -> None:
    async with world() as w:
        w.cluster.hold_events()
        old = w.cluster.read(PROCESSORS, NAMESPACE, "email")
        w.engine.withdraw_processor(old)
        w.engine.offer_processor(old)
        assert w.engine.supervisor.get("email") is None
        w.cluster.remove(PROCESSORS, NAMESPACE, "email")
        w.engine.offer_processor(w.cluster.create(PROCESSORS, processor()))
        assert w.engine.supervisor.get("email") is not None
