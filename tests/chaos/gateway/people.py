"""People who read their inbox and mark what is in it, and whose page hears the signals."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from http import HTTPStatus
from random import Random
from typing import Any, Final
from uuid import UUID

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from tests.support.issuer import Issuer

from .evidence import Mark, Shown

BASE: Final = "/api/notifications"

ANSWER_SECONDS: Final = 15.0
PAUSE_SECONDS: Final = (0.2, 0.8)
"""Pause of a person between two looks."""

JITTER_SECONDS: Final = (0.1, 0.4)
"""Pause of a page before it connects, and before it looks, as ours has."""

LIMIT: Final = 100
"""Notifications of one look at everything."""

KEPT_OF: Final = 3
"""Of so many notifications all but one are only ever marked, and never unmarked."""


class Person:
    """One user, with a token, eyes and a page.

    Attributes
    ----------
    marks
        What was asked to be marked, in order.
    known
        What the page knows: the notifications by id, and whether each is read.
    looks
        How often the page looked: once for each connection.
    """

    def __init__(self, name: str, *, seed: int, issuer: Issuer, url: str) -> None:
        now = int(time.time())
        claims = issuer.claims(backstage_entity_ref=f"user:default/{name}", iat=now, exp=now + 7200)
        self.name = name
        self.marks: list[Mark] = []
        self.known: dict[UUID, bool] = {}
        self.looks = 0
        self._token = issuer.key.sign(claims)
        self._url = url
        self._random = Random(f"person {seed} {name}")

    async def view(self) -> dict[UUID, Shown]:
        """Return all that REST shows; whoever is away is asked again."""
        async with self._session() as session:
            while True:
                if (view := await self._view(session)) is not None:
                    return view
                await asyncio.sleep(0.2)

    async def read(self, stop: asyncio.Event) -> None:
        """Look at what is newest, and mark some of it, until told to stop."""
        async with self._session() as session:
            while not stop.is_set():
                found = await self._get(session, {"limit": "20"})
                if found is not None and found["notifications"]:
                    await self._mark(session, [item["id"] for item in found["notifications"]])
                await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))

    async def _mark(self, session: aiohttp.ClientSession, ids: list[str]) -> None:
        chosen = self._random.sample(ids, min(len(ids), self._random.randint(1, 3)))
        mark = self._random.choice(["read", "saved"])
        value = True
        if all(UUID(id_).int % KEPT_OF == 0 for id_ in chosen):
            value = self._random.random() < 0.5
        answered = False
        body = {"ids": chosen, mark: value}
        with suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
            url = f"{self._url}{BASE}/notifications/update"
            async with session.post(url, json=body) as answer:
                assert answer.status in (200, 503), await answer.text()
                answered = answer.status == HTTPStatus.OK
        self.marks += [
            Mark(user=self.name, id=UUID(id_), mark=mark, value=value, answered=answered)
            for id_ in chosen
        ]

    async def keep_page(self) -> None:
        """Keep the page open, as ours does: connect, look, hear; again whenever it breaks off."""
        url = f"{self._url.replace('http', 'ws', 1)}/api/signals"
        while True:
            await asyncio.sleep(self._random.uniform(*JITTER_SECONDS))
            with suppress(OSError, TimeoutError, WebSocketException):
                protocols = [Subprotocol(self._token)]
                async with connect(
                    url, subprotocols=protocols, compression=None, max_queue=None, proxy=None
                ) as socket:
                    await self._hear(socket)

    async def _hear(self, socket: ClientConnection) -> None:
        await socket.send('{"action": "subscribe", "channel": "notifications"}')
        await (await socket.ping())
        await asyncio.sleep(self._random.uniform(*JITTER_SECONDS))
        async with self._session() as session:
            view = await self._view(session)
        if view is None:
            return
        self.known = {id_: shown.read for id_, shown in view.items()}
        self.looks += 1
        async for text in socket:
            self._note(json.loads(text)["message"])

    def _note(self, message: dict[str, Any]) -> None:
        match message:
            case {"action": "new_notification", "notification_id": str(id_)}:
                self.known[UUID(id_)] = False
            case {"action": "notification_read", "notification_ids": list(ids)}:
                self.known |= {UUID(id_): True for id_ in ids}
            case {"action": "notification_unread", "notification_ids": list(ids)}:
                self.known |= {UUID(id_): False for id_ in ids}

    async def _view(self, session: aiohttp.ClientSession) -> dict[UUID, Shown] | None:
        """Return all that REST shows by one answer, or ``None`` if it is not answered."""
        limit = LIMIT
        while True:
            found = await self._get(session, {"limit": str(limit)})
            if found is None:
                return None
            if found["totalCount"] <= limit:
                return {
                    UUID(item["id"]): Shown(
                        read=item["read"] is not None, saved=item["saved"] is not None
                    )
                    for item in found["notifications"]
                }
            limit = found["totalCount"] + LIMIT

    async def _get(
        self, session: aiohttp.ClientSession, query: dict[str, str]
    ) -> dict[str, Any] | None:
        with suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
            url = f"{self._url}{BASE}/notifications"
            async with session.get(url, params=query) as answer:
                assert answer.status in (200, 503), await answer.text()
                if answer.status == HTTPStatus.OK:
                    found: dict[str, Any] = await answer.json()
                    return found
        return None

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        )
