"""The gateway as its chart installs it, on PostgreSQL, with the inbox as the only processor."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.environment import NAMESPACE, Environment, Operator, values
from bench.usage import Usage, usage
from bench.waiting import BenchmarkError
from hack import web
from tests.support.gateway_installation import installed_gateway, operator_settings
from tests.support.gateway_process import GatewayProcess
from tests.support.issuer import Issuer, issuing
from tests.support.kubernetes import condition_is
from tests.support.postgres import Postgres

INBOX: Final = "notifications-inbox"
"""Namespace of what is posted."""

SUBJECT: Final = "external:bench"

_TOKEN: Final = "a-token-of-the-benchmarks-own-service"
_PATH: Final = "/api/notifications/notifications"
_READY_SECONDS: Final = 120.0
_CONNECTIONS: Final = 100
_AT_ONCE: Final = 50
_LIFE: Final = 6 * 3600
"""Seconds that tokens of users are valid."""

_VALUES: Final[Mapping[str, Any]] = {
    "gateway": {
        "enabled": True,
        "tokens": {
            "externalAccess": [
                {
                    "type": "static",
                    "options": {"token": _TOKEN, "subject": SUBJECT, "broadcast": True},
                }
            ]
        },
    },
}


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A running gateway.

    Attributes
    ----------
    process
        What runs.
    kubeconfig
        With the rights of its ServiceAccount, for peers.
    """

    environment: Environment
    process: GatewayProcess
    kubeconfig: Path
    issuer: Issuer
    session: aiohttp.ClientSession

    @property
    def usage(self) -> Usage:
        """What it uses now."""
        assert self.process.process is not None
        return usage(self.process.process.pid)

    async def post(self, body: Mapping[str, Any], *, wait: bool) -> Sequence[Mapping[str, Any]]:
        """Post as an external service, and return the rows of the answer.

        Parameters
        ----------
        wait
            Whether the gateway shall wait for the rows.

        Raises
        ------
        BenchmarkError
            If it is refused.
        """
        headers = {"Authorization": f"Bearer {_TOKEN}"} | (
            {} if wait else {"Prefer": "respond-async"}
        )
        url = self.process.url + _PATH
        async with self.session.post(url, json=body, headers=headers) as answer:
            if answer.status != 200:
                raise BenchmarkError(f"a POST was answered {answer.status}: {await answer.text()}")
            rows: Sequence[Mapping[str, Any]] = await answer.json()
            return rows

    def token(self, user: str) -> str:
        """Return a token of a user, by name."""
        now = int(time.time())
        return self.issuer.key.sign(
            self.issuer.claims(
                backstage_entity_ref=f"user:default/{user}", iat=now, exp=now + _LIFE
            )
        )

    async def posted(self) -> Sequence[str]:
        """Return the names of the Notifications that were posted."""
        found = await self.environment.kubernetes.list("Notification", INBOX)
        return [body["metadata"]["name"] for body in found]

    async def operator_settings(self) -> dict[str, str]:
        """Return how the operator's process reaches it."""
        return await asyncio.to_thread(
            operator_settings,
            self.environment.installation,
            self.process.directory,
            self.process.internal_port,
        )

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Operator]:
        """Run the operator from when it can hand rows over on."""
        self.environment.installation.settings = await self.operator_settings()
        try:
            async with self.environment.operator() as operator:
                await self.environment.kubernetes.wait(
                    "NotificationProcessor",
                    "inbox",
                    NAMESPACE,
                    condition_is("Ready", "True"),
                    seconds=_READY_SECONDS,
                )
                yield operator
        finally:
            self.environment.installation.settings = {}


@asynccontextmanager
async def gateway(environment: Environment) -> AsyncIterator[Gateway]:
    """Run a gateway with an empty inbox; what was posted is deleted in the end."""
    # What a 200 stands for must be on the disk here as well.
    server = await asyncio.to_thread(Postgres.start, fsync="on", full_page_writes="on")
    try:
        await asyncio.to_thread(environment.installation.install, dict(_VALUES))
        try:
            async with _running(environment, server.url()) as found:
                try:
                    yield found
                finally:
                    await _delete(environment, await found.posted())
        finally:
            plain = values(environment.sink.port)
            await asyncio.to_thread(environment.installation.install, plain)
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def _running(environment: Environment, database: str) -> AsyncIterator[Gateway]:
    built = await asyncio.to_thread(web.build)
    async with issuing() as issuer:
        oidc = {"issuer": issuer.url, "audiences": ["notifications"], "allow_http": True}
        with tempfile.TemporaryDirectory(dir=environment.directory) as name:
            directory = Path(name)
            process = await asyncio.to_thread(
                installed_gateway,
                environment.installation,
                directory,
                {
                    "NOTIFICATIONS_GATEWAY_OIDC": json.dumps(oidc),
                    "NOTIFICATIONS_GATEWAY_DATABASE__URL": database,
                    "NOTIFICATIONS_GATEWAY_PAGE__DIRECTORY": str(built),
                },
            )
            try:
                await asyncio.to_thread(process.start)
                connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
                async with aiohttp.ClientSession(connector=connector) as session:
                    yield Gateway(
                        environment=environment,
                        process=process,
                        kubeconfig=directory / "gateway.kubeconfig",
                        issuer=issuer,
                        session=session,
                    )
                await asyncio.to_thread(process.stop)
            finally:
                process.close()


async def _delete(environment: Environment, names: Sequence[str]) -> None:
    """Delete what was posted, or every later operator would deliver it."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def delete(name: str) -> None:
        async with places:
            await environment.kubernetes.delete("Notification", name, INBOX)

    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(delete(name))
