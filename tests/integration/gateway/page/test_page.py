"""The page in Chromium, against the gateway's own routes, database and signals."""

from __future__ import annotations

import asyncio
import itertools
import os
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from hack import web
from notifications_operator.api.notification import Severity
from notifications_operator.gateway.connections import ConnectionTimeouts
from notifications_operator.gateway.identity.routes import session_router
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.engines import connect_postgresql
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.settings import DatabaseSettings
from notifications_operator.gateway.inbox.types import Payload, Row
from notifications_operator.gateway.page.routes import page_router
from notifications_operator.gateway.page.settings import PageSettings
from notifications_operator.gateway.principals import Access, UserPrincipal
from notifications_operator.gateway.rest.application import rest_application
from notifications_operator.gateway.rest.bodies import BodyLimits, read_body
from notifications_operator.gateway.rest.reading import read_router
from notifications_operator.gateway.server import Listener
from notifications_operator.gateway.signals.hub import Hub
from notifications_operator.gateway.signals.origins import Origins
from notifications_operator.gateway.signals.relay import Relay
from notifications_operator.gateway.signals.routes import signals_router
from notifications_operator.gateway.signals.settings import SignalsSettings
from tests.support.signals import Tokens

ADA = "user:default/ada"


async def test_page_and_gateway_understand_each_other(tmp_path: Path) -> None:
    dist = await asyncio.to_thread(web.build)
    environment = await asyncio.to_thread(web.browser_environment)
    async with _serving(dist, tmp_path) as url:
        browser = await asyncio.create_subprocess_exec(
            *("npx", "--no-install", "vitest", "run", "--project", "gateway"),
            cwd=web.WEB,
            env=os.environ | environment | {"GATEWAY": url},
            stdout=PIPE,
            stderr=STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(browser.communicate(), timeout=300)
        finally:
            if browser.returncode is None:
                browser.kill()

    assert browser.returncode == 0, output.decode()


@asynccontextmanager
async def _serving(dist: Path, directory: Path) -> AsyncIterator[str]:
    """Serve the page, signed in as Ada with the cookie ``session=ada``; yields the origin."""
    database_settings = DatabaseSettings.model_validate(
        {"url": f"sqlite:///{directory / 'inbox.db'}"}
    )
    signals = SignalsSettings()
    database = Database(database_settings)
    await database.start()
    inbox = Inbox(database, channels=["Web", "Email"])
    hub = Hub(signals)
    connect = partial(connect_postgresql, database_settings, background=True)
    relay = asyncio.create_task(Relay(database.engine, hub, signals, connect=connect).run())
    access = Access(Tokens({"ada": UserPrincipal(entity_ref=ADA)}))
    page = page_router(PageSettings(directory=dist), app_base_url=None, login=True)
    assert page is not None
    reading = read_router(
        inbox, access, read_body=partial(read_body, limits=BodyLimits(max_bytes=65536, seconds=10))
    )
    others = [
        signals_router(hub, access, Origins()),
        session_router(access),
        _delivery_router(inbox),
        page,
    ]
    listener = Listener(
        rest_application(notifications=[reading], others=others, cors_origins=[]),
        host="127.0.0.1",
        port=0,
        grace=1,
        ping_interval=signals.ping_interval,
        timeouts=ConnectionTimeouts(head=15, write=60),
    )
    try:
        yield f"http://127.0.0.1:{await listener.start()}"
    finally:
        await listener.stop()
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        await database.close()


def _delivery_router(inbox: Inbox) -> APIRouter:
    """Return the way by which the browser's test puts notifications into the inbox."""
    router = APIRouter()
    sequence = itertools.count(1)

    @router.post("/test/deliver")
    async def deliver(request: Request) -> JSONResponse:
        """Do what the operator's processor does."""
        body = await request.json()
        severity = Severity(body.pop("severity", "normal"))
        row = Row(
            user="" if body.pop("broadcast", False) else ADA,
            uid=str(uuid4()),
            sequence=next(sequence),
            identity=uuid4().hex,
            origin=body.pop("origin", "plugin:test"),
            created=datetime.now(UTC),
            payload=Payload(severity=severity, **body),
        )
        ((id_, _),) = await inbox.deliver([row])
        return JSONResponse({"id": str(id_)})

    return router
