"""The claim window: never more slots than it has, a quarter for the urgent, none ever lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from notifications_operator.api.notification import Severity
from notifications_operator.delivery.dispatch.fair_queue import Applicant
from notifications_operator.delivery.dispatch.lane import WINDOW_LIMIT, WINDOW_SECONDS, Lane
from notifications_operator.processors.base import Limits


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Holder:
    """Somebody who applies for slots and counts what was granted."""

    def __init__(
        self,
        lane: Lane,
        uid: str,
        *,
        namespace: str = "a",
        severity: Severity = Severity.NORMAL,
        last: bool = False,
    ) -> None:
        self.lane, self.uid, self.namespace, self.severity = lane, uid, namespace, severity
        self.last = last
        self.granted = 0
        self.on_grant: Callable[[], None] = lambda: None

    def apply(self, wanted: int) -> None:
        def grant(amount: int) -> None:
            self.granted += amount
            self.on_grant()

        self.lane.apply(
            Applicant(
                uid=self.uid,
                namespace=self.namespace,
                severity=self.severity,
                wanted=wanted,
                grant=grant,
                last=self.last,
            )
        )


def limits(concurrency: int) -> Limits:
    return Limits(concurrency=concurrency, starts=0, interval=timedelta())


def test_window_is_fixed_where_claims_leave_no_doubt() -> None:
    lane = Lane(limits(4), clock=Clock())
    lane.configure(limits(4), window=1024)
    lane.open()
    ordinary, urgent = Holder(lane, "n"), Holder(lane, "u", severity=Severity.HIGH)
    ordinary.apply(5000)
    urgent.apply(5000)
    assert (ordinary.granted, urgent.granted) == (768, 256)
    lane.configure(limits(4))
    assert lane.window == 4


def open_lane(concurrency: int = 8, clock: Clock | None = None) -> Lane:
    lane = Lane(limits(concurrency), clock=clock or Clock())
    lane.open()
    return lane


async def send(lane: Lane, times: int) -> None:
    for _ in range(times):
        async with lane.sending():
            pass


def test_window_is_at_least_the_concurrency() -> None:
    assert open_lane(concurrency=8).window == 8


async def test_window_is_what_was_sent_lately() -> None:
    clock = Clock()
    lane = open_lane(4, clock)
    await send(lane, 50)
    assert lane.window == 50
    clock.now += WINDOW_SECONDS + 0.1
    assert lane.window == 4


async def test_window_grows_however_slow_the_writes_are() -> None:
    clock = Clock()
    lane = open_lane(2, clock)
    holder = Holder(lane, "n", severity=Severity.HIGH)
    for _ in range(20):
        holder.granted = 0
        holder.apply(WINDOW_LIMIT)
        lane.withdraw("n")
        clock.now += 1.5
        lane.note_write(1.5)
        await send(lane, holder.granted)
        clock.now += 1.5
        lane.release("n", holder.granted)
    assert lane.window == WINDOW_LIMIT


async def test_one_slow_write_does_not_widen_the_window_for_long() -> None:
    clock = Clock()
    lane = open_lane(4, clock)
    await send(lane, 50)
    lane.note_write(30)
    for _ in range(50):
        lane.note_write(0.01)
    clock.now += WINDOW_SECONDS + 0.2
    assert lane.window == 4


async def test_window_is_bounded() -> None:
    lane = open_lane(4)
    await send(lane, 3 * WINDOW_LIMIT)
    assert lane.window == WINDOW_LIMIT
    assert open_lane(concurrency=1000).window == WINDOW_LIMIT


def test_closed_lane_grants_nothing_until_it_opens() -> None:
    lane = Lane(limits(4), clock=Clock())
    one = Holder(lane, "one")
    one.apply(2)
    assert (one.granted, lane.waiting) == (0, 1)
    lane.open()
    assert (one.granted, lane.waiting, lane.held) == (2, 0, 2)


def test_slots_that_are_out_stay_valid_when_it_closes() -> None:
    lane = open_lane()
    one = Holder(lane, "one")
    one.apply(2)
    lane.close()
    lane.release("one", 1)
    assert (one.granted, lane.held) == (2, 1)


def test_slots_go_on_to_who_waits() -> None:
    lane = open_lane(concurrency=2)
    one, two = Holder(lane, "one"), Holder(lane, "two")
    one.apply(5)
    two.apply(1)
    assert (one.granted, two.granted) == (2, 0)
    lane.release("one", 2)
    assert (one.granted, two.granted, lane.held) == (3, 1, 2)


def test_withdrawn_application_gets_nothing() -> None:
    lane = open_lane(concurrency=1)
    one, two = Holder(lane, "one"), Holder(lane, "two")
    one.apply(1)
    two.apply(1)
    lane.withdraw("two")
    lane.release("one", 1)
    assert (two.granted, lane.waiting, lane.held) == (0, 0, 0)


def test_a_quarter_is_kept_for_the_urgent() -> None:
    lane = open_lane(concurrency=8)
    broadcast = Holder(lane, "broadcast")
    broadcast.apply(1000)
    assert broadcast.granted == 6
    alarm = Holder(lane, "alarm", severity=Severity.HIGH)
    alarm.apply(5)
    assert (alarm.granted, lane.held) == (2, 8)


def test_the_urgent_may_use_everything() -> None:
    lane = open_lane(concurrency=8)
    alarm = Holder(lane, "alarm", severity=Severity.CRITICAL)
    alarm.apply(100)
    assert alarm.granted == 8


def test_exchange_keeps_the_slots_of_what_is_finished() -> None:
    lane = open_lane(concurrency=8)
    one = Holder(lane, "one")
    one.apply(100)
    assert lane.exchange("one", finished=4, wanted=94) == 4
    assert lane.exchange("one", finished=4, wanted=1) == 1
    assert lane.held == 6


def test_exchange_gives_way_to_who_is_next() -> None:
    """A broadcast under way must not keep its slots to itself."""
    lane = open_lane(concurrency=4)
    broadcast = Holder(lane, "broadcast")
    broadcast.apply(100_000)
    late = Holder(lane, "late", namespace="b")
    late.apply(1)
    rounds = 0
    while not late.granted:
        kept = lane.exchange("broadcast", finished=1, wanted=1000)
        lane.release("broadcast", 1 - kept)
        rounds += 1
        assert rounds <= 2, "its turn comes after one exchange at most"
    assert lane.held <= lane.window


def test_exchange_gives_way_to_the_more_severe_at_once() -> None:
    lane = open_lane(concurrency=1)
    one = Holder(lane, "one")
    one.apply(10)
    alarm = Holder(lane, "alarm", severity=Severity.CRITICAL)
    alarm.apply(1)
    assert lane.exchange("one", finished=1, wanted=9) == 0


async def test_exchange_shrinks_with_the_window() -> None:
    clock = Clock()
    lane = open_lane(4, clock)
    await send(lane, 40)
    one = Holder(lane, "one")
    one.apply(100)
    assert one.granted == 30
    clock.now += WINDOW_SECONDS + 0.1
    assert lane.exchange("one", finished=10, wanted=70) == 0
    lane.release("one", 27)
    assert lane.exchange("one", finished=1, wanted=70) == 1


def test_closed_lane_exchanges_nothing() -> None:
    lane = open_lane()
    Holder(lane, "one").apply(2)
    lane.close()
    assert lane.exchange("one", finished=1, wanted=1) == 0


def test_take_holds_even_beyond_the_window() -> None:
    lane = open_lane(concurrency=1)
    one, two = Holder(lane, "one"), Holder(lane, "two")
    one.apply(1)
    lane.take("one", 1)
    assert lane.held == 2
    two.apply(1)
    lane.release("one", 1)
    assert two.granted == 0
    lane.release("one", 1)
    assert (two.granted, lane.held) == (1, 1)


async def test_sends_are_bounded_by_the_concurrency() -> None:
    lane = open_lane(concurrency=2)
    entered = asyncio.Event()

    async def third() -> None:
        async with lane.sending():
            entered.set()

    async with lane.sending():
        async with lane.sending():
            task = asyncio.create_task(third())
            for _ in range(5):
                await asyncio.sleep(0)
            assert not entered.is_set()
        await task


def test_a_probe_is_one_slot_at_a_time_beside_those_that_are_out() -> None:
    lane = open_lane(4)
    before, first, second = (Holder(lane, name) for name in ("before", "first", "second"))
    before.apply(3)
    lane.close()
    first.apply(5)
    second.apply(5)
    lane.probe((), only_others=False)
    assert (first.granted, second.granted) == (1, 0)
    lane.probe((), only_others=False)
    assert (first.granted, second.granted) == (1, 0), "said again it is the same"
    assert lane.exchange("first", finished=1, wanted=4) == 0
    lane.release("first", 1)
    assert (first.granted, second.granted) == (1, 1)
    lane.release("before", 3)
    lane.open()
    assert first.granted + second.granted > 2


def test_a_probe_is_of_those_who_are_not_behind() -> None:
    lane = Lane(limits(4), clock=Clock())
    refused = Holder(lane, "refused", severity=Severity.CRITICAL)
    other = Holder(lane, "other", severity=Severity.LOW)
    refused.apply(5)
    lane.probe({"refused"}, only_others=True)
    assert refused.granted == 0
    other.apply(5)
    assert other.granted == 1
    lane.withdraw("other")
    lane.release("other", 1)
    assert refused.granted == 0
    lane.probe({"refused"}, only_others=False)
    assert refused.granted == 1


def test_the_last_get_nothing_while_others_wait_be_they_as_urgent_as_they_may() -> None:
    lane = Lane(limits(8), clock=Clock())
    last = Holder(lane, "last", severity=Severity.CRITICAL, last=True)
    other = Holder(lane, "other", severity=Severity.LOW)
    last.apply(8)
    other.apply(8)
    lane.open()
    assert (last.granted, other.granted) == (0, 6)
    lane.withdraw("other")
    lane.release("other", 6)
    assert last.granted == 6, "and nothing of the reserve"


class LaneMachine(RuleBasedStateMachine):
    """Everything that Notifications do with a lane, in any order."""

    @initialize(concurrency=st.integers(1, 200))
    def start(self, concurrency: int) -> None:
        self.clock = Clock()
        self.lane = open_lane(concurrency, self.clock)
        self.is_open = True
        self.used: Counter[str] = Counter()
        self.holders = [
            Holder(self.lane, f"{namespace}-{severity}", namespace=namespace, severity=severity)
            for namespace in "ab"
            for severity in (Severity.CRITICAL, Severity.NORMAL, Severity.LOW)
        ]
        for holder in self.holders:
            holder.on_grant = partial(self.expect_grant, holder)

    holders_at = st.integers(0, 5)

    @property
    def out(self) -> int:
        return sum(holder.granted for holder in self.holders) + self.used.total()

    @rule(at=holders_at, wanted=st.integers(1, 300))
    def apply(self, at: int, wanted: int) -> None:
        self.holders[at].apply(wanted)

    @rule(at=holders_at)
    def claim(self, at: int) -> None:
        holder = self.holders[at]
        self.used[holder.uid] += holder.granted
        holder.granted = 0

    @rule(at=holders_at, data=st.data())
    def record(self, at: int, data: st.DataObject) -> None:
        holder = self.holders[at]
        finished = data.draw(st.integers(0, self.used[holder.uid]))
        kept = self.lane.exchange(
            holder.uid, finished=finished, wanted=data.draw(st.integers(1, 300))
        )
        assert 0 <= kept <= finished
        assert self.is_open or not kept
        self.used[holder.uid] -= finished
        holder.granted += kept
        if finished > kept:
            self.lane.release(holder.uid, finished - kept)

    @rule(at=holders_at)
    def give_back(self, at: int) -> None:
        holder = self.holders[at]
        self.lane.withdraw(holder.uid)
        if amount := holder.granted:
            holder.granted = 0
            self.lane.release(holder.uid, amount)

    @rule(seconds=st.floats(0, 200))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(is_open=st.booleans())
    def switch(self, is_open: bool) -> None:
        self.is_open = is_open
        before = self.lane.held
        if is_open:
            self.lane.open()
        else:
            self.lane.close()
            assert self.lane.held == before

    @rule(concurrency=st.integers(1, 200))
    def configure(self, concurrency: int) -> None:
        self.lane.configure(limits(concurrency))
        self.switch(self.is_open)

    @rule(times=st.integers(1, 200))
    def send(self, times: int) -> None:
        asyncio.run(send(self.lane, times))
        self.switch(self.is_open)

    def expect_grant(self, holder: Holder) -> None:
        """A grant never goes beyond the window, nor that of an ordinary one into the reserve."""
        assert self.is_open
        assert self.lane.held <= self.lane.window
        if holder.severity is not Severity.CRITICAL:
            common = self.out_of(Severity.NORMAL) + self.out_of(Severity.LOW)
            assert common <= self.lane.window - self.lane.window // 4

    def out_of(self, severity: Severity) -> int:
        return sum(
            holder.granted + self.used[holder.uid]
            for holder in self.holders
            if holder.severity is severity
        )

    @invariant()
    def account_is_exact(self) -> None:
        assert self.lane.held == self.out

    @invariant()
    def nobody_waits_for_a_free_window(self) -> None:
        """Slots that are free for somebody who waits are granted at once."""
        if self.is_open and self.lane.waiting:
            assert self.lane.held >= self.lane.window - self.lane.window // 4

    @precondition(lambda self: self.out > 0)
    @rule()
    def everybody_leaves(self) -> None:
        for at, holder in enumerate(self.holders):
            self.give_back(at)
            if amount := self.used.pop(holder.uid, 0):
                self.lane.release(holder.uid, amount)
        assert self.lane.held == 0
        assert self.lane.waiting == 0


TestLaneMachine = LaneMachine.TestCase
