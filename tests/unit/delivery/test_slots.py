"""The account of one Notification's slots comes out even, whatever happens to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from notifications_operator.api.notification import Severity
from notifications_operator.delivery.dispatch.lane import Lane
from notifications_operator.delivery.dispatch.supervisor import Supervisor
from notifications_operator.delivery.runners.slots import Slots
from notifications_operator.processors.base import Limits

LIMITS = Limits(concurrency=4, starts=0, interval=timedelta())


class OneChannel:
    """A channel, as far as slots look at it."""

    def __init__(self) -> None:
        self.lane = Lane(LIMITS)
        self.lane.open()


class Channels:
    """A supervisor, as far as slots look at it."""

    def __init__(self) -> None:
        self.channels = {"email": OneChannel()}

    def get(self, name: str) -> Any:
        return self.channels.get(name)


def make(uid: str = "one", channels: Channels | None = None) -> tuple[Slots, Lane, list[int]]:
    channels = channels or Channels()
    wakes: list[int] = []
    slots = Slots(
        cast("Supervisor", channels), uid=uid, namespace="team", wake=lambda: wakes.append(1)
    )
    return slots, channels.channels["email"].lane, wakes


def obtain(slots: Slots, wanted: int) -> int:
    return slots.obtain("email", wanted, severity=Severity.CRITICAL)


def test_obtained_used_recorded() -> None:
    slots, lane, wakes = make()
    assert obtain(slots, 3) == 3
    assert (lane.held, bool(wakes)) == (3, True)
    slots.used("email", 3)
    assert obtain(slots, 0) == 0
    slots.recorded("email", finished=2, kept=0)
    assert lane.held == 1
    slots.recorded("email", finished=1, kept=0)
    assert lane.held == 0


async def test_the_lane_learns_how_long_a_write_of_claims_takes() -> None:
    channels, now = Channels(), 0.0
    lane = Lane(LIMITS, clock=lambda: now)
    lane.open()
    channels.channels["email"].lane = lane
    slots = Slots(
        cast("Supervisor", channels),
        uid="one",
        namespace="team",
        wake=lambda: None,
        clock=lambda: now,
    )
    obtain(slots, 2)
    now += 10
    slots.used("email", 2)
    for _ in range(20):
        async with lane.sending():
            pass
    now += 2 + 2 * 10 - 0.1
    assert lane.window == 20
    now += 0.2
    assert lane.window == 4


def test_exchanged_slots_stay() -> None:
    slots, lane, _ = make()
    assert obtain(slots, 10) == 4
    slots.used("email", 4)
    kept = slots.exchange("email", finished=4, wanted=6)
    assert kept == 4
    slots.recorded("email", finished=4, kept=kept)
    assert lane.held == 4
    slots.used("email", 4)
    slots.recorded("email", finished=4, kept=0)
    slots.give_back("email")
    assert (lane.held, lane.waiting) == (0, 0)


def test_given_back_is_withdrawn() -> None:
    slots, lane, _ = make()
    obtain(slots, 10)
    assert (lane.held, lane.waiting, slots.waiting) == (4, 1, True)
    slots.give_back_all()
    assert (lane.held, lane.waiting, slots.waiting) == (0, 0, False)


def test_claim_that_comes_to_light_takes_its_slot() -> None:
    slots, lane, _ = make()
    obtain(slots, 2)
    slots.give_back_all()
    slots.used("email", 2)
    assert lane.held == 2
    slots.recorded("email", finished=2, kept=0)
    assert lane.held == 0


def test_record_that_cannot_be_stored_lets_go_and_is_not_counted_twice() -> None:
    channels = Channels()
    slots, lane, _ = make(channels=channels)
    other, _, _ = make("two", channels)
    obtain(slots, 4)
    slots.used("email", 4)
    obtain(other, 4)
    slots.let_go({"email": 3})
    assert obtain(other, 4) == 3
    slots.recorded("email", finished=3, kept=0)
    assert lane.held == 4, "the other's are its own"
    slots.recorded("email", finished=1, kept=0)
    assert lane.held == 4
    assert obtain(other, 4) == 4


def test_close_gives_back_everything() -> None:
    slots, lane, _ = make()
    obtain(slots, 3)
    slots.used("email", 2)
    slots.close()
    assert (lane.held, lane.waiting) == (0, 0)
    slots.close()
    assert lane.held == 0


def test_slots_of_a_deleted_processor_are_forgotten() -> None:
    channels = Channels()
    slots, _, _ = make(channels=channels)
    obtain(slots, 4)
    slots.used("email", 2)
    del channels.channels["email"]
    assert obtain(slots, 4) == 0
    assert slots.exchange("email", finished=1, wanted=1) == 0
    slots.used("email", 1)
    slots.recorded("email", finished=2, kept=0)
    slots.give_back_all()
    assert not slots.waiting


def test_processor_created_anew_begins_at_zero() -> None:
    channels = Channels()
    slots, _, _ = make(channels=channels)
    obtain(slots, 4)
    slots.used("email", 4)
    channels.channels["email"] = OneChannel()
    lane = channels.channels["email"].lane
    assert obtain(slots, 2) == 2
    assert lane.held == 2
    slots.recorded("email", finished=4, kept=0)
    assert lane.held == 2, "those were the old one's"
    slots.close()
    assert lane.held == 0


def test_slots_that_were_let_go_are_given_back_once() -> None:
    slots, lane, _ = make()
    assert obtain(slots, 4) == 4
    slots.used("email", 4)
    slots.let_go({"email": 1})
    assert lane.held == 3
    slots.let_go({"email": 1})
    assert lane.held == 3, "the others are still being sent"
    slots.let_go({"email": 2})
    assert lane.held == 2
    assert slots.exchange("email", finished=2, wanted=2) == 0
    slots.recorded("email", finished=2, kept=0)
    assert lane.held == 2
    assert slots.exchange("email", finished=1, wanted=1) == 1
    slots.recorded("email", finished=1, kept=1)
    slots.close()
    assert lane.held == 0
