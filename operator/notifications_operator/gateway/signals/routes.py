"""The WebSocket (``@backstage/plugin-signals-backend``), at exactly ``/api/signals``."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..errors import AuthenticationError, GatewayError, InputError, envelope
from ..principals import Access, UserPrincipal
from .hub import CloseCode, Closing, Hub
from .origins import Origins

logger = logging.getLogger(__name__)

PATH = "/api/signals"

_BURST = 100
"""Messages that a client may send at once; further ones close the connection (1008)."""

_RATE = 10.0
"""Messages a second that it may send all the time."""


def signals_router(hub: Hub, access: Access, origins: Origins) -> APIRouter:
    """Return the routes of the signals.

    Parameters
    ----------
    hub
        Where the connections are.
    access
        Tells who asks; it gets the token that came as subprotocol as if it were a bearer token.
    origins
        Which pages may connect.
    """
    router = APIRouter(include_in_schema=False)

    @router.get(f"{PATH}/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    async def signals(websocket: WebSocket) -> None:
        try:
            origins.check(websocket)
            token = _token(websocket)
            user = await access.user(_asking(websocket, token))
            socket = _Socket(websocket, hub, user)
        except GatewayError as error:
            body = envelope(_request(websocket), error.status, error.name, str(error))
            answer = JSONResponse(body, status_code=error.status, headers=error.headers)
            await websocket.send_denial_response(answer)
        else:
            await socket.serve(token)

    # Starlette's route: FastAPI's own keeps 4 KiB more for each socket as long as it is open.
    router.add_websocket_route(PATH, signals)
    return router


def _token(websocket: WebSocket) -> str | None:
    """Return the token, for which a browser has no other place than the subprotocol."""
    offered = [
        protocol
        for value in websocket.headers.getlist("sec-websocket-protocol")
        for part in value.split(",")
        if (protocol := part.strip())
    ]
    if len(offered) > 1:
        raise InputError("Offer one subprotocol: the token")
    return offered[0] if offered else None


def _asking(websocket: WebSocket, token: str | None) -> HTTPConnection:
    """Return the connection with the token where tokens are otherwise."""
    if token is None:
        return websocket
    headers = [
        *((name, value) for name, value in websocket.scope["headers"] if name != b"authorization"),
        (b"authorization", f"Bearer {token}".encode("latin-1")),
    ]
    return HTTPConnection({**websocket.scope, "headers": headers})


def _request(websocket: WebSocket) -> Request:
    """Return the upgrade as the request that it is."""
    return Request({**websocket.scope, "type": "http", "method": "GET"})


class _Socket:
    """One connection of a user who may have it."""

    def __init__(self, websocket: WebSocket, hub: Hub, user: UserPrincipal) -> None:
        if user.expires is not None and user.expires <= datetime.now(UTC):
            raise AuthenticationError("The token has expired")
        self._websocket = websocket
        self._hub = hub
        self._ending = asyncio.timeout(None)
        self._closing: Closing | None = None
        self._allowance = _Allowance()
        self._connection = hub.connect(
            user.entity_ref, expires=user.expires, session=user.session, close=self._close
        )

    async def serve(self, token: str | None) -> None:
        """Accept it, and serve it until either side closes it."""
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write())
            try:
                async with self._ending:
                    await self._websocket.accept(subprotocol=token)
                    await self._read()
            except TimeoutError:
                logger.debug("the hub closes a connection")
            finally:
                self._hub.disconnect(self._connection)
                writer.cancel()
        if self._closing is not None:
            with suppress(WebSocketDisconnect):
                await self._websocket.close(self._closing.code, self._closing.reason)

    def _close(self, closing: Closing) -> None:
        self._closing = closing
        self._ending.reschedule(asyncio.get_running_loop().time())

    async def _write(self) -> None:
        try:
            while True:
                await self._websocket.send_text(await self._connection.next())
        except WebSocketDisconnect:
            # The reader is told as well.
            return

    async def _read(self) -> None:
        """Obey the client until it is gone; what is no request is ignored, as upstream does."""
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            if not self._allowance.take():
                self._connection.close(
                    Closing(code=CloseCode.POLICY_VIOLATION, reason="too many messages")
                )
                return
            if (text := message.get("text")) is not None:
                self._obey(text)

    def _obey(self, text: str) -> None:
        try:
            request = json.loads(text)
        except (ValueError, RecursionError):
            return
        match request:
            case {"action": "subscribe", "channel": str(channel)}:
                self._hub.subscribe(self._connection, channel)
            case {"action": "unsubscribe", "channel": str(channel)}:
                self._hub.unsubscribe(self._connection, channel)


class _Allowance:
    """How many messages a client may send."""

    def __init__(self) -> None:
        self._left = float(_BURST)
        self._at = asyncio.get_running_loop().time()

    def take(self) -> bool:
        """Take one; False if there is none left."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._left + (now - self._at) * _RATE, _BURST)
        self._at = now
        self._left -= 1
        return self._left >= 0
