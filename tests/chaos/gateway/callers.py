"""The services that post, each with a token of its own, and what they were answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from random import Random
from typing import Final
from uuid import UUID

import aiohttp

from tests.support.kubernetes import Object

from ..workload import GROUPS, SILENT, USERS, members
from .evidence import BROADCAST, Post

PATH: Final = "/api/notifications/notifications"

ANSWER_SECONDS: Final = 12.0
"""Longest wait for an answer; more than the gateway itself waits for the API server."""

PATIENCE_SECONDS: Final = 90.0
"""For so long a caller repeats what has an ``Idempotency-Key``."""

PAUSE_SECONDS: Final = (0.3, 0.9)
"""Pause of a caller between two posts."""

KEYED_SHARE: Final = 0.6
"""How many posts have an ``Idempotency-Key``."""

REPEATED_SHARE: Final = 0.25
"""How many of those are asked once more although they were answered."""

ASYNC_SHARE: Final = 0.2
"""How many posts do not wait for their rows."""

_GROUPS: Final = [name for name, size in GROUPS.items() if size <= 30] + ["mixed"]


class Caller:
    """One service.

    Attributes
    ----------
    subject
        What its token stands for; becomes the origin of what it posts.
    posts
        All that it posted.
    """

    def __init__(self, number: int, *, seed: int, url: str) -> None:
        self.subject = f"external:caller-{number}"
        self.token = f"token-{number}-of-at-least-thirty-two-characters"
        self.posts: list[Post] = []
        self._number = number
        self._url = url
        self._random = Random(f"caller {seed} {number}")

    @property
    def accepted(self) -> int:
        """How many posts were answered with 200."""
        return sum(post.answered > 0 for post in self.posts)

    async def run(self, stop: asyncio.Event) -> None:
        """Post until told to stop; what has a key is then repeated until it is answered."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while not stop.is_set():
                post = self._make()
                self.posts.append(post)
                await self._send(session, post)
                await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))

    async def _send(self, session: aiohttp.ClientSession, post: Post) -> None:
        if post.key is None:
            await self._ask(session, post)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await self._ask(session, post):
                    await asyncio.sleep(self._random.uniform(0.05, 0.5))
        if self._random.random() < REPEATED_SHARE:
            await self._ask(session, post)

    async def _ask(self, session: aiohttp.ClientSession, post: Post) -> bool:
        """Ask once; returns whether 200 was the answer."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if post.key is not None:
            headers["Idempotency-Key"] = post.key
        if self._random.random() < ASYNC_SHARE:
            headers["Prefer"] = "respond-async"
        post.asked += 1
        try:
            async with session.post(self._url + PATH, json=post.body, headers=headers) as answer:
                if answer.status != HTTPStatus.OK:
                    assert answer.status in (429, 503), await answer.text()
                    return False
                rows = await answer.json()
                resource = answer.headers["Notification-Resource"]
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return False
        post.answered += 1
        post.resources.add(resource)
        post.rows |= {UUID(row["id"]): _name(row["user"]) for row in rows}
        return True

    def _make(self) -> Post:
        title = f"n{self._number}{len(self.posts):04}"
        refs, scope = self._recipients()
        recipients: Object = {"type": "entity", "entityRef": [*refs]}
        users = frozenset[str]().union(*map(members, refs))
        if not refs:
            recipients, users = {"type": "broadcast"}, frozenset({BROADCAST})
        severity = self._random.choice(["critical", "high", "normal", "low"])
        payload: Object = {"title": title, "severity": severity}
        if scope is not None:
            payload["scope"] = scope
        # Those of a scope follow each other, so that it is known which is the newest.
        keyed = scope is not None or self._random.random() < KEYED_SHARE
        return Post(
            title=title,
            subject=self.subject,
            body={"recipients": recipients, "payload": payload},
            users=users,
            key=f"{self._number}-{len(self.posts)}" if keyed else None,
            scope=scope,
        )

    def _recipients(self) -> tuple[Sequence[str], str | None]:
        """Return the refs, none for everybody, and the scope."""
        kinds = ["user", "users", "group", "scope", "broadcast"]
        match self._random.choices(kinds, weights=[8, 4, 5, 4, 1])[0]:
            case "user":
                return [f"user:default/{self._random.choice(USERS)}"], None
            case "users":
                chosen = self._random.sample([*USERS, SILENT], self._random.randint(2, 4))
                return [f"user:default/{name}" for name in chosen], None
            case "group":
                return [f"group:default/{self._random.choice(_GROUPS)}"], None
            case "scope":
                return ["group:default/five"], f"scope-{self._random.randint(1, 2)}"
            case _:
                return [], None


def _name(user: str | None) -> str:
    """Return the name of the user of an answered row; null is everybody."""
    return BROADCAST if user is None else user.rpartition("/")[2]
