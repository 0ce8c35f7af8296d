"""Rates and failures: limited, and only for whoever they are about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from notifications_operator.gateway.callers import buckets
from notifications_operator.gateway.callers.buckets import TokenBuckets
from notifications_operator.gateway.callers.limits import CallerRates, FailureLimit, client_site
from notifications_operator.gateway.errors import (
    AuthenticationError,
    InputError,
    TooManyRequestsError,
)
from notifications_operator.gateway.principals import Access, Principal, ServicePrincipal


def connection(host: str | None, authorization: str = "") -> HTTPConnection:
    headers = [(b"authorization", authorization.encode())] if authorization else []
    client = None if host is None else (host, 1)
    return HTTPConnection({"type": "http", "headers": headers, "client": client})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(0, 30), max_size=200), st.integers(1, 120), st.integers(1, 20))
def test_no_more_come_through_than_the_rate_and_a_burst(
    pauses: list[float], per_minute: int, capacity: int
) -> None:
    clock = Clock()
    bucket = TokenBuckets(clock=clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        taken += bucket.take("a", per_minute=per_minute, capacity=capacity) == 0
    assert taken <= capacity + per_minute * clock.now / 60 + 1e-6


def test_after_the_wait_there_is_a_token() -> None:
    clock = Clock()
    bucket = TokenBuckets(clock=clock)
    assert bucket.take("a", per_minute=6, capacity=1) == 0
    wait = bucket.take("a", per_minute=6, capacity=1)
    assert wait == pytest.approx(10)
    assert bucket.take("b", per_minute=6, capacity=1) == 0
    clock.now += wait
    assert bucket.take("a", per_minute=6, capacity=1) == 0


def test_what_is_given_back_can_be_taken_again() -> None:
    bucket = TokenBuckets(clock=Clock())
    for _ in range(3):
        assert bucket.take("a", per_minute=1, capacity=1) == 0
        bucket.give_back("a")
    bucket.give_back("a")
    assert bucket.take("a", per_minute=1, capacity=1) == 0
    assert bucket.take("a", per_minute=1, capacity=1) > 0, "a bucket holds no more than it does"
    bucket.give_back("never taken")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MOST_BUCKETS", 3)
    bucket = TokenBuckets(clock=Clock())
    for key in ("a", "b", "c", "a", "d"):
        bucket.take(key, per_minute=1, capacity=1)
    assert bucket.take("b", per_minute=1, capacity=1) == 0, "it was forgotten"
    assert bucket.take("a", per_minute=1, capacity=1) > 0


def test_a_caller_is_held_to_its_rate() -> None:
    rates = CallerRates()
    slow = ServicePrincipal(subject="external:slow", namespace="inbox", rate=12)
    rates.check(slow)
    rates.check(slow)
    with pytest.raises(TooManyRequestsError, match="external:slow may send 12 requests a minute"):
        rates.check(slow)
    for _ in range(100):
        rates.check(ServicePrincipal(subject="external:free", namespace="inbox"))


class Nobody:
    async def authenticate(self, connection: HTTPConnection) -> Principal | None:
        if connection.headers.get("authorization") == "Bearer forged":
            raise AuthenticationError("forged")
        return None


async def test_failures_are_limited_by_address() -> None:
    access = Access(Nobody(), failures=FailureLimit(per_minute=2))
    for text in ("Bearer forged", "Bearer unknown"):
        with pytest.raises(AuthenticationError):
            await access.service(connection("192.0.2.1", text))
    with pytest.raises(TooManyRequestsError) as caught:
        await access.service(connection("192.0.2.1", "Bearer unknown"))
    assert int(caught.value.headers["Retry-After"]) == 30
    with pytest.raises(AuthenticationError):
        await access.service(connection("192.0.2.2", "Bearer unknown"))


async def test_whoever_shows_nothing_guesses_nothing() -> None:
    access = Access(Nobody(), failures=FailureLimit(per_minute=1))
    for _ in range(5):
        with pytest.raises(AuthenticationError, match="Missing credentials"):
            await access.service(connection("192.0.2.1"))


def test_attempts_that_fail_are_limited_by_address() -> None:
    limit = FailureLimit(per_minute=2)
    for _ in range(2):
        with pytest.raises(AuthenticationError), limit.attempt(connection("192.0.2.1")):
            raise AuthenticationError("made-up")
    with pytest.raises(TooManyRequestsError) as caught, limit.attempt(connection("192.0.2.1")):
        pytest.fail("it is not made")
    assert int(caught.value.headers["Retry-After"]) == 30
    with limit.attempt(connection("192.0.2.2")):
        pass


def test_attempts_under_way_count() -> None:
    limit = FailureLimit(per_minute=1)
    with (
        limit.attempt(connection("192.0.2.1")),
        pytest.raises(TooManyRequestsError),
        limit.attempt(connection("192.0.2.1")),
    ):
        pytest.fail("it is not made")
    with limit.attempt(connection("192.0.2.1")):
        pass


def test_attempts_that_do_not_fail_are_free() -> None:
    limit = FailureLimit(per_minute=1)
    for _ in range(5):
        with limit.attempt(connection("192.0.2.1")):
            pass
        with pytest.raises(InputError), limit.attempt(connection("192.0.2.1")):
            raise InputError("something else")


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        (None, ""),
    ],
)
def test_sites(host: str | None, site: str) -> None:
    assert client_site(connection(host)) == site
