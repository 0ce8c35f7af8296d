"""The way into the inbox: operator, internal API and database, and each of them away in turn.

The judge is the database: who has which row. A row that is there twice would be two.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from kubernetes.aio import client, config

from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.matrix import SettingsMatrix
from notifications_operator.gateway.inbox.types import Change, Row
from notifications_operator.gateway.internal.reviewer import TokenReviewer
from notifications_operator.gateway.internal.settings import InternalSettings
from notifications_operator.kube.reviews import TokenReviews
from notifications_operator.kube.transport import Transport
from tests.support.installation import Installation, free_port, kubectl
from tests.support.internal_gateway import served, sqlite, stored
from tests.support.kubernetes import (
    Kubernetes,
    Object,
    complete,
    condition_is,
    notification,
    rows,
)
from tests.support.mail import Catcher

pytestmark = pytest.mark.cluster

AUDIENCE = "notifications-gateway"
USERS = ["user:default/ada", "user:default/grace", "user:default/silent"]


class HeldInbox(Inbox):
    """Stores what it is given, but keeps the answers back while it is told to."""

    answers: asyncio.Event
    stored_batches: int = 0

    async def deliver(self, rows: Sequence[Row]) -> list[tuple[UUID, Change]]:
        changes = await super().deliver(rows)
        self.stored_batches += 1
        await self.answers.wait()
        return changes


@dataclass(kw_only=True)
class Gateway:
    """A gateway that comes and goes; its database stays."""

    port: int
    inbox: HeldInbox
    database: Database
    reviewer: TokenReviewer
    serving: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        await self.serving.enter_async_context(served(self.inbox, self.reviewer, port=self.port))

    async def stop(self) -> None:
        await self.serving.aclose()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def rows(self, title: str) -> list[str]:
        """Return whose inboxes have a notification of a title; nobody's is everybody's."""
        return [user for user, found, _ in await stored(self.database) if found == title]

    async def until(self, condition: Callable[[], bool], operator: Installation) -> None:
        async with asyncio.timeout(60):
            while not condition():
                assert operator.process is not None, operator.tail()
                await asyncio.sleep(0.05)


@pytest.fixture
async def gateway(installation: Installation, tmp_path: Path) -> AsyncIterator[Gateway]:
    """Serve the internal API with SQLite behind it; tokens are judged by the API server."""
    configuration = client.Configuration()
    await config.load_kube_config(
        str(installation.cluster.kubeconfig), client_configuration=configuration
    )
    transport = Transport(client.ApiClient(configuration))
    settings = InternalSettings(
        operator_namespace=installation.namespace,
        operator_service_account=installation.account,
        audience=AUDIENCE,
    )
    async with sqlite(tmp_path / "inbox.db") as database:
        inbox = HeldInbox(database, channels=("Web", "Email"))
        inbox.answers = asyncio.Event()
        inbox.answers.set()
        made = Gateway(
            port=free_port(),
            inbox=inbox,
            database=database,
            reviewer=TokenReviewer(TokenReviews(transport), settings),
        )
        await made.start()
        yield made
        inbox.answers.set()
        await made.stop()
    await transport.close()


def token(installation: Installation, account: str, namespace: str, audience: str) -> str:
    """Have a token minted, as the kubelet does for a projected volume."""
    return kubectl(
        installation.cluster.kubeconfig,
        *("create", "token", account, "--namespace", namespace, "--audience", audience),
    ).stdout.strip()


@pytest.fixture
async def operator(
    installation: Installation, gateway: Gateway, tmp_path: Path
) -> AsyncIterator[Installation]:
    """Run the operator with the gateway's address instead of the installation's own."""
    await asyncio.to_thread(installation.stop)
    directory = tmp_path / "operator"
    directory.mkdir()
    file = directory / "token"
    file.write_text(token(installation, installation.account, installation.namespace, AUDIENCE))
    made = Installation(
        cluster=installation.cluster,
        directory=directory,
        namespace=installation.namespace,
        settings={
            "NOTIFICATIONS_GATEWAY__URL": gateway.url,
            "NOTIFICATIONS_GATEWAY__TOKEN_FILE": str(file),
        },
    )
    await asyncio.to_thread(made.start)
    await asyncio.to_thread(made.wait_ready)
    yield made
    made.close()
    installation.start()
    await asyncio.to_thread(installation.wait_ready)


@pytest.fixture
async def processor(kubernetes: Kubernetes, operator: Installation) -> AsyncIterator[str]:
    """A processor of type inbox that would rather hold what is in doubt."""
    await kubernetes.create(
        {
            "apiVersion": "notifications.orchestrator.io/v1alpha1",
            "kind": "NotificationProcessor",
            "metadata": {"name": "inbox", "namespace": operator.namespace},
            "spec": {"type": "inbox", "onAmbiguous": "Hold"},
        }
    )
    await kubernetes.wait(
        "NotificationProcessor", "inbox", operator.namespace, condition_is("Ready", "True")
    )
    yield "inbox"
    await kubernetes.delete("NotificationProcessor", "inbox", operator.namespace)


async def finished(kubernetes: Kubernetes, name: str, namespace: str) -> Object:
    return await kubernetes.wait("Notification", name, namespace, complete, seconds=60)


async def test_users_and_everybody_have_it_once(
    kubernetes: Kubernetes,
    namespace: str,
    operator: Installation,
    gateway: Gateway,
    processor: str,
    title: str,
) -> None:
    await kubernetes.create(
        notification("users", namespace, *USERS, title=title, processors=[processor])
    )
    await kubernetes.create(
        notification("all", namespace, title=f"{title} all", processors=[processor])
    )
    body = await finished(kubernetes, "users", namespace)
    assert (body["status"]["state"], body["status"]["summary"]) == ("Delivered", "3/3")
    assert {row["state"] for row in rows(body).values()} == {"Sent"}
    everybody = await finished(kubernetes, "all", namespace)
    assert list(rows(everybody)) == ["broadcast"]
    assert await gateway.rows(title) == USERS
    assert await gateway.rows(f"{title} all") == [""]
    # A restart reads everything again and sends nothing.
    batches = gateway.inbox.stored_batches
    await asyncio.to_thread(operator.stop)
    await asyncio.to_thread(operator.start)
    await asyncio.to_thread(operator.wait_ready)
    await kubernetes.create(
        notification("later", namespace, USERS[0], title=f"{title} later", processors=[processor])
    )
    await finished(kubernetes, "later", namespace)
    assert gateway.inbox.stored_batches == batches + 1


async def test_a_user_whom_the_catalog_does_not_know_has_an_inbox(
    kubernetes: Kubernetes, namespace: str, gateway: Gateway, processor: str, title: str
) -> None:
    stranger = "user:default/stranger"
    await kubernetes.create(
        notification("stranger", namespace, stranger, title=title, processors=[processor])
    )
    body = await finished(kubernetes, "stranger", namespace)
    assert body["status"]["state"] == "Delivered"
    assert body["status"]["recipients"]["unresolved"]["refs"] == [stranger]
    assert await gateway.rows(title) == [stranger]


async def test_members_without_an_entity_have_inboxes(
    kubernetes: Kubernetes,
    namespace: str,
    operator: Installation,
    gateway: Gateway,
    processor: str,
    title: str,
) -> None:
    """People sign in without being in the catalog; their group names them."""
    team = f"team-{uuid.uuid4().hex[:8]}"
    labels = {"notifications.orchestrator.io/catalog": "true"}
    metadata = {"name": team, "namespace": operator.namespace, "labels": labels}
    text = (
        f"apiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {{name: {team}}}\n"
        "spec: {type: team, children: [], members: [MixedCase, lower]}\n"
    )
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    await kubernetes.create({**config_map, "data": {"org.yaml": text}})
    try:
        group = f"group:default/{team}"
        await kubernetes.create(
            notification("members", namespace, group, title=title, processors=[processor])
        )
        body = await finished(kubernetes, "members", namespace)
    finally:
        await kubernetes.delete("ConfigMap", team, operator.namespace)
    assert (body["status"]["state"], body["status"]["summary"]) == ("Delivered", "2/2")
    assert await gateway.rows(title) == ["user:default/lower", "user:default/mixedcase"]


async def test_an_edit_overwrites_what_people_have(
    kubernetes: Kubernetes,
    namespace: str,
    operator: Installation,
    gateway: Gateway,
    processor: str,
    title: str,
) -> None:
    name = "edited"
    await kubernetes.create(
        notification(name, namespace, USERS[0], title=title, processors=[processor])
    )
    await finished(kubernetes, name, namespace)
    change = {"spec": {"payload": {"title": f"{title} 2"}}}
    await kubernetes.patch("Notification", name, namespace, change)
    body = await finished(kubernetes, name, namespace)
    assert body["status"]["revision"] == 2
    assert await gateway.rows(title) == []
    assert await gateway.rows(f"{title} 2") == [USERS[0]]


async def test_the_gateway_is_away_and_comes_back(
    kubernetes: Kubernetes,
    namespace: str,
    operator: Installation,
    gateway: Gateway,
    processor: str,
    title: str,
) -> None:
    """Who was asked about before is planned with the last answer; others wait for theirs."""
    await kubernetes.create(
        notification("before", namespace, *USERS, title=title, processors=[processor])
    )
    await finished(kubernetes, "before", namespace)
    await gateway.stop()
    await kubernetes.create(
        notification("known", namespace, *USERS, title=f"{title} known", processors=[processor])
    )
    await kubernetes.create(
        notification(
            "unknown",
            namespace,
            *USERS,
            title=f"{title} unknown",
            processors=[processor],
            payload={"topic": "never asked about"},
        )
    )
    await kubernetes.create(
        notification(
            "critical",
            namespace,
            *USERS,
            title=f"{title} critical",
            processors=[processor],
            payload={"topic": "never asked about either", "severity": "critical"},
        )
    )
    await kubernetes.wait(
        "NotificationProcessor",
        processor,
        operator.namespace,
        condition_is("Ready", "False", "ConnectFailed"),
    )
    for name in ("known", "critical"):
        body = await kubernetes.wait(
            "Notification", name, namespace, lambda body: "ConnectFailed" in str(rows(body))
        )
        assert {row["state"] for row in rows(body).values()} == {"Pending"}
        assert {row["attempts"] for row in rows(body).values()} == {0}
    body = await kubernetes.wait(
        "Notification",
        "unknown",
        namespace,
        lambda body: body["status"].get("reason") == "PreferencesUnavailable",
    )
    assert rows(body) == {}
    await gateway.start()
    for name in ("known", "unknown", "critical"):
        body = await finished(kubernetes, name, namespace)
        assert (body["status"]["state"], body["status"]["summary"]) == ("Delivered", "3/3")
        assert await gateway.rows(f"{title} {name}") == USERS


async def test_the_operator_is_killed_between_the_inbox_and_its_record(
    kubernetes: Kubernetes,
    namespace: str,
    operator: Installation,
    gateway: Gateway,
    processor: str,
    title: str,
) -> None:
    gateway.inbox.answers.clear()
    await kubernetes.create(
        notification("killed", namespace, *USERS, title=title, processors=[processor])
    )
    await gateway.until(lambda: gateway.inbox.stored_batches == 1, operator)
    body = await kubernetes.get("Notification", "killed", namespace)
    assert {row["state"] for row in rows(body).values()} == {"Claimed"}
    await asyncio.to_thread(operator.kill)
    gateway.inbox.answers.set()
    await asyncio.to_thread(operator.start)
    body = await finished(kubernetes, "killed", namespace)
    assert (body["status"]["state"], body["status"]["summary"]) == ("Delivered", "3/3")
    for row in rows(body).values():
        assert (row["state"], row["attempts"]) == ("Sent", 2)
        assert row["message"] == "Unchanged"
    assert await gateway.rows(title) == USERS


async def test_who_opted_out_is_skipped_in_inbox_and_mail(
    kubernetes: Kubernetes,
    namespace: str,
    operator: Installation,
    gateway: Gateway,
    catcher: Catcher,
    processor: str,
    title: str,
) -> None:
    origin = {"id": f"namespace:{namespace}", "enabled": False}
    for user, channel in ((USERS[0], "Web"), (USERS[1], "Email")):
        matrix = {"channels": [{"id": channel, "origins": [origin]}]}
        await gateway.inbox.save_settings(user, SettingsMatrix.model_validate(matrix))
    for name in ("inbox", "email"):
        await kubernetes.create(
            notification(name, namespace, *USERS[:2], title=f"{title} {name}", processors=[name])
        )
    inbox = rows(await finished(kubernetes, "inbox", namespace))
    email = rows(await finished(kubernetes, "email", namespace))
    assert (inbox[USERS[0]]["state"], inbox[USERS[0]]["reason"]) == ("Skipped", "OptedOut")
    assert inbox[USERS[1]]["state"] == "Sent"
    assert email[USERS[0]]["state"] == "Sent"
    assert (email[USERS[1]]["state"], email[USERS[1]]["reason"]) == ("Skipped", "OptedOut")
    assert await gateway.rows(f"{title} inbox") == [USERS[1]]
    assert catcher.recipients(f"{title} email") == ["ada@example.com"]


async def test_an_older_one_of_a_scope_comes_too_late(
    kubernetes: Kubernetes,
    namespace: str,
    gateway: Gateway,
    processor: str,
    title: str,
) -> None:
    async def create(name: str, *, suspend: bool) -> Object:
        body = notification(
            name,
            namespace,
            USERS[0],
            title=f"{title} {name}",
            processors=[processor],
            payload={"scope": "build-1"},
            suspend=suspend,
        )
        return await kubernetes.create(body)

    older = await create("older", suspend=True)
    newer = older
    while newer["metadata"]["creationTimestamp"] == older["metadata"]["creationTimestamp"]:
        # Creation times have whole seconds.
        await kubernetes.delete("Notification", "newer", namespace)
        newer = await create("newer", suspend=True)
    for name in ("newer", "older"):
        await kubernetes.patch("Notification", name, namespace, {"spec": {"suspend": False}})
        body = await finished(kubernetes, name, namespace)
    row = rows(body)[USERS[0]]
    assert (row["state"], row["reason"]) == ("Skipped", "Superseded")
    assert await gateway.rows(f"{title} older") == []
    assert await gateway.rows(f"{title} newer") == [USERS[0]]


async def test_nobody_else_gets_in_with_a_token_of_the_cluster(
    installation: Installation, namespace: str, kubernetes: Kubernetes, gateway: Gateway
) -> None:
    """Any pod can have a token for any audience; and the operator's own must be for ours."""
    await kubernetes.create(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "intruder", "namespace": namespace},
        }
    )
    ours = (installation.account, installation.namespace)
    tokens = {
        token(installation, *ours, AUDIENCE): 200,
        token(installation, *ours, "another-audience"): 401,
        token(installation, "intruder", namespace, AUDIENCE): 403,
        token(installation, *ours, AUDIENCE)[:-4] + "AAAA": 401,
    }
    async with aiohttp.ClientSession() as session:
        for shown, status in tokens.items():
            headers = {"Authorization": f"Bearer {shown}"}
            async with session.get(f"{gateway.url}/internal/v1/ready", headers=headers) as answer:
                assert answer.status == status, await answer.text()
