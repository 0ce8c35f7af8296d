"""Finished Notifications are deleted when asked for, but not if a tool would re-create them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications_operator.api.notification import Notification
from notifications_operator.api.references import NOTIFICATIONS, ObjectRef
from notifications_operator.api.resource import format_time
from notifications_operator.delivery import ttl
from notifications_operator.delivery.storage.trackers import tracker, ttl_note
from notifications_operator.delivery.ttl import Reaper
from tests.support.cluster import MemoryCluster, unavailable
from tests.unit.delivery.builders import manifest, notification

MARKS = [
    ("annotations", "argocd.argoproj.io/tracking-id", "Argo CD"),
    ("labels", "argocd.argoproj.io/instance", "Argo CD"),
    ("labels", "app.kubernetes.io/instance", "Argo CD or Helm"),
    ("labels", "kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("labels", "helm.toolkit.fluxcd.io/name", "Flux"),
    ("annotations", "meta.helm.sh/release-name", "Helm"),
]


@pytest.mark.parametrize(("place", "mark", "tool"), MARKS)
def test_tracked_ones_are_known_by_their_marks(place: str, mark: str, tool: str) -> None:
    options: dict[str, Any] = {place: {mark: "x"}}
    tracked = notification(ttlSecondsAfterFinished=5, **options)
    assert tracker(tracked) == tool
    note = ttl_note(tracked)
    assert note is not None
    assert note.startswith("TTLIgnored: ")
    assert tool in note


@pytest.mark.parametrize(("place", "mark", "tool"), MARKS)
def test_hook_of_argo_is_not_created_again(place: str, mark: str, tool: str) -> None:
    options: dict[str, Any] = {"annotations": {"argocd.argoproj.io/hook": "PostSync"}}
    options.setdefault(place, {})[mark] = "x"
    hook = notification(ttlSecondsAfterFinished=5, **options)
    assert tracker(hook) is None
    assert ttl_note(hook) is None


def test_untracked_and_unasked_have_no_note() -> None:
    assert tracker(notification(labels={"app": "x"})) is None
    assert ttl_note(notification(ttlSecondsAfterFinished=5)) is None
    assert ttl_note(notification(labels={"helm.toolkit.fluxcd.io/name": "x"})) is None


class Clock:
    """Finished Notifications in a cluster, and the reaper that knows of them."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.leading = True
        self.reaper = Reaper(self.cluster, leading=lambda: self.leading)

    def finished(
        self, *, seconds_ago: float = 0, uid: str | None = None, **options: Any
    ) -> Notification:
        body = manifest("n", **options)
        body = self.cluster.create(NOTIFICATIONS, body)
        completed = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        self.cluster.write_status(
            NOTIFICATIONS,
            "team",
            "n",
            lambda status: status.update(completionTime=format_time(completed)),
        )
        return self.current

    @property
    def current(self) -> Notification:
        return Notification.model_validate(self.cluster.read(NOTIFICATIONS, "team", "n"))

    async def gone(self) -> bool:
        """Wait until the object is deleted."""
        async with asyncio.timeout(10):
            while self.cluster.list(NOTIFICATIONS):
                await asyncio.sleep(0.01)
        return True

    async def kept(self) -> bool:
        """Let everything run that is due; return whether the object is still there."""
        for _ in range(50):
            await asyncio.sleep(0)
        return bool(self.cluster.list(NOTIFICATIONS))


@pytest.fixture
async def clock() -> Clock:
    return Clock()


async def test_finished_long_ago_is_deleted_at_once(clock: Clock) -> None:
    clock.reaper.schedule(clock.finished(seconds_ago=3600, ttlSecondsAfterFinished=60))
    assert await clock.gone()


@pytest.mark.parametrize(
    ("seconds_ago", "options"),
    [
        (0, {"ttlSecondsAfterFinished": 3600}),
        (0, {"ttlSecondsAfterFinished": 2**31 - 1}),
        (3600, {}),
        (3600, {"ttlSecondsAfterFinished": 0, "labels": {"app.kubernetes.io/instance": "x"}}),
    ],
    ids=["later", "much later", "not asked for", "tracked"],
)
async def test_is_kept(clock: Clock, seconds_ago: float, options: dict[str, Any]) -> None:
    clock.reaper.schedule(clock.finished(seconds_ago=seconds_ago, **options))
    assert await clock.kept()
    clock.reaper.close()


async def test_unfinished_is_kept(clock: Clock) -> None:
    body = clock.cluster.create(NOTIFICATIONS, manifest("n", ttlSecondsAfterFinished=0))
    clock.reaper.schedule(Notification.model_validate(body))
    assert await clock.kept()


async def test_one_that_changed_since_is_kept_until_it_is_seen(clock: Clock) -> None:
    clock.reaper.schedule(clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0))
    clock.cluster.edit(
        NOTIFICATIONS, "team", "n", lambda body: body["metadata"]["labels"].update(a="b")
    )
    assert await clock.kept()
    clock.reaper.schedule(clock.current)
    assert await clock.gone()


async def test_one_created_anew_is_kept(clock: Clock) -> None:
    old = clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0)
    clock.cluster.remove(NOTIFICATIONS, "team", "n")
    clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0)
    clock.reaper.schedule(old)
    assert await clock.kept()


async def test_one_that_is_gone_already_is_no_trouble(clock: Clock) -> None:
    old = clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0)
    clock.cluster.remove(NOTIFICATIONS, "team", "n")
    clock.reaper.schedule(old)
    assert await clock.gone()


async def test_only_the_leader_deletes(clock: Clock) -> None:
    found = clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0)
    clock.leading = False
    clock.reaper.schedule(found)
    assert await clock.kept()
    clock.leading = True
    clock.reaper.resume()
    assert not await clock.kept()


async def test_what_fell_due_at_a_standby_can_be_forgotten(clock: Clock) -> None:
    found = clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0)
    clock.leading = False
    clock.reaper.schedule(found)
    assert await clock.kept()
    clock.reaper.forget(found.metadata.uid)
    clock.leading = True
    clock.reaper.resume()
    assert await clock.kept()


async def test_forgotten_one_is_kept(clock: Clock) -> None:
    found = clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0)
    clock.reaper.schedule(found)
    clock.reaper.forget(found.metadata.uid)
    clock.reaper.forget("never there")
    assert await clock.kept()


async def test_edited_one_follows_its_newest_version(clock: Clock) -> None:
    clock.reaper.schedule(clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0))
    clock.cluster.edit(
        NOTIFICATIONS, "team", "n", lambda body: body["spec"].update(ttlSecondsAfterFinished=3600)
    )
    clock.reaper.schedule(clock.current)
    assert await clock.kept()
    clock.reaper.close()


async def test_outage_is_tried_again(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ttl, "RETRY_SECONDS", 0.01)
    clock.cluster.interrupt(unavailable(operation="delete", times=2))
    clock.reaper.schedule(clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0))
    assert await clock.gone()


async def test_closed_reaper_deletes_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.reaper.schedule(clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0))
    clock.reaper.close()
    assert await clock.kept()


async def test_nothing_of_a_notification_is_kept_but_its_name(clock: Clock) -> None:
    found = clock.finished(ttlSecondsAfterFinished=3600)
    clock.reaper.schedule(found)
    alive = weakref.ref(found)
    del found
    gc.collect()
    assert alive() is None
    clock.reaper.close()


@pytest.mark.parametrize("leading_at_first", [True, False])
async def test_deletions_that_fall_due_together_are_spread(leading_at_first: bool) -> None:
    cluster = SlowCluster()
    leading = leading_at_first
    reaper = Reaper(cluster, leading=lambda: leading)
    for number in range(100):
        body = cluster.create(NOTIFICATIONS, manifest(f"n{number}", ttlSecondsAfterFinished=0))
        body["status"] = {"completionTime": format_time(datetime.now(UTC))}
        reaper.schedule(Notification.model_validate(body))
    leading = True
    reaper.resume()
    async with asyncio.timeout(30):
        while cluster.list(NOTIFICATIONS):
            await asyncio.sleep(0.01)
    assert cluster.most == ttl.MOST_DELETIONS


async def test_newer_version_outlives_the_failed_deletion_of_an_older_one(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ttl, "RETRY_SECONDS", 0.0)
    clock.cluster.interrupt(unavailable(operation="delete", times=1))
    clock.reaper.schedule(clock.finished(seconds_ago=10, ttlSecondsAfterFinished=0))
    clock.cluster.edit(
        NOTIFICATIONS, "team", "n", lambda body: body["spec"].update(ttlSecondsAfterFinished=3600)
    )
    clock.reaper.schedule(clock.current)
    assert await clock.kept()
    clock.reaper.close()


async def test_versions_that_were_replaced_leave_nothing_behind(clock: Clock) -> None:
    found = clock.finished(ttlSecondsAfterFinished=3600)
    gc.collect()
    before = count_of(ObjectRef)
    for _ in range(10_000):
        clock.reaper.schedule(found)
    assert count_of(ObjectRef) - before < 1000
    clock.reaper.close()


def count_of(kind: type) -> int:
    return sum(isinstance(item, kind) for item in gc.get_objects())


class SlowCluster(MemoryCluster):
    """Notes how many deletions were under way at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self._under_way = 0

    async def delete(self, ref: ObjectRef, *, uid: str, resource_version: str) -> None:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        await asyncio.sleep(0.001)
        await super().delete(ref, uid=uid, resource_version=resource_version)
        self._under_way -= 1
