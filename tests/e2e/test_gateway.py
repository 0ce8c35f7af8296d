"""From a POST to mailbox and inbox: chart, gateway, operator, API server, mail server; all real."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from hack.cluster import Cluster, Source, up
from tests.support.gateway_installation import installed_gateway, operator_settings
from tests.support.gateway_process import GatewayProcess
from tests.support.installation import Installation
from tests.support.issuer import Issuer, issuing
from tests.support.kubernetes import Kubernetes, Object, complete
from tests.support.smtp import SMTPPeer

pytestmark = pytest.mark.cluster

NAMESPACE = "notifications-system"
INBOX = "notifications-inbox"
TOKEN = "a-token-of-thirty-two-characters-or-more"
SUBJECT = "external:my-service"
NAMES = ("ada", "grace")
LEASE = {"leaseDuration": 4, "renewInterval": 1, "retryPeriod": 1}


def user(name: str) -> Object:
    return {
        "apiVersion": "backstage.io/v1alpha1",
        "kind": "User",
        "metadata": {"name": name},
        "spec": {"profile": {"email": f"{name}@example.com"}, "memberOf": []},
    }


@pytest.fixture(scope="module")
def cluster(worker_id: str) -> Iterator[Cluster]:
    """A control plane of this module's own: another release has no place in the others'."""
    cluster = up(f"gateway-{worker_id}-{os.getpid()}", source=Source.LOCAL)
    yield cluster
    cluster.down()


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """The chart with the gateway; no process runs yet."""
    installation = Installation(
        cluster=cluster, directory=tmp_path_factory.mktemp("installation"), namespace=NAMESPACE
    )
    installation.install(
        {
            "catalog": {"entities": [user(name) for name in NAMES], "settle": 0.2},
            "app": {"baseUrl": "https://portal.example.com"},
            "delivery": {"openWait": 1, "verifyInterval": 1, "shutdownGrace": 20},
            "leaderElection": LEASE,
            "gateway": {
                "enabled": True,
                "tokens": {
                    "externalAccess": [
                        {
                            "type": "static",
                            "options": {"token": TOKEN, "subject": SUBJECT, "broadcast": True},
                        }
                    ]
                },
            },
        }
    )
    yield installation
    installation.close()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """Who gives people their tokens."""
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
async def peer() -> AsyncIterator[SMTPPeer]:
    """The mail server."""
    async with SMTPPeer() as peer:
        yield peer


@pytest.fixture
async def gateway(
    installation: Installation, issuer: Issuer, tmp_path: Path
) -> AsyncIterator[GatewayProcess]:
    """The gateway as a process."""
    oidc = {"issuer": issuer.url, "audiences": ["notifications"], "allow_http": True}
    settings = {"NOTIFICATIONS_GATEWAY_OIDC": json.dumps(oidc)}
    gateway = installed_gateway(installation, tmp_path, settings)
    try:
        await asyncio.to_thread(gateway.start)
        yield gateway
    finally:
        gateway.close()


@pytest.fixture
async def system(
    installation: Installation, gateway: GatewayProcess, peer: SMTPPeer
) -> AsyncIterator[GatewayProcess]:
    """Gateway, operator and an e-mail processor."""
    async with Kubernetes(installation.cluster.kubeconfig) as kubernetes:
        await kubernetes.create(email(peer))
        installation.settings = operator_settings(
            installation, gateway.directory, gateway.internal_port
        )
        await asyncio.to_thread(installation.start)
        await asyncio.to_thread(installation.wait_ready)
        yield gateway
        installation.close()
        await kubernetes.delete("NotificationProcessor", "email", NAMESPACE)


def email(peer: SMTPPeer) -> Object:
    return {
        "apiVersion": "notifications.orchestrator.io/v1alpha1",
        "kind": "NotificationProcessor",
        "metadata": {"name": "email", "namespace": NAMESPACE},
        "spec": {
            "type": "email",
            "email": {
                "transportConfig": {"transport": "smtp", "hostname": peer.host, "port": peer.port},
                "sender": "sender@example.com",
                "broadcastConfig": {"receiver": "users"},
                "concurrencyLimit": 8,
                "throttleInterval": {"milliseconds": 0},
            },
            "retry": {"minDelay": "500ms", "maxDelay": "1s", "maxAttempts": 1000},
        },
    }


class Person:
    """Somebody with a token of the issuer."""

    def __init__(self, gateway: GatewayProcess, issuer: Issuer, name: str) -> None:
        now = int(time.time())
        self.token = issuer.key.sign(
            issuer.claims(backstage_entity_ref=f"user:default/{name}", iat=now, exp=now + 3600)
        )
        self._url = gateway.url

    async def get(self, path: str) -> Any:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            headers = {"Authorization": f"Bearer {self.token}"}
            answer = await client.get(f"{self._url}/api/notifications{path}", headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()

    async def titles(self) -> list[str]:
        found = await self.get("/notifications")
        return [item["payload"]["title"] for item in found["notifications"]]


async def until(condition: Callable[[], Any], *logs: Callable[[], str]) -> None:
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("\n".join(log() for log in logs))
        await asyncio.sleep(0.05)


async def test_posted_by_curl_it_is_in_mailbox_and_inbox(
    system: GatewayProcess, issuer: Issuer, peer: SMTPPeer, installation: Installation
) -> None:
    """The command of issue 5 as it stands, but for host and token."""
    ada = Person(system, issuer, "ada")
    assert await ada.titles() == []
    url = f"ws://127.0.0.1:{system.port}/api/signals"
    async with connect(url, subprotocols=[Subprotocol(ada.token)], compression=None) as socket:
        await socket.send('{"action": "subscribe", "channel": "notifications"}')
        answer = await asyncio.to_thread(curl, system)
        [row] = answer
        assert (row["user"], row["origin"]) == (None, SUBJECT)
        try:
            signal = json.loads(await asyncio.wait_for(socket.recv(), 30))
        except TimeoutError:
            raise AssertionError(installation.tail() + system.tail()) from None
    assert signal["channel"] == "notifications"
    assert signal["message"]["action"] == "new_notification"
    assert signal["message"]["notification_id"] == row["id"]
    logs = (installation.tail, system.tail)
    await until(lambda: len(peer.ledger.messages) == len(NAMES), *logs)
    assert sorted(peer.ledger.recipients) == [f"{name}@example.com" for name in NAMES]
    [shown] = (await ada.get("/notifications"))["notifications"]
    assert (shown["id"], shown["payload"]["title"]) == (row["id"], "Title of broadcast message")
    assert await ada.get("/status") == {"unread": 1, "read": 0}
    async with Kubernetes(installation.cluster.kubeconfig) as kubernetes:
        [stored] = await kubernetes.list("Notification", INBOX)
        name = stored["metadata"]["name"]
        body = await kubernetes.wait("Notification", name, INBOX, complete, seconds=60)
        assert (body["spec"]["origin"], body["status"]["state"]) == (SUBJECT, "Delivered")
        assert {item["name"] for item in body["status"]["processors"]} == {"email", "inbox"}
        await kubernetes.delete("Notification", name, INBOX)


def curl(gateway: GatewayProcess) -> Any:
    """Send what the issue sends."""
    result = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*"),
            *("-X", "POST", f"{gateway.url}/api/notifications"),
            *("-H", "Content-Type: application/json"),
            *("-H", f"Authorization: Bearer {TOKEN}"),
            "-d",
            '{"recipients":{"type":"broadcast"},"payload":{"title":"Title of broadcast message",'
            '"link":"http://foo.com/bar","severity":"high","topic":"The topic"}}',
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + gateway.tail()
    return json.loads(result.stdout)


async def more(accepted: set[str], gateway: GatewayProcess) -> None:
    """Wait until some more were accepted."""
    enough = len(accepted) + 5
    await until(lambda: len(accepted) > enough, gateway.tail)


async def test_nothing_that_was_accepted_is_lost_or_doubled(
    system: GatewayProcess, issuer: Issuer, peer: SMTPPeer, installation: Installation
) -> None:
    """Gateway and operator are killed in turn under a load of posts with keys."""
    accepted: set[str] = set()
    stop = asyncio.Event()

    async def load(worker: int) -> None:
        number = 0
        while not stop.is_set():
            title = f"load {worker} {number}"
            body = {
                "recipients": {"type": "entity", "entityRef": "user:default/grace"},
                "payload": {"title": title},
            }
            try:
                answer = await system.post(body, token=TOKEN, key=title.replace(" ", "-"))
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                accepted.add(title)
                number += 1
            else:
                assert answer.status_code in (429, 503), answer.text
                await asyncio.sleep(0.05)

    workers = [asyncio.create_task(load(worker)) for worker in range(3)]
    for _ in range(2):
        await more(accepted, system)
        system.kill()
        await asyncio.to_thread(system.start)
        await more(accepted, system)
        installation.kill()
        await asyncio.to_thread(installation.start)
    stop.set()
    await asyncio.gather(*workers)
    async with Kubernetes(installation.cluster.kubeconfig) as kubernetes:
        for stored in await kubernetes.list("Notification", INBOX):
            name = stored["metadata"]["name"]
            body = await kubernetes.wait("Notification", name, INBOX, complete, seconds=90)
            assert body["status"]["state"] == "Delivered", body["status"]
    grace = Person(system, issuer, "grace")
    titles = await grace.titles()
    loaded = [title for title in titles if title.startswith("load")]
    assert sorted(loaded) == sorted(accepted)
    mailed = [str(message.parsed["Subject"]) for message in peer.ledger.messages]
    assert {title for title in accepted if not any(title in mail for mail in mailed)} == set()
    assert len(set(peer.ledger.message_ids)) == len(accepted), "a copy is the same message"
