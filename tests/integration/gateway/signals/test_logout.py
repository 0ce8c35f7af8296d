"""A session that ends takes its sockets along, at every replica; others stay."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from notifications_operator.gateway.identity.cookies import SESSION_COOKIE, SessionAuthenticator
from notifications_operator.gateway.identity.sessions import Sessions, session
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.engines import connect_postgresql
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from tests.integration.gateway.inbox.conftest import database as database
from tests.integration.gateway.inbox.conftest import settings as settings
from tests.support.gateway import NotificationCluster, RunningGateway, running_gateway
from tests.support.issuer import issuing
from tests.support.relays import relaying
from tests.support.signals import Served, closed, message, obeyed, publish, serving, until

ADA = "user:default/ada"
PAGE = "https://notifications.example.com"


@asynccontextmanager
async def replica(settings: DatabaseSettings, database: Database) -> AsyncIterator[Served]:
    """Serve signals of a database to people with sessions there."""
    cookies = SessionAuthenticator(sessions_of(database), origin=PAGE)
    listening = partial(connect_postgresql, settings, background=True)
    async with (
        serving({}, cookies, portals=[PAGE]) as served,
        relaying(database, hub=served.hub, connect=listening) as (_, relay),
    ):
        await until(lambda: relay.problem is None)
        yield served


def sessions_of(database: Database) -> Sessions:
    day = timedelta(days=1)
    return Sessions(database, idle_timeout=day, absolute_timeout=day)


async def enter(served: Served, session_id: str) -> ClientConnection:
    """Open a socket as the page does."""
    headers = {"Cookie": f"{SESSION_COOKIE}={session_id}"}
    return await served.connect(None, headers=headers, origin=PAGE)


async def test_a_logout_closes_the_sockets_of_that_session_at_every_replica(
    settings: DatabaseSettings, database: Database
) -> None:
    sessions = sessions_of(database)
    ended, kept = [await sessions.create(ADA) for _ in range(2)]
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(replica(settings, database))]
        if database.dialect == "postgresql":
            other = Database(settings)
            await other.start()
            stack.push_async_callback(other.close)
            replicas.append(await stack.enter_async_context(replica(settings, other)))
        going = [await enter(served, ended) for served in replicas for _ in range(2)]
        staying = [await enter(served, kept) for served in replicas]
        await sessions.end(ended)
        assert [await closed(client) for client in going] == [4401] * len(going)
        for served, client in zip(replicas, staying, strict=True):
            await publish(served.hub, {"number": 1}, ADA)
            assert await message(client) == {"number": 1}
            refused = await served.refusal(
                None, headers={"Cookie": f"{SESSION_COOKIE}={ended}"}, origin=PAGE
            )
            assert refused.response.status_code == 401
            await client.close()


async def test_which_sessions_are_no_more(database: Database) -> None:
    sessions = sessions_of(database)
    assert await sessions.missing([]) == set()
    ids = [await sessions.create(ADA) for _ in range(3)]
    keys = [sha256(session_id.encode()).hexdigest() for session_id in ids]
    await sessions.end(ids[1])
    many = [str(number) for number in range(5000)]
    assert await sessions.missing([*many, *keys]) == {*many, keys[1]}
    await database.write(lambda connection: connection.execute(delete(session)))
    assert await sessions.missing(keys) == set(keys)


@asynccontextmanager
async def whole_gateway(directory: Path, **signals: Any) -> AsyncIterator[RunningGateway]:
    async with issuing() as issuer:
        login = {"client_id": "page", "public_url": PAGE}
        oidc = {"issuer": issuer.url, "login": login, "allow_http": True}
        async with running_gateway(
            directory, NotificationCluster(), oidc=oidc, signals=signals
        ) as gateway:
            yield gateway


async def begin_session(gateway: RunningGateway, directory: Path, session_id: str) -> None:
    """Have Ada logged in, as if by the issuer."""
    await wait_ready(gateway)
    moment = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
    digest = sha256(session_id.encode()).hexdigest()
    insert = "INSERT INTO session VALUES (?, ?, ?, ?)"
    await execute(directory, insert, digest, ADA, moment, moment)


async def wait_ready(gateway: RunningGateway) -> None:
    headers = {"Cookie": f"{SESSION_COOKIE}=of-nobody"}
    while (await gateway.client.get("/auth/session", headers=headers)).status_code == 503:
        await asyncio.sleep(0.01)


async def execute(directory: Path, statement: str, *values: str) -> None:
    """Change the database as another process does.

    In a thread: the gateway runs in this one, and must be able to end what it has begun.
    """

    def change() -> None:
        with closing(sqlite3.connect(directory / "inbox.db", timeout=60)) as connection:
            connection.execute(statement, values)
            connection.commit()

    await asyncio.to_thread(change)


async def open_socket(gateway: RunningGateway, session_id: str) -> ClientConnection:
    client = await connect(
        "ws://notifications.example.com/api/signals",
        host="127.0.0.1",
        port=gateway.port,
        origin=Origin(PAGE),
        additional_headers={"Cookie": f"{SESSION_COOKIE}={session_id}"},
        proxy=None,
    )
    await obeyed(client)
    return client


async def test_the_whole_gateway_at_a_logout(tmp_path: Path) -> None:
    async with whole_gateway(tmp_path, session_interval=3600) as gateway:
        await begin_session(gateway, tmp_path, "of-ada")
        client = await open_socket(gateway, "of-ada")
        response = await gateway.client.post(
            "/auth/logout",
            json={},
            headers={"Cookie": f"{SESSION_COOKIE}=of-ada", "Origin": PAGE},
        )
        assert response.status_code == 204
        assert await closed(client) == 4401


async def test_sessions_that_end_by_hand_are_found(tmp_path: Path) -> None:
    async with whole_gateway(tmp_path, session_interval=0.05) as gateway:
        await begin_session(gateway, tmp_path, "of-ada")
        client = await open_socket(gateway, "of-ada")
        await execute(tmp_path, "DELETE FROM session")
        assert await closed(client) == 4401
