"""A cluster for the gateway in memory, and a gateway that serves on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from notifications_operator.api.errors import NotFoundError
from notifications_operator.api.references import NOTIFICATIONS
from notifications_operator.gateway.application import Gateway
from notifications_operator.gateway.identity.documents import make_session
from notifications_operator.gateway.settings import GatewaySettings
from tests.support.cluster import Body, MemoryCluster

NAMESPACE = "inbox"
"""Where callers send that name no namespace."""

TOKEN = "a-token-of-a-service-that-may-broadcast"
"""May do everything; its subject is `SUBJECT`."""

SUBJECT = "external:build"

OPERATOR = "system:serviceaccount:notifications-system:notifications"

OPERATOR_TOKEN = "t0ken-of-the-0perator"

ENTITIES_TOKEN = "a-token-of-a-service-that-may-not-broadcast"
"""May name two entity refs."""

BROADCAST: Body = {
    "recipients": {"type": "broadcast"},
    "payload": {
        "title": "Title of broadcast message",
        "link": "http://foo.com/bar",
        "severity": "high",
        "topic": "The topic",
    },
}
"""The body of the issue."""


def static(token: str, subject: str, **options: Any) -> Body:
    """Return one entry of the file of callers."""
    return {"type": "static", "options": {"token": token, "subject": subject, **options}}


CALLERS = [
    static(TOKEN, SUBJECT, broadcast=True),
    static(ENTITIES_TOKEN, "external:limited", maxRecipients=2),
]


def write_callers(file: Path, entries: object) -> None:
    """Write the file of callers in one step, as the kubelet does."""
    beside = file.with_suffix(".new")
    beside.write_text(yaml.safe_dump(entries))
    beside.rename(file)


class NotificationCluster(MemoryCluster):
    """The cluster as the gateway sees it: it creates, reads and counts Notifications."""

    async def create_notification(self, body: Mapping[str, Any]) -> Body:
        """Create a Notification; see `sending.cluster.Cluster`."""
        loss = await self._arrive("create", {})
        created = self.create(NOTIFICATIONS, body)
        if loss is not None:
            raise loss
        return created

    async def get_notification(self, namespace: str, name: str) -> Body | None:
        """Return a Notification; see `sending.cluster.Cluster`."""
        if loss := await self._arrive("get", {}):
            raise loss
        try:
            return self.read(NOTIFICATIONS, namespace, name)
        except NotFoundError:
            return None

    async def count_notifications(
        self, namespace: str, *, field_selector: str, at_most: int
    ) -> int:
        """Count Notifications by their state; see `sending.cluster.Cluster`."""
        if loss := await self._arrive("count", {}):
            raise loss
        left_out = set()
        for term in field_selector.split(","):
            field, state = term.split("!=")
            assert field == "status.state", "the only field of our selector that is declared"
            left_out.add(state)
        states = [
            body["status"]["state"]
            for body in self.list(NOTIFICATIONS)
            if body["metadata"]["namespace"] == namespace
        ]
        return min(sum(state not in left_out for state in states), at_most)

    async def list_catalog(self, namespace: str) -> tuple[list[Body], str]:
        """Return no ConfigMaps."""
        return [], "1"

    async def close(self) -> None:
        """There are no connections."""

    def only(self) -> Body:
        """Return the one Notification that there is."""
        (body,) = self.list(NOTIFICATIONS)
        return body

    def finish(self, name: str, namespace: str = NAMESPACE) -> None:
        """Let a Notification be delivered."""

        def deliver(status: Body) -> None:
            status["state"] = "Delivered"

        self.write_status(NOTIFICATIONS, namespace, name, deliver)


class Reviews:
    """Knows the token of one ServiceAccount."""

    async def user_of(self, token: str, *, audience: str) -> str | None:
        """Return whose a token is; see `internal.reviewer.TokenReviews`."""
        return OPERATOR if token == OPERATOR_TOKEN else None


@dataclass(kw_only=True)
class RunningGateway:
    """A gateway in this process, on free ports of the loopback interface."""

    gateway: Gateway
    cluster: NotificationCluster
    callers: Path
    client: httpx.AsyncClient
    internal: httpx.AsyncClient
    port: int

    async def post(
        self,
        body: object = BROADCAST,
        *,
        token: str | None = TOKEN,
        path: str = "/api/notifications/notifications",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a JSON body as a caller."""
        authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await self.client.post(path, json=body, headers={**authorization, **(headers or {})})


@asynccontextmanager
async def running_gateway(
    directory: Path, cluster: NotificationCluster, **settings: Any
) -> AsyncIterator[RunningGateway]:
    """Run a gateway; ``settings`` are those of `GatewaySettings`."""
    callers = directory / "callers.yaml"
    if not callers.exists():
        write_callers(callers, CALLERS)
    server = {
        "host": "127.0.0.1",
        "port": 0,
        "internal_port": 0,
        "shutdown_delay": 0,
        **settings.pop("server", {}),
    }
    known = {"file": callers, "poll_interval": 0.05, **settings.pop("callers", {})}
    database = {"url": f"sqlite:///{directory / 'inbox.db'}", **settings.pop("database", {})}
    # Nothing is delivered here unless a test does it.
    sending = {"rows_timeout": 0, **settings.pop("sending", {})}
    given = {
        "namespace": NAMESPACE,
        "server": server,
        "callers": known,
        "database": database,
        # Whether or not a page was built here.
        "page": {"directory": directory / "no-page"},
        "sending": sending,
        **settings,
    }
    gateway = Gateway(GatewaySettings.model_validate(given), cluster, Reviews(), make_session())
    running = asyncio.create_task(gateway.run())
    ports = asyncio.create_task(gateway.wait_started())
    await asyncio.wait([running, ports], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        ports.cancel()
        running.result()
    port, internal_port = ports.result()
    base = "http://127.0.0.1"
    async with (
        httpx.AsyncClient(base_url=f"{base}:{port}", trust_env=False, timeout=60) as client,
        httpx.AsyncClient(base_url=f"{base}:{internal_port}", trust_env=False, timeout=60) as other,
    ):
        try:
            yield RunningGateway(
                gateway=gateway,
                cluster=cluster,
                callers=callers,
                client=client,
                internal=other,
                port=port,
            )
        finally:
            gateway.stop()
            await running
