"""Users whom the catalog loses between plan and send, through the whole engine."""

from __future__ import annotations

import pytest

from notifications_operator.api.references import PROCESSORS
from notifications_operator.catalog import Directory
from notifications_operator.processors.email import EmailProcessor
from notifications_operator.processors.registry import ProcessorRegistry
from tests.unit.delivery import harness
from tests.unit.delivery.builders import ADA, BOB, CATALOG, directory, users_yaml
from tests.unit.delivery.harness import NAMESPACE, World, world
from tests.unit.delivery.scripted import Script

NAMES = [f"u{number:03}" for number in range(300)]
NOBODY = directory()
AT_ONCE = {"open_wait": 0.01, "shutdown_grace": 5}
"""Notifications are opened although nobody can be sent to yet."""


def reasons(w: World) -> set[tuple[str, str | None]]:
    return {(str(row.state), row.reason) for row in w.rows().values()}


def suspend(w: World, *, value: bool) -> None:
    w.cluster.edit(PROCESSORS, NAMESPACE, "email", lambda body: body["spec"].update(suspend=value))


async def open_unsent(w: World, refs: list[str]) -> None:
    """Create a Notification whose deliveries are opened and wait for a suspended processor."""
    suspend(w, value=True)
    await w.settle()
    w.notify(to=refs)
    await w.until(lambda: len(w.rows()) == len(refs), "opened")


INLINE = (directory(CATALOG), [ADA, BOB])
SLICES = (directory(users_yaml(NAMES)), [f"user:default/{name}" for name in NAMES])


@pytest.fixture(params=[INLINE, SLICES], ids=["inline", "slices"])
def people(request: pytest.FixtureRequest) -> tuple[Directory, list[str]]:
    found: tuple[Directory, list[str]] = request.param
    return found


async def test_they_are_sent_to_as_soon_as_they_are_back(
    people: tuple[Directory, list[str]],
) -> None:
    """A catalog that cannot be read over a restart costs nobody their mail."""
    catalog, refs = people
    script = Script()
    async with world(scripts={"email": script}, catalog=catalog, delivery=AT_ONCE) as w:
        await open_unsent(w, refs)
        await w.kill()
        w.restart(holder="pod_2", catalog=NOBODY)
        suspend(w, value=False)
        await w.until(lambda: reasons(w) == {("Pending", "UnknownEntities")}, "all wait")
        assert script.started == []
        await w.until(lambda: len(w.get().status.deliveries) == min(len(refs), 100), "shown")
        assert {row.reason for row in w.get().status.deliveries} == {"UnknownEntities"}
        w.engine.use_directory(catalog)
        done = await w.finished()
        assert done.status.summary == f"{len(refs)}/{len(refs)}"
        assert sorted(script.recipients) == sorted(refs)
        assert {row.attempts for row in w.rows().values()} == {1}


async def test_the_others_are_not_kept_waiting(people: tuple[Directory, list[str]]) -> None:
    catalog, refs = people
    script = Script()
    async with world(scripts={"email": script}, catalog=catalog, delivery=AT_ONCE) as w:
        await open_unsent(w, refs)
        there = directory(users_yaml([refs[-1].rpartition("/")[2]]))
        w.engine.use_directory(there)
        suspend(w, value=False)
        await w.until(lambda: script.recipients == refs[-1:], "the one who is known has it")
        w.notify("next", to=refs[-1:])
        await w.finished("next")
        w.engine.use_directory(catalog)
        await w.finished()
        assert sorted(script.recipients) == sorted([*refs, refs[-1]])


async def test_who_was_taken_out_fails_after_the_grace(
    people: tuple[Directory, list[str]],
) -> None:
    catalog, refs = people
    script = Script()
    async with world(scripts={"email": script}, catalog=catalog, delivery=AT_ONCE) as w:
        await open_unsent(w, refs)
        await w.kill()
        w.run_process(holder="pod_2", catalog={"unknown_grace": 1})
        w.engine.use_definitions(fit=True)
        w.engine.use_directory(directory(users_yaml([refs[0].rpartition("/")[2]])))
        suspend(w, value=False)
        done = await w.finished()
        assert (done.status.state, done.status.summary) == (
            "PartiallyDelivered",
            f"1/{len(refs)}",
        )
        assert script.recipients == refs[:1]
        assert reasons(w) == {("Sent", None), ("Failed", "UnknownEntities")}


async def test_email_never_skips_whom_the_catalog_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node is drained while a catalog namespace cannot be read."""
    registry = ProcessorRegistry({"email": EmailProcessor})
    monkeypatch.setattr(harness, "ProcessorRegistry", lambda _: registry)
    async with world(processors=(), catalog=directory(CATALOG), delivery=AT_ONCE) as w:
        email = {"transportConfig": {"transport": "stream"}, "sender": "a@b.example"}
        w.processor("email", type="email", suspend=True, email=email)
        await w.settle()
        w.notify(to=[ADA, BOB])
        await w.until(lambda: len(w.rows()) == 2, "opened")
        await w.kill()
        w.restart(holder="pod_2", catalog=NOBODY)
        suspend(w, value=False)
        await w.until(lambda: reasons(w) == {("Pending", "UnknownEntities")}, "both wait")
        w.engine.use_directory(directory(CATALOG))
        done = await w.finished()
        assert (done.status.state, done.status.summary) == ("Delivered", "2/2")
