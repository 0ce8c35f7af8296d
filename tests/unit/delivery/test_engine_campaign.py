"""Laws of delivery under any pattern of faults: nothing is lost, nothing is silently doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from notifications_operator.api.errors import RejectedError
from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.dispatch import channel
from notifications_operator.delivery.dispatch.health import breaker
from notifications_operator.delivery.ledger import rows
from notifications_operator.delivery.runners import failures, runner
from notifications_operator.delivery.storage.slices import book
from notifications_operator.processors.errors import Outcome, Receipt, Scope
from tests.support.cluster import Interruption, lost_answer, unavailable
from tests.unit.delivery.builders import directory, error, users_yaml
from tests.unit.delivery.harness import World, world
from tests.unit.delivery.scripted import Script

USERS = [f"u{number}" for number in range(5)]
REFS = [f"user:default/{name}" for name in USERS]
FAULTS = ["none", "none", "lost", "unavailable", "relabel", "edit", "too large", "lease"]
OUTCOMES = ["sent", "sent", "sent", "permanent", "outage"]


@pytest.fixture(scope="module", autouse=True, params=["Inline", "Slices"])
def no_pauses(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let every backoff be over at once: the laws are not about time.

    The ledger is in the status, or in slices of two rows.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failures.Failures, "_back_off", lambda self: 0.001)
        patch.setattr(failures, "REFUSED_DELAY", 0.001)
        patch.setattr(breaker, "_DEFAULT_DELAY", (0.001, 0.002))
        patch.setattr(channel, "NOT_READY_POLL", 0.005)
        patch.setattr(rows, "_whole_seconds", lambda moment: moment.replace(microsecond=0))
        if request.param == "Slices":
            patch.setattr(runner, "INLINE_LIMIT", 3)
            patch.setattr(runner, "SLICED_LINGER", 0.005)
            patch.setattr(book, "SLICE_SIZE", 2)
        yield


def fault(w: World, kind: str, number: int) -> Interruption:
    """Make one fault of the next request of any kind."""
    found = fault_of(w, kind, number)
    found.operation = "any"
    return found


def fault_of(w: World, kind: str, number: int) -> Interruption:
    match kind:
        case "lost":
            return lost_answer()
        case "unavailable":
            return unavailable()
        case "too large":
            return Interruption(error=RejectedError("etcdserver: request is too large"))
        case "relabel":
            return Interruption(before=lambda: w.annotate("n", "example.com/a", str(number)))
        case "edit":
            return Interruption(before=lambda: w.retitle("n", f"edit {number}"))
        case "lease":
            return Interruption(before=lambda: lose_lease(w, number))
    return Interruption()


def lose_lease(w: World, number: int) -> None:
    """Let the Lease be lost, and won again a little later under another epoch."""

    def lead(epoch: int | None) -> None:
        w.tenure.epoch = epoch
        w.engine.lead()

    lead(None)
    asyncio.get_running_loop().call_later(0.005, lead, number + 2)


def outcome(kind: str) -> Outcome:
    """Make one answer of the processor."""
    match kind:
        case "permanent":
            return error(Reason.RECIPIENT_REJECTED, "no", retryable=False)
        case "outage":
            return error(Reason.CONNECT_FAILED, "down", scope=Scope.PROCESSOR)
    return Receipt()


def ready(w: World) -> bool:
    return any(event.kind == "NotificationProcessor" for event in w.recorder.events)


COMMON = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@COMMON
@example(faults=["none", "edit", "lost", "edit"], outcomes=[], concurrency=1)
@given(
    st.lists(st.sampled_from(FAULTS), max_size=12),
    st.lists(st.sampled_from(OUTCOMES), max_size=8),
    st.integers(1, 6),
)
def test_one_process_sends_every_delivery_exactly_once(
    faults: list[str], outcomes: list[str], concurrency: int
) -> None:
    async def campaign() -> None:
        script = Script(
            concurrency=concurrency, answers={"*": [outcome(kind) for kind in outcomes]}
        )
        async with world(scripts={"email": script}, catalog=directory(users_yaml(USERS))) as w:
            await w.until(lambda: ready(w), "processor reported")
            w.cluster.interrupt(*(fault(w, kind, at) for at, kind in enumerate(faults)))
            w.notify(to=REFS)
            await w.finished()
            await w.engine.drain()
            check(w, script, outcomes)

    def check(w: World, script: Script, kinds: list[str]) -> None:
        answered = kinds[: len(script.sent)] + ["sent"] * len(script.sent)
        made = [
            item.identity
            for item, kind in zip(script.sent, answered, strict=False)
            if kind != "outage"
        ]
        assert [item for item, times in Counter(made).items() if times > 1] == []
        newest = w.get().status.revision
        by_recipient = {item.recipient: item.revision for item in script.sent}
        assert by_recipient == dict.fromkeys(REFS, newest), "everyone has the newest"
        for row in w.rows().values():
            assert row.state in (DeliveryState.SENT, DeliveryState.FAILED)
            assert (row.attempts, row.revision) == (1, newest)

    asyncio.run(campaign())


@COMMON
@example(faults=["none", "none", "unavailable"], kills=[0], concurrency=1, on_ambiguous="Resend")
@given(
    st.lists(st.sampled_from(["none", "lost", "unavailable", "relabel"]), max_size=8),
    st.lists(st.integers(0, 12), min_size=1, max_size=3),
    st.integers(1, 6),
    st.sampled_from(["Hold", "Resend"]),
)
@example(
    faults=["unavailable"] * 3 + ["none", "none", "unavailable", "relabel", "relabel"],
    kills=[2, 7, 7],
    concurrency=1,
    on_ambiguous="Resend",
)
def test_killed_processes_lose_nothing_and_double_only_what_is_in_doubt(
    faults: list[str], kills: list[int], concurrency: int, on_ambiguous: str
) -> None:
    async def campaign() -> None:
        script = Script(concurrency=concurrency)
        catalog = directory(users_yaml(USERS))
        sent: list[Any] = []
        doubts = 0
        async with world(scripts={"email": script}, catalog=catalog, processors=()) as w:
            w.processor(onAmbiguous=on_ambiguous)
            await w.until(lambda: ready(w), "processor reported")
            w.cluster.interrupt(*(fault(w, kind, at) for at, kind in enumerate(faults)))
            w.notify(to=REFS)
            for number, steps in enumerate(kills, start=2):
                for _ in range(steps):
                    await asyncio.sleep(0)
                sent.extend(script.sent)
                await w.kill()
                doubts += sum(row.state is DeliveryState.CLAIMED for row in w.rows().values())
                w.restart(holder=f"pod_{number}", catalog=catalog)
            await w.finished()
            await w.engine.drain()
            sent.extend(script.sent)
            found = w.rows()
        assert set(found) == set(REFS), "nothing is lost"
        times = Counter(item.recipient for item in sent)
        assert len({item.identity for item in sent}) == len(times), "a copy is the same delivery"
        if on_ambiguous == "Hold":
            assert max(times.values(), default=0) <= 1, "nobody sends on doubt"
            for row in found.values():
                assert row.state in (DeliveryState.SENT, DeliveryState.UNKNOWN)
                if row.state is DeliveryState.SENT:
                    assert times[row.recipient] == 1
        else:
            assert {row.state for row in found.values()} == {DeliveryState.SENT}
            assert sum(times.values()) - len(REFS) <= doubts, "only what was in doubt"
            assert set(times) == set(REFS)

    asyncio.run(campaign())
