"""Access tokens are kept while they are good, and fetched by one request at a time."""

from __future__ import annotations

import asyncio

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.oauth2.answers import IssuedToken
from notifications_operator.processors.email.oauth2.tokens import (
    RENEW_SECONDS,
    RETRY_SECONDS,
    AccessTokens,
)
from notifications_operator.processors.errors import DeliveryError, Scope


class Source:
    """Gives tokens that a test decides, at the time that it decides."""

    def __init__(self, *, seconds: float = 3600) -> None:
        self.now = 1000.0
        self.seconds = seconds
        self.asked = 0
        self.away = False
        self.open = asyncio.Event()
        self.open.set()
        self.remembered: list[str | None] = []
        self.tokens = AccessTokens(
            self.fetch, remember=self.remembered.append, clock=lambda: self.now
        )

    async def fetch(self) -> IssuedToken:
        self.asked += 1
        number = self.asked
        await self.open.wait()
        if self.away:
            raise DeliveryError(
                Reason.CONNECT_FAILED, "away", scope=Scope.PROCESSOR, retryable=True
            )
        return IssuedToken(access_token=f"token-{number}", seconds=self.seconds)

    async def waiting(self, count: int) -> list[asyncio.Task[str]]:
        """Let so many ask while the answer is held back."""
        self.open.clear()
        tasks = [asyncio.ensure_future(self.tokens.get()) for _ in range(count)]
        while not self.asked:
            await asyncio.sleep(0)
        return tasks


@pytest.mark.parametrize(
    ("seconds", "used"),
    [(3600, 3600 - RENEW_SECONDS), (301, 1), (300, 150), (60, 30), (0.5, 0.25)],
)
async def test_a_token_is_used_until_five_minutes_before_its_end(
    seconds: float, used: float
) -> None:
    source = Source(seconds=seconds)
    assert await source.tokens.get() == "token-1"
    source.now += used - 0.01
    assert await source.tokens.get() == "token-1"
    source.now += 0.02
    assert await source.tokens.get() == "token-2"


async def test_life_begins_with_the_request() -> None:
    source = Source(seconds=400)
    (task,) = await source.waiting(1)
    source.now += 200
    source.open.set()
    assert await task == "token-1"
    assert await source.tokens.get() == "token-2"


async def test_one_request_serves_all() -> None:
    source = Source()
    tasks = await source.waiting(5)
    source.open.set()

    assert await asyncio.gather(*tasks) == ["token-1"] * 5
    assert source.asked == 1


async def test_an_error_is_everybodys_and_is_not_kept() -> None:
    source = Source()
    tasks = await source.waiting(3)
    source.away = True
    source.open.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, DeliveryError) for result in results)
    assert source.asked == 1

    source.away = False
    assert await source.tokens.get() == "token-2"


async def test_who_gives_up_leaves_the_others_alone() -> None:
    source = Source()
    first, second = await source.waiting(2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.open.set()

    assert await second == "token-1"
    assert source.asked == 1


@pytest.mark.parametrize("away", [False, True])
async def test_when_all_give_up_the_answer_is_kept(away: bool) -> None:
    source = Source()
    (task,) = await source.waiting(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    source.away = away
    source.open.set()
    while not (source.remembered or away):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    source.away = False

    assert await source.tokens.get() == ("token-2" if away else "token-1")


async def test_a_refused_token_is_dropped_once() -> None:
    source = Source()
    first = await source.tokens.get()
    source.tokens.drop(first)
    second = await source.tokens.get()
    # Somebody else who had the first one, and is late.
    source.tokens.drop(first)

    assert await source.tokens.get() == second == "token-2"


async def test_a_token_that_cannot_be_replaced_is_used_to_its_end() -> None:
    source = Source(seconds=3600)
    assert await source.tokens.get() == "token-1"
    source.now += 3600 - RENEW_SECONDS + 1
    source.away = True
    assert await source.tokens.get() == "token-1"
    assert await source.tokens.get() == "token-1"
    assert source.asked == 2
    source.now += RETRY_SECONDS
    assert await source.tokens.get() == "token-1"
    assert source.asked == 3
    source.now += RENEW_SECONDS
    with pytest.raises(DeliveryError):
        await source.tokens.get()
    source.away = False
    assert await source.tokens.get() == "token-5"


async def test_a_refused_token_is_not_used_because_there_is_no_other() -> None:
    source = Source()
    source.tokens.drop(await source.tokens.get())
    source.away = True
    with pytest.raises(DeliveryError):
        await source.tokens.get()


async def test_closing_gives_up_and_forgets() -> None:
    source = Source()
    await source.waiting(1)
    await source.tokens.close()

    assert source.remembered == [None]
