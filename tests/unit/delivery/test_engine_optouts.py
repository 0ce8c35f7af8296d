"""Users' settings through the whole engine: asked once, waited for, and obeyed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from notifications_operator.delivery.planning import deadlines
from notifications_operator.processors.preferences import (
    Preferences,
    PreferencesUnavailable,
    Question,
)
from tests.unit.delivery.builders import ADA, BOB, directory, users_yaml
from tests.unit.delivery.harness import world
from tests.unit.delivery.scripted import Script

NAMES = [f"u{number:03}" for number in range(300)]
MUTED = f"user:default/{NAMES[7]}"


@dataclass
class Source:
    """Answers every question alike, or not at all."""

    answer: Preferences | None = field(default_factory=Preferences)
    gate: asyncio.Event | None = None
    questions: list[Question] = field(default_factory=list)

    async def ask(self, question: Question) -> Preferences:
        self.questions.append(question)
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is None:
            raise PreferencesUnavailable("the gateway is away")
        return self.answer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "PREFERENCES_RETRY", timedelta(milliseconds=50))


async def test_one_question_for_one_notification() -> None:
    source = Source(Preferences(differing={"Email": {BOB}}))
    script = Script(channel="Email")
    async with world(scripts={"email": script}, preferences=source) as w:
        w.notify(to=[ADA, BOB], payload={"topic": "builds"})
        done = await w.finished()
        await w.engine.drain()
        assert script.recipients == [ADA]
        assert (w.rows()[BOB].state, w.rows()[BOB].reason) == ("Skipped", "OptedOut")
        assert (done.status.state, done.status.summary) == ("Delivered", "1/1")
        assert source.questions == [
            Question(origin="namespace:team", topic="builds", channels=("Email",))
        ]


async def test_it_waits_for_the_answer_and_goes() -> None:
    source = Source(None)
    script = Script(channel="Email")
    async with world(scripts={"email": script}, preferences=source) as w:
        w.notify(to=[ADA])
        w.notify("urgent", to=[ADA], payload={"severity": "critical"})
        await w.finished("urgent")
        await w.until(lambda: w.get().status.reason == "PreferencesUnavailable", "it waits")
        assert [item.title for item in script.sent] == ["Hello"]
        source.answer = Preferences()
        await w.finished()
        assert script.recipients == [ADA, ADA]


async def test_an_edit_that_waits_holds_back_what_it_replaces() -> None:
    source, script = Source(), Script(channel="Email", concurrency=1)
    async with world(scripts={"email": script}, preferences=source) as w:
        script.gate = gate = w.new_gate()
        w.notify(to=[ADA, BOB])
        await w.started()
        source.answer = None
        w.retitle("n", "Edited")
        await w.until(lambda: w.get().status.reason == "PreferencesUnavailable", "it waits")
        gate.set()
        await w.until(lambda: w.rows()[ADA].state == "Sent", "the claimed one is finished")
        await w.settle()
        assert w.rows()[BOB].state == "Pending"
        source.answer = Preferences()
        await w.until(lambda: w.get().status.revision == 2 and w.get().finished, "sent")
        titles = [(item.recipient, item.title) for item in script.sent]
        assert titles[0] == (ADA, "Hello")
        assert sorted(titles[1:]) == [(ADA, "Edited"), (BOB, "Edited")]


async def test_a_broadcast_in_slices() -> None:
    source = Source(Preferences(differing={"Email": {MUTED}}))
    script = Script(channel="Email")
    catalog = directory(users_yaml(NAMES))
    async with world(scripts={"email": script}, catalog=catalog, preferences=source) as w:
        w.notify(to=None)
        done = await w.finished()
        assert (done.status.state, done.status.summary) == ("Delivered", "299/299")
        assert w.rows()[MUTED].reason == "OptedOut"
        assert len(source.questions) == 1
        source.answer = None
        w.retitle("n", "Edited")
        await w.until(lambda: w.get().status.reason == "PreferencesUnavailable", "it waits")
        source.answer = Preferences()
        await w.until(lambda: w.get().status.summary == "300/300", "all sent")
        await w.engine.drain()
        assert len(script.sent) == 299 + 300


async def test_news_of_the_catalog_are_asked_about_in_slices_too() -> None:
    source, script = Source(), Script(channel="Email")
    refs = [f"user:default/{name}" for name in [*NAMES, "zoe"]]
    catalog = directory(users_yaml(NAMES))
    async with world(scripts={"email": script}, catalog=catalog, preferences=source) as w:
        w.notify(to=refs)
        await w.until(lambda: w.get().status.summary == "300/300", "the known ones are sent")
        source.answer = Preferences(differing={"Email": {"user:default/zoe"}})
        w.engine.use_directory(directory(users_yaml([*NAMES, "zoe"])))
        await w.finished()
        assert w.rows()["user:default/zoe"].reason == "OptedOut"
        assert len(source.questions) == 2


async def test_it_is_deleted_while_the_answer_is_out() -> None:
    source, script = Source(), Script(channel="Email")
    async with world(scripts={"email": script}, preferences=source) as w:
        source.gate = w.new_gate()
        w.notify(to=[ADA])
        await w.until(lambda: bool(source.questions), "asked")
        w.remove("n")
        source.gate.set()
        await w.until(lambda: not w.busy, "let go")
        assert script.sent == []
