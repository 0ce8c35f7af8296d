"""The count of unfinished Notifications: few lists, and never past the bound for long."""

from __future__ import annotations

import asyncio

import pytest

from notifications_operator.api.errors import ForbiddenError
from notifications_operator.api.notification import NotificationState
from notifications_operator.gateway.errors import TooManyRequestsError
from notifications_operator.gateway.sending import backlog
from notifications_operator.gateway.sending.backlog import FINISHED_STATES, Backlog


class Counted:
    """A namespace with so many, and how often it was asked."""

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self.asked = 0
        self.error: Exception | None = None

    async def create_notification(self, body: object) -> dict[str, object]:
        raise NotImplementedError

    async def get_notification(self, namespace: str, name: str) -> None:
        raise NotImplementedError

    async def count_notifications(
        self, namespace: str, *, field_selector: str, at_most: int
    ) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return min(self.amount, at_most)


async def admit(one: Backlog, namespace: str = "inbox") -> None:
    async with one.room(namespace):
        pass


async def settled(counted: Counted, asked: int) -> None:
    async with asyncio.timeout(5):
        while counted.asked < asked:
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)


def test_every_state_is_finished_or_not() -> None:
    unfinished = set(NotificationState) - set(FINISHED_STATES)
    assert unfinished == {
        NotificationState.PENDING,
        NotificationState.DELIVERING,
        NotificationState.SUSPENDED,
    }


async def test_it_is_counted_rarely_while_there_is_room() -> None:
    counted = Counted(10)
    one = Backlog(counted, most=5000)
    for _ in range(200):
        await admit(one)
    await settled(counted, 1)
    assert counted.asked == 1
    await one.close()


async def test_a_full_namespace_is_refused_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "RECOUNT_SECONDS", 0.0)
    counted = Counted(3)
    one = Backlog(counted, most=3)
    await admit(one)
    await settled(counted, 1)
    for _ in range(3):
        with pytest.raises(TooManyRequestsError):
            await admit(one)
    await admit(one, "another")
    counted.amount = 1
    await admit(one)
    await admit(one)
    with pytest.raises(TooManyRequestsError):
        counted.amount = 3
        await admit(one)
    await one.close()


async def test_a_flood_at_the_bound_counts_once() -> None:
    counted = Counted(3)
    one = Backlog(counted, most=3)
    await admit(one)
    await settled(counted, 1)
    results = await asyncio.gather(
        *(admit(one) for _ in range(50)),
        return_exceptions=True,
    )
    assert all(isinstance(result, TooManyRequestsError) for result in results)
    assert counted.asked == 1
    await one.close()


async def test_what_cannot_be_counted_is_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "RECOUNT_SECONDS", 0.0)
    counted = Counted(0)
    counted.error = ForbiddenError("cannot list")
    one = Backlog(counted, most=2)
    for _ in range(10):
        await admit(one)
    assert counted.asked >= 2
    await one.close()


async def test_what_is_under_way_counts() -> None:
    counted = Counted(0)
    one = Backlog(counted, most=2)
    async with one.room("inbox"), one.room("inbox"):
        await settled(counted, 1)
        with pytest.raises(TooManyRequestsError):
            await admit(one)
    await one.close()
