"""Delays between attempts: bounds, doubling, jitter, and what the other side asked for."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from notifications_operator.api.processor import RetryPolicy
from notifications_operator.delivery.ledger.retry import back_off, exhausted, retry_delay
from tests.unit.delivery.builders import NOW, seconds

DELAYS = st.timedeltas(min_value=timedelta(milliseconds=100), max_value=timedelta(days=16_000))
JITTER = st.floats(min_value=0, max_value=1, exclude_max=True)
ATTEMPTS = st.integers(min_value=1, max_value=1000)


@st.composite
def policies(draw: st.DrawFn) -> RetryPolicy:
    """Any policy that the definition allows (durations of GEP-2257 reach 16,600 days)."""
    one, other = sorted((draw(DELAYS), draw(DELAYS)))
    return RetryPolicy(
        min_delay=one, max_delay=other, max_age=draw(DELAYS), max_attempts=draw(ATTEMPTS)
    )


def delay(
    policy: RetryPolicy, attempts: int, *, jitter: float = 0.0, retry_after: float | None = None
) -> timedelta:
    return retry_delay(policy, attempts=attempts, retry_after=retry_after, jitter=jitter)


POLICY = RetryPolicy(min_delay=seconds(30), max_delay=seconds(900))


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (6, 900), (7, 900), (1000, 900)],
)
def test_delay_doubles_up_to_its_bound(attempts: int, expected: float) -> None:
    assert delay(POLICY, attempts) == seconds(expected)


@given(policies(), ATTEMPTS, JITTER)
def test_delay_keeps_its_bounds(policy: RetryPolicy, attempts: int, jitter: float) -> None:
    found = delay(policy, attempts, jitter=jitter)
    tolerance = timedelta(microseconds=1)
    assert policy.min_delay * 0.8 - tolerance <= found <= policy.max_delay


@given(policies(), ATTEMPTS, ATTEMPTS, JITTER)
def test_delay_never_shrinks_with_attempts(
    policy: RetryPolicy, one: int, other: int, jitter: float
) -> None:
    fewer, more = sorted((one, other))
    assert delay(policy, fewer, jitter=jitter) <= delay(policy, more, jitter=jitter)


@given(policies(), ATTEMPTS, JITTER)
def test_jitter_takes_up_to_a_fifth_off(policy: RetryPolicy, attempts: int, jitter: float) -> None:
    full = delay(policy, attempts)
    found = delay(policy, attempts, jitter=jitter)
    assert abs(full * (1 - jitter / 5) - found) <= timedelta(milliseconds=1)


@given(JITTER, JITTER)
def test_jitter_spreads(one: float, other: float) -> None:
    assume(abs(one - other) > 0.01)
    assert delay(POLICY, 3, jitter=one) != delay(POLICY, 3, jitter=other)


@given(policies(), ATTEMPTS, JITTER, st.floats(min_value=0, max_value=86_400))
def test_what_the_other_side_asks_for_is_a_lower_bound(
    policy: RetryPolicy, attempts: int, jitter: float, retry_after: float
) -> None:
    found = delay(policy, attempts, jitter=jitter, retry_after=retry_after)
    own = delay(policy, attempts, jitter=jitter)
    if seconds(retry_after) <= policy.max_age:
        assert found == max(own, seconds(retry_after))
    else:
        assert found > policy.max_age, "so that it counts as too old"


@given(policies(), ATTEMPTS, JITTER)
@pytest.mark.parametrize("absurd", [math.inf, 1e300, 1e18])
def test_absurd_retry_after_means_never(
    absurd: float, policy: RetryPolicy, attempts: int, jitter: float
) -> None:
    found = delay(policy, attempts, jitter=jitter, retry_after=absurd)
    assert exhausted(policy, attempts=0, opened=NOW, next_time=NOW + found)


@given(policies(), ATTEMPTS, JITTER)
@pytest.mark.parametrize("senseless", [-1.0, -1e300, -math.inf, math.nan])
def test_senseless_retry_after_does_not_count(
    senseless: float, policy: RetryPolicy, attempts: int, jitter: float
) -> None:
    found = delay(policy, attempts, jitter=jitter, retry_after=senseless)
    assert found == delay(policy, attempts, jitter=jitter)


@pytest.mark.parametrize(
    ("attempts", "next_time", "expected"),
    [
        (2, NOW, False),
        (3, NOW, True),
        (4, NOW, True),
        (1, NOW + seconds(3600), False),
        (1, NOW + seconds(3601), True),
    ],
)
def test_exhausted(attempts: int, next_time: datetime, expected: bool) -> None:
    policy = RetryPolicy(max_attempts=3, max_age=seconds(3600))
    assert exhausted(policy, attempts=attempts, opened=NOW, next_time=next_time) is expected


def test_back_off_doubles_up_to_its_bound() -> None:
    delays = [back_off(failures, jitter=0) for failures in range(1, 10)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.integers(min_value=1, max_value=10**6), JITTER)
def test_back_off_is_spread_over_half_of_itself(failures: int, jitter: float) -> None:
    longest = back_off(failures, jitter=0)
    assert longest / 2 <= back_off(failures, jitter=jitter) <= longest
    assert back_off(failures, jitter=0.5) == longest * 0.75
