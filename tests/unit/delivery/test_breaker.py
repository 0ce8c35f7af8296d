"""Pauses after failures of a whole processor."""

from __future__ import annotations

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.dispatch.health.breaker import (
    LONGEST_REQUEST,
    Breaker,
    Slowdown,
)


@pytest.mark.parametrize(
    ("reason", "pauses"),
    [
        (Reason.CONNECT_FAILED, [2, 4, 8, 16, 32, 64, 120, 120]),
        (Reason.TLS_FAILED, [2, 4, 8]),
        (Reason.AUTH_FAILED, [30, 60, 120, 240, 480, 900, 900]),
    ],
)
def test_pauses_double_up_to_their_bound(reason: Reason, pauses: list[float]) -> None:
    breaker = Breaker()
    assert [breaker.trip(reason) for _ in pauses] == pauses


def test_success_forgets() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.trip(Reason.CONNECT_FAILED)
    breaker.reset()
    assert breaker.trip(Reason.CONNECT_FAILED) == 2


def test_long_outage_does_not_overflow() -> None:
    breaker = Breaker(failures=10_000)
    assert breaker.trip(Reason.AUTH_FAILED) == 900


@pytest.mark.parametrize(("asked", "pause"), [(0, 2), (1, 2), (7, 7), (1e9, 120)])
def test_other_side_may_ask_for_longer_within_the_bound(asked: float, pause: float) -> None:
    assert Breaker().trip(Reason.SERVER_BUSY, at_least=asked) == pause


def test_slowing_down_doubles_up_to_its_bound() -> None:
    slowdown = Slowdown()
    assert [slowdown.hit() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 64, 120, 120]


def test_slowing_down_takes_a_doubling_back_with_each_success() -> None:
    slowdown = Slowdown()
    for _ in range(3):
        slowdown.hit()
    slowdown.recover()
    assert slowdown.hit() == 4
    for _ in range(9):
        slowdown.recover()
    assert slowdown.hit() == 1
    slowdown.reset()
    assert slowdown.hit() == 1


@pytest.mark.parametrize(("asked", "pause"), [(0, 1), (30, 30), (1e9, LONGEST_REQUEST)])
def test_other_side_may_ask_to_slow_down_for_longer(asked: float, pause: float) -> None:
    assert Slowdown().hit(at_least=asked) == pause


def test_long_slowness_does_not_overflow() -> None:
    slowdown = Slowdown()
    for _ in range(2000):
        slowdown.hit()
    assert slowdown.hit() == 120
