"""The gateway's internal API and inbox, served on a real socket from within a test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import select

from notifications_operator.gateway.errors import install_error_handlers
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.inbox.tables import notification
from notifications_operator.gateway.internal.reviewer import TokenReviewer
from notifications_operator.gateway.internal.router import internal_router


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def sqlite(file: Path) -> AsyncIterator[Database]:
    """Open a database of SQLite, made if it is not there."""
    database = Database(DatabaseSettings(url=SecretStr(f"sqlite:///{file}")))
    await database.start()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def served(inbox: Inbox, reviewer: TokenReviewer, *, port: int = 0) -> AsyncIterator[str]:
    """Serve the internal API and yield its address."""
    application = FastAPI()
    install_error_handlers(application)
    application.include_router(internal_router(inbox, reviewer))
    config = uvicorn.Config(
        application, lifespan="off", log_config=None, timeout_graceful_shutdown=1
    )
    server = _Server(config)
    listening = socket.create_server(("127.0.0.1", port))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listening.close()


async def stored(database: Database) -> Sequence[tuple[str, str, str]]:
    """Return recipient, title and Notification's UID of all rows there are, in order."""
    columns = notification.c
    statement = select(columns.recipient, columns.title, columns.uid).order_by(
        columns.recipient, columns.title
    )
    async with database.engine.connect() as connection:
        rows = await connection.execute(statement)
        return [(row.recipient, row.title, row.uid) for row in rows]
