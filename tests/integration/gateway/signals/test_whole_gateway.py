"""The gateway as it runs: a delivery of the operator reaches Backstage's own client."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.support.backstage import signals_client
from tests.support.gateway import (
    OPERATOR_TOKEN,
    NotificationCluster,
    RunningGateway,
    running_gateway,
)
from tests.support.issuer import issuing
from tests.support.signals import CHANNEL
from tests.unit.gateway.internal.internal_builders import batch

ADA = "user:default/ada"


HEADERS = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


async def wait_ready(gateway: RunningGateway) -> None:
    async with asyncio.timeout(60):
        while (await gateway.internal.get("/internal/v1/ready", headers=HEADERS)).is_error:
            await asyncio.sleep(0.05)


async def deliver(gateway: RunningGateway, number: int) -> None:
    """Hand over a Notification as the operator does."""
    body = batch(
        notification__uid=f"11111111-2222-3333-4444-{number:012}",
        notification__payload={"title": f"number {number}"},
        rows=[{"user": ADA, "identity": f"{number:032x}"}],
    )
    response = await gateway.internal.post("/internal/v1/deliveries", json=body, headers=HEADERS)
    assert response.json() == {"results": ["Inserted"]}


async def test_from_the_operator_to_backstage_s_client(tmp_path: Path) -> None:
    async with issuing() as issuer:
        settings: dict[str, Any] = {
            "oidc": {"issuer": issuer.url, "audiences": ["notifications"], "allow_http": True},
            "internal": {
                "operator_namespace": "notifications-system",
                "operator_service_account": "notifications",
            },
        }
        now = int(time.time())
        token = issuer.key.sign(issuer.claims(iat=now, exp=now + 600))
        async with (
            running_gateway(tmp_path, NotificationCluster(), **settings) as gateway,
            signals_client(f"http://127.0.0.1:{gateway.port}", token=token) as client,
        ):
            await wait_ready(gateway)
            await client.tell(subscribe=CHANNEL)
            coming = asyncio.create_task(client.next())
            number = 0
            async with asyncio.timeout(120):
                while not coming.done():
                    number += 1
                    await deliver(gateway, number)
                    await asyncio.wait([coming], timeout=0.1)
            channel, news = await coming
            assert channel == CHANNEL
            assert news["action"] == "new_notification"
            assert news["notification"]["payload"]["title"].startswith("number ")
            # The REST API tells the same.
            shown = await gateway.client.get(
                f"/api/notifications/notifications/{news['notification_id']}",
                headers={"Authorization": f"Bearer {token}"},
            )
            assert shown.json() == news["notification"]
