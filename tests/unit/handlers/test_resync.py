"""What a watch lost is found by a list: changes, deletions, and whole kinds of trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from notifications_operator.api.errors import NotFoundError, UnavailableError
from notifications_operator.api.references import NOTIFICATIONS, ObjectRef
from notifications_operator.catalog import Directory
from notifications_operator.handlers import resync
from notifications_operator.handlers.catalog import CatalogFeed
from notifications_operator.handlers.resync import WatchCheck, next_pause
from notifications_operator.kube.client import ConfigMapEvent, KubernetesClient, ObjectVersion
from notifications_operator.kube.events import EventRecorder
from notifications_operator.settings import CatalogSettings, WatchSettings
from tests.unit.delivery.builders import users_yaml
from tests.unit.delivery.harness import MemoryRecorder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "CATCH_UP_SECONDS", 0.04)
    monkeypatch.setattr(resync, "POLL_SECONDS", 0.01)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"notifications_{name}", labels) or 0


def body(name: str, version: int = 5, *, uid: str | None = None) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": name, "uid": uid or f"uid-{name}"}
    return {"metadata": {**metadata, "resourceVersion": str(version)}}


class Server:
    """The objects of one kind, listed and read."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.bodies = {item["metadata"]["name"]: item for item in bodies}
        self.failure: Exception | None = None
        self.read: list[str] = []
        self.listed: Callable[[], None] = lambda: None
        """Called after each list."""

    async def list_versions(self, plural: str) -> list[ObjectVersion]:
        assert plural == NOTIFICATIONS
        if self.failure is not None:
            raise self.failure
        found = [ObjectVersion.of(item) for item in self.bodies.values()]
        self.listed()
        return found

    async def get(self, ref: ObjectRef) -> dict[str, Any]:
        self.read.append(ref.name)
        if ref.name not in self.bodies:
            raise NotFoundError(ref.name)
        return self.bodies[ref.name]


class Checked:
    """A check, and what it handed over."""

    def __init__(self, server: Server, *seen: dict[str, Any]) -> None:
        self.offered: list[tuple[str, str]] = []
        self.withdrawn: list[str] = []
        self.check = WatchCheck(
            cast("KubernetesClient", server),
            NOTIFICATIONS,
            offer=self._offer,
            withdraw=lambda item: self.withdrawn.append(item["metadata"]["uid"]),
            interval=600,
        )
        for item in seen:
            self.check.saw(item)

    def _offer(self, item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        self.offered.append((metadata["name"], metadata["resourceVersion"]))
        if metadata["name"] == "poison":
            raise ValueError("cannot be taken")

    async def compare(self) -> str | None:
        await self.check._compare()
        return self.check.problem


async def test_what_the_watch_brought_is_not_read() -> None:
    server = Server(body("a"), body("b"))
    checked = Checked(server, body("a"), body("b"))
    complete = value("resyncs_total", resource=NOTIFICATIONS, result="complete")
    assert await checked.compare() is None
    assert (checked.offered, checked.withdrawn, server.read) == ([], [], [])
    assert value("resyncs_total", resource=NOTIFICATIONS, result="complete") == complete + 1


async def test_missed_change_is_read_and_taken_once(caplog: pytest.LogCaptureFixture) -> None:
    """A dropped event of an object that changes no more would else be missed for ever."""
    caplog.set_level("INFO")
    missed = value("watch_missed_total", resource=NOTIFICATIONS)
    checked = Checked(Server(body("a", 7), body("b"), body("c")), body("a", 5), body("b"))
    problem = await checked.compare()
    assert problem is not None and "2 changes of notifications" in problem
    assert checked.offered == [("a", "7"), ("c", "5")]
    assert value("watch_missed_total", resource=NOTIFICATIONS) == missed + 2
    assert await checked.compare() is None
    assert len(checked.offered) == 2
    assert "the watch brings everything" in caplog.text


async def test_one_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    server = Server(body("a"), body("broken"), body("c"))
    read = server.get

    async def get(ref: ObjectRef) -> dict[str, Any]:
        if ref.name == "broken":
            raise UnavailableError("500 cannot be decrypted")
        return await read(ref)

    server.get = get  # type: ignore[method-assign]
    checked = Checked(server)
    problem = await checked.compare()
    assert problem is not None and "500 cannot be decrypted" in problem
    assert checked.offered == [("a", "5"), ("c", "5")]


async def test_vanished_object_is_withdrawn_and_forgotten() -> None:
    server = Server(body("a"))
    checked = Checked(server, body("a"), body("b"))
    assert await checked.compare() is not None
    assert checked.withdrawn == ["uid-b"]
    assert await checked.compare() is None
    assert checked.withdrawn == ["uid-b"]
    assert list(checked.check._known) == ["uid-a"]


async def test_object_of_the_same_name_is_another() -> None:
    checked = Checked(Server(body("a", 9, uid="new")), body("a", 5))
    await checked.compare()
    assert checked.withdrawn == ["uid-a"]
    assert checked.offered == [("a", "9")]


async def test_what_came_while_it_listed_has_not_vanished() -> None:
    server = Server()
    checked = Checked(server)
    server.listed = lambda: checked.check.saw(body("new"))
    assert await checked.compare() is None
    assert checked.withdrawn == []


async def test_watch_that_only_lags_is_waited_for() -> None:
    server = Server(body("a", 7))
    checked = Checked(server, body("a", 5), body("b"))
    loop = asyncio.get_running_loop()

    def later() -> None:
        loop.call_later(0.01, checked.check.saw, body("a", 7))
        loop.call_later(0.01, checked.check.forget, body("b"))

    server.listed = later
    assert await checked.compare() is None
    assert (checked.offered, checked.withdrawn) == ([], [])


async def test_what_was_deleted_since_the_list_is_not_missed() -> None:
    server = Server(body("a"))
    checked = Checked(server)
    server.listed = server.bodies.clear
    assert await checked.compare() is None
    assert (server.read, checked.offered) == (["a"], [])


async def test_older_version_does_not_hide_that_a_newer_one_was_brought() -> None:
    checked = Checked(Server(body("a", 7)), body("a", 7), body("a", 5))
    assert await checked.compare() is None
    assert checked.offered == []


async def test_list_that_fails_withdraws_nothing() -> None:
    server = Server()
    checked = Checked(server, body("a"))
    server.failure = UnavailableError("down")
    failed = value("resyncs_total", resource=NOTIFICATIONS, result="failed")
    problem = await checked.compare()
    assert problem is not None and "down" in problem
    assert checked.withdrawn == []
    assert value("resyncs_total", resource=NOTIFICATIONS, result="failed") == failed + 1


async def test_one_that_cannot_be_taken_does_not_hold_up_the_others() -> None:
    checked = Checked(Server(body("poison"), body("z")))
    assert await checked.compare() is not None
    assert checked.offered == [("poison", "5"), ("z", "5")]
    assert await checked.compare() is None


def test_pauses_are_not_in_step() -> None:
    pauses = [next_pause(600) for _ in range(100)]
    assert len(set(pauses)) > 50
    assert all(480 <= pause <= 720 for pause in pauses)


def config_map(name: str, version: int = 1) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "data": {"users.yaml": users_yaml([f"{name}-{version}"])}}


class DeafCatalog:
    """ConfigMaps whose watch never brings anything."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.bodies = list(bodies)
        self.watched: list[str] = []
        self.read = 0

    async def list_catalog(self, namespace: str) -> tuple[list[dict[str, Any]], str]:
        self.read += 1
        return self.bodies, "100"

    async def list_catalog_versions(self, namespace: str) -> tuple[list[ObjectVersion], str]:
        return [ObjectVersion.of(item) for item in self.bodies], f"{101 + len(self.watched)}"

    async def watch_catalog(
        self, namespace: str, version: str, *, inactivity_timeout: float
    ) -> Any:
        self.watched.append(version)
        await asyncio.Event().wait()
        yield ConfigMapEvent(body={}, deleted=False)


@pytest.fixture
async def feed() -> Any:
    """Start feeds; returns what they publish."""
    tasks: list[asyncio.Task[None]] = []

    def start(client: DeafCatalog) -> list[Directory]:
        directories: list[Directory] = []
        made = CatalogFeed(
            cast("KubernetesClient", client),
            cast("EventRecorder", MemoryRecorder()),
            namespaces=["ns"],
            settings=CatalogSettings(settle=0, removal_settle=0),
            watch=WatchSettings(resync_interval=0.02),
            publish=directories.append,
            leading=lambda: True,
        )
        tasks.append(asyncio.create_task(made.run()))
        return directories

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


StartFeed = Callable[[DeafCatalog], list[Directory]]


async def test_catalog_takes_from_a_list_what_its_watch_lost(feed: StartFeed) -> None:
    client = DeafCatalog(config_map("a"), config_map("b"))
    directories = feed(client)
    await until(lambda: bool(directories) and directories[-1].user_count == 2)
    client.bodies = [config_map("a", 2), config_map("c")]
    await until(lambda: {entity.ref.name for entity in directories[-1].users()} == {"a-2", "c-1"})


async def test_unchanged_catalog_is_not_read_again(feed: StartFeed) -> None:
    """It is watched on from the list that showed so, without a gap."""
    client = DeafCatalog(config_map("a"))
    feed(client)
    await until(lambda: len(client.watched) > 3)
    assert client.read == 1
    assert client.watched[:4] == ["100", "102", "103", "104"]
