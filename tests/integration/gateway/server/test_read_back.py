"""What a service sends, the operator hands over, and a person reads: by one gateway, over sockets.

The operator is stood in for; the requests are those of the real one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import websockets

from tests.support.cluster import Body
from tests.support.gateway import (
    BROADCAST,
    OPERATOR,
    OPERATOR_TOKEN,
    SUBJECT,
    TOKEN,
    NotificationCluster,
    RunningGateway,
    running_gateway,
)
from tests.support.issuer import Issuer, issuing
from tests.support.issuer import no_proxy as no_proxy

ADA = "user:default/ada"
PATH = "/api/notifications/notifications"


@pytest.fixture
def cluster() -> NotificationCluster:
    return NotificationCluster()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
def ada(issuer: Issuer) -> str:
    """A token of the user."""
    now = int(time.time())
    return issuer.key.sign(issuer.claims(iat=now - 10, exp=now + 3600))


@pytest.fixture
async def gateway(
    tmp_path: Path, cluster: NotificationCluster, issuer: Issuer
) -> AsyncIterator[RunningGateway]:
    """A gateway that waits long for rows, and trusts the issuer."""
    _, _, namespace, account = OPERATOR.split(":")
    async with running_gateway(
        tmp_path,
        cluster,
        sending={"rows_timeout": 30},
        internal={"operator_namespace": namespace, "operator_service_account": account},
        oidc={"issuer": issuer.url, "audiences": ["notifications"], "allow_http": True},
    ) as running:
        async with asyncio.timeout(30):
            while "[+]database" not in (await running.internal.get("/readyz")).text:
                await asyncio.sleep(0.05)
        yield running


async def stored(cluster: NotificationCluster, title: str) -> Body:
    """Wait for the Notification with a title."""
    async with asyncio.timeout(30):
        while True:
            for body in cluster.list("notifications"):
                if body["spec"]["payload"]["title"] == title:
                    return body
            await asyncio.sleep(0.01)


async def hand_over(gateway: RunningGateway, body: Body, *users: str) -> list[str]:
    """Deliver a Notification to users as the operator does; returns what became of each row."""
    metadata = body["metadata"]
    batch = {
        "epoch": 1,
        "notification": {
            "uid": metadata["uid"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "revision": 1,
            "redelivery": 0,
            "origin": body["spec"]["origin"],
            "created": metadata["creationTimestamp"],
            "payload": body["spec"]["payload"],
        },
        "rows": [
            {
                "user": user,
                "identity": hashlib.sha256(f"{metadata['uid']} {user}".encode()).hexdigest()[:32],
            }
            for user in users
        ],
    }
    response = await gateway.internal.post(
        "/internal/v1/deliveries",
        json=batch,
        headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"},
    )
    assert response.status_code == 200, response.text
    results: list[str] = response.json()["results"]
    return results


async def read(gateway: RunningGateway, token: str, path: str = PATH) -> httpx.Response:
    response = await gateway.client.get(path, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 200, response.text
    return response


def titled(title: str, **payload: object) -> Body:
    recipients = {"type": "entity", "entityRef": [ADA, "group:default/platform"]}
    return {"recipients": recipients, "payload": {"title": title, **payload}}


async def test_the_answer_is_read_from_the_inbox(
    gateway: RunningGateway, cluster: NotificationCluster, ada: str
) -> None:
    posting = asyncio.create_task(gateway.post(titled("First", metadata={"a": [1, None]})))
    body = await stored(cluster, "First")
    await asyncio.sleep(0)
    assert not posting.done()
    assert await hand_over(gateway, body, ADA, "user:default/bob") == ["Inserted", "Inserted"]
    (row,) = (await posting).json()
    listed = (await read(gateway, ada)).json()
    assert listed == {"totalCount": 1, "notifications": [row]}
    assert (row["user"], row["origin"], row["payload"]["title"]) == (ADA, SUBJECT, "First")
    assert row["payload"]["metadata"] == {"a": [1, None]}
    assert (await read(gateway, ada, f"{PATH}/{row['id']}")).json() == row


async def test_an_update_of_a_scope_is_answered_as_updated(
    gateway: RunningGateway, cluster: NotificationCluster, ada: str
) -> None:
    rows = []
    for title in ("First", "Second"):
        posting = asyncio.create_task(gateway.post(titled(title, scope="build")))
        await hand_over(gateway, await stored(cluster, title), ADA)
        (row,) = (await posting).json()
        assert row["payload"]["title"] == title
        rows.append(row)
    assert rows[0]["id"] == rows[1]["id"]
    assert rows[1]["updated"] is not None
    assert (await read(gateway, ada)).json()["notifications"] == [rows[1]]


async def test_an_update_of_a_broadcast_is_answered_with_its_id(
    gateway: RunningGateway, cluster: NotificationCluster, ada: str
) -> None:
    rows = []
    for title in ("First", "Second"):
        body = {"recipients": {"type": "broadcast"}, "payload": {"title": title, "scope": "s"}}
        posting = asyncio.create_task(gateway.post(body))
        await hand_over(gateway, await stored(cluster, title), "")
        (row,) = (await posting).json()
        rows.append(row)
        if title == "First":
            update = await gateway.client.post(
                f"{PATH}/update",
                json={"ids": [row["id"]], "read": True},
                headers={"Authorization": f"Bearer {ada}"},
            )
            assert update.json()[0]["read"] is not None
    assert rows[0]["id"] == rows[1]["id"]
    assert (await read(gateway, ada)).json()["notifications"] == [rows[1]]
    status = await read(gateway, ada, "/api/notifications/status")
    assert status.json() == {"unread": 1, "read": 0}


async def test_a_broadcast_that_is_muted_is_not_heard_of(
    gateway: RunningGateway, cluster: NotificationCluster, ada: str
) -> None:
    origin = {"id": SUBJECT, "enabled": True, "topics": [{"id": "muted", "enabled": False}]}
    await gateway.client.post(
        "/api/notifications/settings",
        json={"channels": [{"id": "Web", "origins": [origin]}]},
        headers={"Authorization": f"Bearer {ada}"},
    )
    url = f"ws://127.0.0.1:{gateway.port}/api/signals"
    async with websockets.connect(
        url, subprotocols=[websockets.Subprotocol(ada)], proxy=None
    ) as socket:
        await socket.send(json.dumps({"action": "subscribe", "channel": "notifications"}))
        # The answer to a ping comes after what was sent before it was taken.
        await (await socket.ping())
        for topic in ("muted", "wanted"):
            payload = {"title": topic, "topic": topic}
            body = {"recipients": {"type": "broadcast"}, "payload": payload}
            posting = asyncio.create_task(gateway.post(body))
            await hand_over(gateway, await stored(cluster, topic), "")
            (row,) = (await posting).json()
        signal = json.loads(await asyncio.wait_for(socket.recv(), 30))
        assert signal["message"]["notification_id"] == row["id"]
    listed = (await read(gateway, ada)).json()["notifications"]
    assert [item["payload"]["title"] for item in listed] == ["wanted"]


async def test_a_broadcast_reaches_everybody_live(
    gateway: RunningGateway, cluster: NotificationCluster, ada: str
) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/api/signals"
    async with websockets.connect(
        url, subprotocols=[websockets.Subprotocol(ada)], proxy=None
    ) as socket:
        await socket.send(json.dumps({"action": "subscribe", "channel": "notifications"}))
        # The answer to a ping comes after what was sent before it was taken.
        await (await socket.ping())
        posting = asyncio.create_task(gateway.post())
        body = await stored(cluster, BROADCAST["payload"]["title"])
        await hand_over(gateway, body, "")
        (row,) = (await posting).json()
        signal = json.loads(await asyncio.wait_for(socket.recv(), 30))
        assert signal["channel"] == "notifications"
        assert signal["message"]["action"] == "new_notification"
        assert signal["message"]["notification_id"] == row["id"]
    assert row["user"] is None
    assert (await read(gateway, ada)).json()["notifications"] == [row]
    status = await read(gateway, ada, "/api/notifications/status")
    assert status.json() == {"unread": 1, "read": 0}


async def test_users_do_not_send_and_services_do_not_read(
    gateway: RunningGateway, ada: str
) -> None:
    refused = await gateway.post(token=ada)
    assert refused.status_code == 403
    assert "'user' credentials" in refused.json()["error"]["message"]
    for token, status in ((TOKEN, 403), (OPERATOR_TOKEN, 401)):
        headers = {"Authorization": f"Bearer {token}"}
        assert (await gateway.client.get(PATH, headers=headers)).status_code == status


async def test_who_muted_the_inbox_is_not_in_the_answer(
    gateway: RunningGateway, cluster: NotificationCluster, ada: str
) -> None:
    topic = {"id": "muted", "enabled": False}
    origin = {"id": SUBJECT, "enabled": True, "topics": [topic]}
    saved = await gateway.client.post(
        "/api/notifications/settings",
        json={"channels": [{"id": "Web", "origins": [origin]}]},
        headers={"Authorization": f"Bearer {ada}"},
    )
    assert saved.status_code == 200, saved.text
    # There is no row to wait for: this ends long before the gateway gives up waiting.
    async with asyncio.timeout(20):
        assert (await gateway.post(titled("Muted", topic="muted"))).json() == []
    await stored(cluster, "Muted")
    posting = asyncio.create_task(gateway.post(titled("Wanted", topic="other")))
    await hand_over(gateway, await stored(cluster, "Wanted"), ADA)
    assert [row["user"] for row in (await posting).json()] == [ADA]


async def test_the_internal_api_is_on_its_own_port(gateway: RunningGateway) -> None:
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    path = "/internal/v1/ready"
    assert (await gateway.internal.get(path, headers=headers)).status_code == 200
    assert (await gateway.client.get(path, headers=headers)).status_code == 404
    assert (await gateway.internal.get(path)).status_code == 401
