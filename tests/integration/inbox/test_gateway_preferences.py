"""Questions about users' settings over a socket, and the memory of their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from notifications_operator.processors.base import GatewayAddress
from notifications_operator.processors.inbox import preferences as module
from notifications_operator.processors.inbox.client import GatewayClient
from notifications_operator.processors.inbox.preferences import (
    CONCURRENCY,
    LASTING_SECONDS,
    PAUSE_SECONDS,
    GatewayPreferences,
)
from notifications_operator.processors.preferences import (
    Preferences,
    PreferencesUnavailable,
    Question,
)
from tests.support.gateway_peer import TOKEN, GatewayPeer, gateway_peer, refuse, reply

ADA, BOB, EVE = (f"user:default/{name}" for name in ("ada", "bob", "eve"))
BUILDS = Question(origin="namespace:ci", topic="builds", channels=("Email", "Web"))
OTHER = Question(origin="namespace:ci", topic=None, channels=("Email",))


@dataclass
class Desk:
    """Somebody who asks, with a clock that stands still until it is moved."""

    gateway: GatewayPeer
    preferences: GatewayPreferences
    now: float = 0.0


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    async with gateway_peer() as gateway:
        client = GatewayClient(
            GatewayAddress(url=gateway.url, token_file=str(token)), connections=2
        )
        made = Desk(gateway, GatewayPreferences(client, clock=lambda: made.now))
        yield made
        await made.preferences.close()


def page(
    *exceptions: tuple[str, dict[str, bool]],
    defaults: dict[str, bool] | None = None,
    following: str | None = None,
) -> dict[str, Any]:
    return {
        "defaults": {"Email": True, "Web": True} if defaults is None else defaults,
        "exceptions": [{"user": user, "channels": channels} for user, channels in exceptions],
        "next": following,
    }


async def test_the_question_and_its_answer(desk: Desk) -> None:
    desk.gateway.answer(
        reply(
            page(
                (ADA, {"Email": False, "Web": True}),
                (BOB, {"Email": False, "Web": True}),
                defaults={"Email": True, "Web": False},
            )
        )
    )
    answer = await desk.preferences.ask(BUILDS)
    assert [answer.wants(user, "Email") for user in (ADA, BOB, EVE)] == [False, False, True]
    assert [answer.wants(user, "Web") for user in (ADA, BOB, EVE)] == [True, True, False]
    assert answer.wants(EVE, "Slack")
    (request,) = desk.gateway.received
    assert (request.method, request.path) == ("POST", "/internal/v1/preferences")
    assert request.body == {
        "origin": "namespace:ci",
        "topic": "builds",
        "channels": ["Email", "Web"],
        "after": None,
    }


async def test_all_pages_are_read(desk: Desk) -> None:
    desk.gateway.answer(
        reply(page((ADA, {"Email": False}), following=ADA)),
        reply(page(following=BOB)),
        reply(page((EVE, {"Email": False}))),
    )
    answer = await desk.preferences.ask(BUILDS)
    assert answer.differing["Email"] == {ADA, EVE}
    assert [request.body["after"] for request in desk.gateway.received] == [None, ADA, BOB]


async def test_pages_without_end_are_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_LIMIT", 3)
    desk.gateway.answer(*[reply(page(following=ADA))] * 3)
    with pytest.raises(PreferencesUnavailable):
        await desk.preferences.ask(BUILDS)
    assert len(desk.gateway.received) == 3


async def test_each_notification_asks_anew(desk: Desk) -> None:
    desk.gateway.answer(reply(page((ADA, {"Email": False}))), reply(page()))
    assert not (await desk.preferences.ask(BUILDS)).wants(ADA, "Email")
    assert (await desk.preferences.ask(BUILDS)).wants(ADA, "Email")


async def test_the_last_good_answer_serves_for_a_while(desk: Desk) -> None:
    desk.gateway.answer(reply(page((ADA, {"Email": False}))), *[refuse(503)] * 3)
    first = await desk.preferences.ask(BUILDS)
    desk.now = LASTING_SECONDS
    assert await desk.preferences.ask(BUILDS) == first
    with pytest.raises(PreferencesUnavailable, match="503"):
        await desk.preferences.ask(OTHER)
    desk.now += PAUSE_SECONDS
    with pytest.raises(PreferencesUnavailable, match="503"):
        await desk.preferences.ask(BUILDS)
    desk.gateway.answers.clear()
    desk.gateway.answer(reply(page()))
    desk.now += PAUSE_SECONDS
    assert (await desk.preferences.ask(BUILDS)).wants(ADA, "Email")


async def test_a_gateway_that_is_away_is_not_hammered(desk: Desk) -> None:
    desk.gateway.answer(refuse(503, "the database is away"))
    for _ in range(20):
        with pytest.raises(PreferencesUnavailable, match="the database is away"):
            await desk.preferences.ask(BUILDS)
    assert len(desk.gateway.received) == 1


async def test_whoever_waited_learns_that_it_is_away(desk: Desk) -> None:
    """A gateway that hangs holds up a few questions, not thousands one after the other."""
    gate = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return await refuse(503)(request)

    desk.gateway.answer(*[hang] * 100)
    asked = [asyncio.create_task(desk.preferences.ask(BUILDS)) for _ in range(100)]
    async with asyncio.timeout(10):
        # Two connections are all that this client makes.
        while len(desk.gateway.received) < 2:
            await asyncio.sleep(0.01)
    gate.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(found, PreferencesUnavailable) for found in answers)
    assert len(desk.gateway.received) <= CONCURRENCY


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        page(defaults={"Email": "yes"}),  # type: ignore[dict-item]
        {**page(), "exceptions": None},
        {**page(), "exceptions": [{"user": ADA}]},
        {**page(), "exceptions": [{"user": 7, "channels": {}}]},
        {**page(), "exceptions": [{"user": ADA, "channels": {"Email": None}}]},
        {**page(), "next": 7},
    ],
)
async def test_what_cannot_be_understood_is_no_answer(desk: Desk, answer: Any) -> None:
    desk.gateway.answer(reply(answer))
    with pytest.raises(PreferencesUnavailable):
        await desk.preferences.ask(BUILDS)


async def test_memory_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_USERS", 3)
    for question, users in ((BUILDS, (ADA, BOB)), (OTHER, (ADA, EVE))):
        desk.gateway.answer(reply(page(*((user, {"Email": False}) for user in users))))
        await desk.preferences.ask(question)
    desk.gateway.answer(refuse(503))
    with pytest.raises(PreferencesUnavailable):
        await desk.preferences.ask(BUILDS)
    assert not (await desk.preferences.ask(OTHER)).wants(EVE, "Email")


async def test_questions_at_once_do_not_disturb_each_other(desk: Desk) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        wanted = (await request.json())["topic"] is None
        return web.json_response(page((ADA, {"Email": wanted})))

    desk.gateway.answer(*[answer] * 40)
    answers = await asyncio.gather(*map(desk.preferences.ask, [BUILDS, OTHER] * 20))
    assert [found.wants(ADA, "Email") for found in answers] == [False, True] * 20


def test_nothing_said_is_wanted() -> None:
    assert Preferences().wants(ADA, "Email")
