"""How long a Notification may be left alone: neither forgotten nor looked at in a busy loop."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.delivery.wakeup import LONGEST_SLEEP, SHORTEST_SLEEP, pause
from tests.unit.delivery.builders import NOW, seconds


@pytest.mark.parametrize(
    ("moments", "late", "expected"),
    [
        ([], 0, LONGEST_SLEEP),
        ([None], 0, LONGEST_SLEEP),
        ([10, 5, None], 0, 5),
        ([10], 4, 6),
        ([10], 20, SHORTEST_SLEEP),
        ([0.01], 0, SHORTEST_SLEEP),
        ([10 * LONGEST_SLEEP], 0, LONGEST_SLEEP),
        # What was due when the decision was made waits for something else, such as a slot.
        ([0], 0, LONGEST_SLEEP),
        ([-100, 30], 0, 30),
    ],
)
def test_pause(moments: list[float | None], late: float, expected: float) -> None:
    times = [None if item is None else NOW + seconds(item) for item in moments]
    found = pause(times, decided=NOW, now=NOW + seconds(late))
    assert found == pytest.approx(expected)


MOMENTS = st.lists(st.floats(-1e6, 1e6).map(lambda offset: NOW + seconds(offset)))


@given(MOMENTS, st.floats(0, 100))
def test_pause_is_bounded_and_sleeps_through_nothing(moments: list[datetime], late: float) -> None:
    now = NOW + seconds(late)
    found = pause(moments, decided=NOW, now=now)
    assert SHORTEST_SLEEP <= found <= LONGEST_SLEEP
    wakes = now + seconds(found)
    missed = [moment for moment in moments if now < moment < wakes - seconds(SHORTEST_SLEEP)]
    assert missed == []
