"""The operator is let in, and nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from starlette.requests import HTTPConnection

from notifications_operator.api.errors import UnavailableError
from notifications_operator.gateway.errors import (
    AuthenticationError,
    NotAllowedError,
    ServiceUnavailableError,
)
from notifications_operator.gateway.internal.reviewer import (
    REFUSED_SECONDS,
    REMEMBERED,
    REVIEWS_AT_ONCE,
    TOKEN_LIMIT,
    TokenReviewer,
)
from notifications_operator.gateway.internal.settings import InternalSettings
from tests.unit.gateway.internal.internal_builders import AUDIENCE, OPERATOR, MemoryReviews

SETTINGS = InternalSettings(
    operator_namespace="notifications-system", operator_service_account="notifications"
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def connection(authorization: str | None = "Bearer good") -> HTTPConnection:
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    return HTTPConnection({"type": "http", "headers": headers})


def reviews() -> MemoryReviews:
    return MemoryReviews(
        users={
            ("good", AUDIENCE): OPERATOR,
            ("other-account", AUDIENCE): "system:serviceaccount:team-a:default",
            ("other-audience", "https://kubernetes.default.svc"): OPERATOR,
        }
    )


async def test_the_operator_is_let_in() -> None:
    await TokenReviewer(reviews(), SETTINGS).require_operator(connection())
    await TokenReviewer(reviews(), SETTINGS).require_operator(connection("bearer  good"))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "good",
        "Basic good",
        "Bearer",
        "Bearer a b",
        "Bearer \xfc",
        f"Bearer {'x' * 20000}",
    ],
)
async def test_no_token_is_none_to_ask_about(authorization: str | None) -> None:
    asked = reviews()
    with pytest.raises(AuthenticationError):
        await TokenReviewer(asked, SETTINGS).require_operator(connection(authorization))
    assert asked.asked == []
    assert TOKEN_LIMIT < 20000


@pytest.mark.parametrize("token", ["forged", "other-audience"])
async def test_a_token_that_is_not_for_us(token: str) -> None:
    with pytest.raises(AuthenticationError, match=AUDIENCE):
        await TokenReviewer(reviews(), SETTINGS).require_operator(connection(f"Bearer {token}"))


async def test_another_account_with_our_audience() -> None:
    with pytest.raises(NotAllowedError, match="notifications-system:notifications"):
        await TokenReviewer(reviews(), SETTINGS).require_operator(
            connection("Bearer other-account")
        )


async def test_the_word_counts_for_a_while() -> None:
    asked, clock = reviews(), Clock()
    reviewer = TokenReviewer(asked, SETTINGS, clock=clock)
    for _ in range(3):
        await reviewer.require_operator(connection())
        with pytest.raises(AuthenticationError):
            await reviewer.require_operator(connection("Bearer forged"))
    assert asked.asked == ["good", "forged"]
    clock.now = REFUSED_SECONDS
    with pytest.raises(AuthenticationError):
        await reviewer.require_operator(connection("Bearer forged"))
    await reviewer.require_operator(connection())
    assert asked.asked == ["good", "forged", "forged"]
    del asked.users["good", AUDIENCE]
    clock.now = SETTINGS.review_seconds
    with pytest.raises(AuthenticationError):
        await reviewer.require_operator(connection())


async def test_many_tokens_are_not_all_remembered() -> None:
    asked = reviews()
    reviewer = TokenReviewer(asked, SETTINGS)
    for number in range(REMEMBERED + 1):
        with pytest.raises(AuthenticationError):
            await reviewer.require_operator(connection(f"Bearer forged-{number}"))
    with pytest.raises(AuthenticationError):
        await reviewer.require_operator(connection("Bearer forged-1"))
    assert asked.asked.count("forged-1") == 1
    with pytest.raises(AuthenticationError):
        await reviewer.require_operator(connection("Bearer forged-0"))
    assert asked.asked.count("forged-0") == 2, "it was forgotten"


@pytest.mark.parametrize(
    ("token", "kind"), [("forged-{}", AuthenticationError), ("stranger-{}", NotAllowedError)]
)
async def test_no_number_of_refused_tokens_displaces_the_operators(
    token: str, kind: type[Exception]
) -> None:
    asked = reviews()
    reviewer = TokenReviewer(asked, SETTINGS)
    await reviewer.require_operator(connection())
    for number in range(2 * REMEMBERED):
        asked.users[f"stranger-{number}", AUDIENCE] = "system:serviceaccount:team-a:default"
        with pytest.raises(kind):
            await reviewer.require_operator(connection(f"Bearer {token.format(number)}"))
    asked.error = UnavailableError("connection refused")
    await reviewer.require_operator(connection())


@dataclass
class SlowReviews(MemoryReviews):
    """Answers once it may, and knows how many wait for that."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    most: int = 0

    async def user_of(self, token: str, *, audience: str) -> str | None:
        """Answer as a TokenReview does."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.may_answer.wait()
            return await super().user_of(token, audience=audience)
        finally:
            self.under_way -= 1


async def test_few_reviews_are_under_way_at_once() -> None:
    asked = SlowReviews(users=reviews().users)
    reviewer = TokenReviewer(asked, SETTINGS)
    many = [f"Bearer forged-{number}" for number in range(100)]
    tasks = [
        asyncio.create_task(reviewer.require_operator(connection(text)))
        for text in [*many, "Bearer good"]
    ]
    while asked.under_way < REVIEWS_AT_ONCE:
        await asyncio.sleep(0)
    # All of them have come as far as they get.
    for _ in range(len(tasks)):
        await asyncio.sleep(0)
    assert asked.under_way == REVIEWS_AT_ONCE == 5
    asked.may_answer.set()
    *refused, admitted = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, AuthenticationError) for answer in refused)
    assert admitted is None
    assert asked.most == REVIEWS_AT_ONCE
    asked.error = UnavailableError("connection refused")
    await reviewer.require_operator(connection())


async def test_one_review_does_for_a_token_that_comes_many_times_at_once() -> None:
    asked = SlowReviews(users=reviews().users)
    reviewer = TokenReviewer(asked, SETTINGS)
    tasks = [asyncio.create_task(reviewer.require_operator(connection())) for _ in range(50)]
    while not asked.under_way:
        await asyncio.sleep(0)
    asked.may_answer.set()
    await asyncio.gather(*tasks)
    assert len(asked.asked) <= REVIEWS_AT_ONCE


async def test_nobody_is_let_in_while_the_api_server_is_away() -> None:
    asked = reviews()
    asked.error = UnavailableError("connection refused")
    reviewer = TokenReviewer(asked, SETTINGS)
    with pytest.raises(ServiceUnavailableError) as caught:
        await reviewer.require_operator(connection())
    assert caught.value.headers["Retry-After"] == "5"
    asked.error = None
    await reviewer.require_operator(connection())
