"""The slices of one Notification, written several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from notifications_operator.api.errors import UnavailableError
from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.references import NOTIFICATIONS, ObjectRef
from notifications_operator.delivery.storage.slices.book import Book
from tests.support.cluster import Body, MemoryCluster
from tests.unit.delivery.builders import notification, row


class FailingCluster(MemoryCluster):
    """Fails to create the first slice when told to, and never answers about the others."""

    def __init__(self) -> None:
        super().__init__()
        self.fail = asyncio.Event()
        self._calls = 0

    async def create_slice(self, body: Mapping[str, Any]) -> Body:
        self._calls += 1
        if self._calls > 1:
            await asyncio.Event().wait()
        await self.fail.wait()
        raise UnavailableError("connection refused")


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancellation_that_meets_a_failing_write_is_not_forgotten(turns: int) -> None:
    cluster = FailingCluster()
    book = Book(cluster, ObjectRef.of(NOTIFICATIONS, notification().metadata), [])
    rows = [row(DeliveryState.PENDING, processor=name) for name in ("chat", "email")]
    writing = asyncio.create_task(book.replace({item.key: item for item in rows}, generation=1))
    for _ in range(5):
        await asyncio.sleep(0)
    cluster.fail.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    told_to_end = writing.cancel()
    with suppress(asyncio.CancelledError, UnavailableError):
        await writing
    assert writing.cancelled() == told_to_end
