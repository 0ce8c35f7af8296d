"""One Notification to a large group: how many rows a second reach the inboxes of its members.

The peer hands the same rows to the gateway's internal API in batches of the same size, as many at a
time, and keeps no ledger: what the gateway and its database take.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import asyncpg

from bench.environment import Environment
from bench.figures import Figure
from bench.gateway import Gateway, gateway
from bench.people import DIVISION
from bench.waiting import BenchmarkError, deliveries
from notifications_operator.processors.base import GatewayAddress
from notifications_operator.processors.inbox.client import GatewayClient
from notifications_operator.processors.inbox.processor import CONCURRENCY, MAX_BATCH
from tests.support.kubernetes import notification

_GROUP: Final = "group:default/division-0"
_SECONDS: Final = 300.0
_PAYLOAD: Final = {
    "title": "The pipeline has a new version",
    "description": "See the log for what led to it and whom to ask. " * 4,
    "topic": "bench",
}


async def fanout(environment: Environment, users: int) -> list[Figure]:
    """Measure a Notification to a group of so many users, at most `DIVISION`."""
    if users > DIVISION:
        raise BenchmarkError(f"the group has at most {DIVISION} users")
    environment.log(f"the inboxes of {users} users")
    await environment.use_catalog(users)
    namespace = await environment.new_namespace()
    async with gateway(environment) as place:
        peer = await _by_hand(place, users)
        async with (
            place.operator() as operator,
            deliveries(environment.kubernetes, namespace) as delivered,
        ):
            warm = notification(
                "warm-up", namespace, "user:default/user-000000", title="Warm", processors=["inbox"]
            )
            await environment.kubernetes.create(warm)
            await delivered.wait(1, seconds=_SECONDS)
            stored = await _rows(place)
            cpu, gateway_cpu = operator.usage.cpu, place.usage.cpu
            start = time.perf_counter()
            body = notification(
                "fanout",
                namespace,
                _GROUP,
                processors=["inbox"],
                title=_PAYLOAD["title"],
                payload=_PAYLOAD,
            )
            await environment.kubernetes.create(body)
            await delivered.wait(2, seconds=_SECONDS)
            seconds = delivered.moments["fanout"] - start
            cpu, gateway_cpu = operator.usage.cpu - cpu, place.usage.cpu - gateway_cpu
            stored = await _rows(place) - stored
    if stored != users:
        raise BenchmarkError(f"{stored} rows are in the inbox for {users} users")
    name = f"fanout-{users}"
    return [
        Figure(
            figure=f"{name}.rate",
            value=users / seconds,
            unit="rows/s",
            peer=f"internal API, {CONCURRENCY} batches at a time",
            peer_value=users / peer,
        ),
        Figure(figure=f"{name}.cpu", value=cpu / users * 1000, unit="ms CPU/row"),
        Figure(figure=f"{name}.gateway-cpu", value=gateway_cpu / users * 1000, unit="ms CPU/row"),
    ]


async def _by_hand(place: Gateway, users: int) -> float:
    """Return the seconds in which the internal API takes rows for so many users."""
    settings = await place.operator_settings()
    address = GatewayAddress(
        url=settings["NOTIFICATIONS_GATEWAY__URL"],
        token_file=settings["NOTIFICATIONS_GATEWAY__TOKEN_FILE"],
    )
    client = GatewayClient(address, connections=CONCURRENCY)
    places = asyncio.Semaphore(CONCURRENCY)

    async def hand_over(first: int, uid: str) -> None:
        async with places:
            await client.post(
                "/deliveries", _batch(range(first, min(first + MAX_BATCH, users)), uid)
            )

    try:
        await client.post("/deliveries", _batch(range(1), f"warm-{uuid4()}"))
        uid = str(uuid4())
        start = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for first in range(0, users, MAX_BATCH):
                tasks.create_task(hand_over(first, uid))
        return time.perf_counter() - start
    finally:
        await client.close()


def _batch(users: range, uid: str) -> dict[str, Any]:
    # Epoch 0: no operator was there yet, and every later one has a greater one.
    return {
        "epoch": 0,
        "notification": {
            "uid": uid,
            "namespace": "bench",
            "name": "by-hand",
            "revision": 1,
            "redelivery": 0,
            "origin": "namespace:bench",
            "created": datetime.now(UTC).isoformat(),
            "payload": _PAYLOAD,
        },
        "rows": [
            {"user": f"user:default/user-{number:06}", "identity": uuid4().hex} for number in users
        ],
    }


async def _rows(place: Gateway) -> int:
    connection = await asyncpg.connect(
        place.process.environment["NOTIFICATIONS_GATEWAY_DATABASE__URL"]
    )
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM notification")
        return count
    finally:
        await connection.close()
