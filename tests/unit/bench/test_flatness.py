"""Growth against noise."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.flatness import trend

TIMES = [10.0 * number for number in range(120)]


def test_a_leak_is_seen_through_noise() -> None:
    noise = random.Random(1)
    values = [100 + 0.5 * number + noise.uniform(-4, 4) for number in range(120)]
    found = trend(TIMES, values, tolerance=8)
    assert not found.flat
    assert found.growth == pytest.approx(0.5 * 95, rel=0.2)


def test_a_warm_up_is_no_leak() -> None:
    values = [min(100.0, 50 + 5 * number) for number in range(120)]
    assert trend(TIMES, values, tolerance=0.1).flat


@given(st.lists(st.floats(-5, 5), min_size=20, max_size=60), st.floats(0, 1000))
def test_what_stays_within_the_tolerance_is_flat(noise: list[float], level: float) -> None:
    times = [float(number) for number in range(len(noise))]
    assert trend(times, [level + item for item in noise], tolerance=30).flat


@given(st.floats(0.001, 100))
def test_a_straight_rise_beyond_the_tolerance_is_growth(slope: float) -> None:
    values = [slope * time for time in TIMES]
    assert not trend(TIMES, values, tolerance=slope * 900).flat


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="at least 5"):
        trend([1, 2, 3], [1, 2, 3], tolerance=0)
