"""The elector against a store of Leases in memory, with faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from notifications_operator.api.errors import (
    ConflictError,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    UnavailableError,
)
from notifications_operator.kube.candidacy import POD_UID_ANNOTATION, Candidacy, Candidate
from notifications_operator.kube.lease import LeaseElector
from tests.support.cluster import apply_merge_patch

NAMESPACE, NAME = "operator", "lease"
DURATION = 15
TIMEOUT = 10.0


class MemoryLeases:
    """One Lease with compare-and-set; ``fault`` may fail, hang, or lose the answer of a request."""

    def __init__(self) -> None:
        self.body: dict[str, Any] | None = None
        self.fault: Callable[[str], Exception | asyncio.Event | None] = lambda operation: None
        self.requests: list[str] = []
        self.lose_next_answer = False
        self._version = 0
        self._changed = asyncio.Event()

    @property
    def spec(self) -> dict[str, Any]:
        assert self.body is not None
        spec: dict[str, Any] = self.body["spec"]
        return spec

    def edit(self, **spec: Any) -> None:
        """Change the Lease, as somebody else does."""
        self._store({**(self.body or {"metadata": {}}), "spec": spec})

    async def get_lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        await self._arrive("get", namespace, name)
        return self.body

    async def create_lease(
        self, namespace: str, name: str, *, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]:
        await self._arrive("create", namespace, name)
        if self.body is not None:
            raise ConflictError("it exists already")
        return self._store({"metadata": dict(metadata), "spec": dict(spec)})

    async def patch_lease(
        self, namespace: str, name: str, *, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]:
        await self._arrive("patch", namespace, name)
        if self.body is None:
            raise NotFoundError("there is none")
        if metadata["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            raise ConflictError("it has been modified")
        return self._store(apply_merge_patch(self.body, {"metadata": metadata, "spec": spec}))

    async def wait_for_lease(self, namespace: str, name: str, resource_version: str) -> bool:
        await self._arrive("watch", namespace, name)
        while self.body and self.body["metadata"]["resourceVersion"] == resource_version:
            await self._changed.wait()
        return True

    async def _arrive(self, operation: str, namespace: str, name: str) -> None:
        assert (namespace, name) == (NAMESPACE, NAME)
        self.requests.append(operation)
        await asyncio.sleep(0)
        match self.fault(operation):
            case Exception() as error:
                raise error
            case asyncio.Event() as event:
                await event.wait()

    def _store(self, body: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self._version)}
        self.body = {**body, "metadata": metadata}
        self._changed.set()
        self._changed = asyncio.Event()
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise UnavailableError("the answer was lost")
        return self.body


class Place:
    """Electors on one Lease and one clock, which stands still unless it is moved."""

    def __init__(self) -> None:
        self.leases = MemoryLeases()
        self.now = 100.0
        self.changes: list[tuple[str, int | None]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(
        self, identity: str, *, pod_uid: str | None = None, retry: float = 0.01
    ) -> LeaseElector:
        candidate = Candidate(
            identity=identity,
            pod_name=identity.rpartition("_")[0],
            pod_uid=pod_uid,
            duration=DURATION,
        )
        elector = LeaseElector(
            self.leases,
            namespace=NAMESPACE,
            name=NAME,
            candidacy=Candidacy(candidate, monotonic=lambda: self.now, boottime=lambda: self.now),
            renew_interval=0.02,
            retry_period=retry,
            changed=lambda: self.changes.append((identity, elector.epoch)),
        )
        self.tasks[identity] = asyncio.create_task(elector.run())
        return elector

    async def stop(self, identity: str) -> None:
        """End an elector's task; it neither renews nor releases any more."""
        task = self.tasks.pop(identity)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0.002)

    async def requested(self, *operations: str) -> None:
        """Wait for requests that come after now."""
        before = len(self.leases.requests)
        await self.until(lambda: all(item in self.leases.requests[before:] for item in operations))

    async def renewed(self) -> None:
        """Wait for the answer to a renewal that comes after now: another has begun since."""
        before = self.leases.requests.count("patch")
        await self.until(lambda: self.leases.requests.count("patch") >= before + 2)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place()
    yield made
    for identity in list(made.tasks):
        await made.stop(identity)


async def test_the_first_leads_and_renews(place: Place) -> None:
    elector = place.start("a_1", pod_uid="uid-a")
    assert (elector.epoch, elector.problem) == (None, "not read yet")
    await place.until(lambda: elector.epoch == 1)
    assert place.leases.body is not None
    assert place.leases.body["metadata"]["annotations"] == {POD_UID_ANNOTATION: "uid-a"}
    for _ in range(5):
        place.now += DURATION - 1
        await place.renewed()
        assert elector.epoch == 1
    assert place.leases.spec["leaseTransitions"] == 1
    assert set(place.leases.requests[2:]) == {"patch"}, "the version is known: no look before"
    assert place.changes == [("a_1", 1)]
    assert elector.problem is None


async def test_the_second_stands_by_and_takes_over_when_the_lease_is_over(place: Place) -> None:
    first = place.start("a_1")
    await place.until(lambda: first.epoch == 1)
    second = place.start("b_1")
    await place.until(lambda: second.problem is None)
    await place.stop("a_1")
    place.now += DURATION - 0.1
    await place.requested("get", "watch")
    assert (second.epoch, place.leases.spec["holderIdentity"]) == (None, "a_1")
    place.now += 0.2
    await place.until(lambda: second.epoch == 2)
    assert first.epoch is None
    assert place.leases.spec["holderIdentity"] == "b_1"


async def test_a_released_lease_is_taken_at_once(place: Place) -> None:
    """The watch says so: the period of looks would be longer than the test."""
    first = place.start("a_1", pod_uid="uid-a")
    await place.until(lambda: first.epoch == 1)
    second = place.start("b_1", retry=1000)
    await place.until(lambda: "watch" in place.leases.requests)
    await place.stop("a_1")
    await first.release()
    assert first.epoch is None
    await place.until(lambda: second.epoch == 2)
    assert place.changes == [("a_1", 1), ("a_1", None), ("b_1", 2)]


@pytest.mark.parametrize("error", [ForbiddenError("no watch"), UnavailableError("closed")])
async def test_without_a_watch_it_looks_now_and_then(place: Place, error: KubernetesError) -> None:
    place.leases.fault = lambda operation: error if operation == "watch" else None
    first = place.start("a_1")
    await place.until(lambda: first.epoch == 1)
    second = place.start("b_1")
    await place.until(lambda: "watch" in place.leases.requests)
    await place.stop("a_1")
    await first.release()
    await place.until(lambda: second.epoch == 2)


async def test_a_restarted_container_does_not_wait(place: Place) -> None:
    first = place.start("a_1", pod_uid="uid-a")
    await place.until(lambda: first.epoch == 1)
    await place.stop("a_1")
    second = place.start("a_2", pod_uid="uid-a")
    await place.until(lambda: second.epoch == 2)


async def test_a_leader_that_cannot_renew_ends_and_begins_a_new_epoch(place: Place) -> None:
    elector = place.start("a_1")
    await place.until(lambda: elector.epoch == 1)
    place.leases.fault = lambda operation: UnavailableError("connection refused")
    await place.requested("patch")
    place.now += DURATION - 1
    assert (elector.epoch, elector.problem) == (1, None), "nobody else can have it yet"
    place.now += 1
    assert elector.epoch is None
    await place.until(lambda: place.changes[-1] == ("a_1", None))
    assert elector.problem == "the Lease lease: connection refused"
    place.leases.fault = lambda operation: None
    await place.until(lambda: elector.epoch == 2)
    assert place.changes == [("a_1", 1), ("a_1", None), ("a_1", 2)]


async def test_a_request_that_hangs_is_given_up(place: Place) -> None:
    place.leases.fault = lambda operation: asyncio.Event()
    elector = place.start("a_1")
    await place.until(lambda: elector.problem == "the Lease lease: no answer in time")
    place.leases.fault = lambda operation: None
    await place.until(lambda: elector.epoch == 1)


async def test_an_acquisition_whose_answer_was_lost_is_made_again(place: Place) -> None:
    place.leases.lose_next_answer = True
    elector = place.start("a_1")
    await place.until(lambda: elector.epoch == 2)
    assert place.leases.spec["leaseTransitions"] == 2


async def test_a_renewal_whose_answer_was_lost_changes_nothing(place: Place) -> None:
    elector = place.start("a_1")
    await place.until(lambda: elector.epoch == 1)
    place.leases.lose_next_answer = True
    await place.until(lambda: not place.leases.lose_next_answer)
    await place.renewed()
    assert elector.epoch == 1
    assert place.changes == [("a_1", 1)]


async def test_a_lease_that_somebody_touched_is_read_and_renewed_at_once(place: Place) -> None:
    """Without a pause in between: a renewal whose answer was lost has cost time already."""
    elector = place.start("a_1", retry=1000)
    await place.until(lambda: elector.epoch == 1)
    place.leases.edit(**place.leases.spec)
    before = len(place.leases.requests)
    await place.requested("get")
    await place.until(
        lambda: place.leases.requests[before:][:4] == ["patch", "get", *["patch"] * 2]
    )
    assert place.changes == [("a_1", 1)]


async def test_a_deleted_lease_is_made_again_by_its_holder(place: Place) -> None:
    elector = place.start("a_1", retry=1000)
    await place.until(lambda: elector.epoch == 1)
    place.leases.body = None
    await place.until(lambda: place.leases.body is not None)
    assert elector.epoch == 1
    assert place.changes == [("a_1", 1)]


async def test_whoever_is_told_to_go_goes(place: Place) -> None:
    """A person empties or rewrites the Lease."""
    elector = place.start("a_1")
    await place.until(lambda: elector.epoch == 1)
    place.leases.edit(holderIdentity="somebody", leaseDurationSeconds=15, leaseTransitions=7)
    await place.until(lambda: elector.epoch is None)
    place.leases.edit(holderIdentity="", leaseTransitions=7)
    await place.until(lambda: elector.epoch == 8)


class TestRelease:
    async def test_it_is_not_undone_by_a_renewal_under_way(self, place: Place) -> None:
        elector = place.start("a_1")
        await place.until(lambda: elector.epoch == 1)
        await place.stop("a_1")
        renewals = iter([True])

        def renew_meanwhile(operation: str) -> None:
            if operation == "patch" and next(renewals, False):
                place.leases.edit(**place.leases.spec)

        place.leases.fault = renew_meanwhile
        await elector.release()
        assert place.leases.spec["holderIdentity"] == ""

    async def test_anothers_lease_is_left_alone(self, place: Place) -> None:
        elector = place.start("a_1")
        await place.until(lambda: elector.epoch == 1)
        await place.stop("a_1")
        place.leases.edit(holderIdentity="b_1")
        await elector.release()
        assert place.leases.spec["holderIdentity"] == "b_1"

    async def test_it_ends_though_the_api_server_is_away(self, place: Place) -> None:
        elector = place.start("a_1")
        await place.until(lambda: elector.epoch == 1)
        await place.stop("a_1")
        for fault in (UnavailableError("refused"), asyncio.Event()):
            place.leases.fault = lambda operation, fault=fault: fault  # type: ignore[misc]
            async with asyncio.timeout(TIMEOUT):
                await elector.release()
        assert elector.epoch is None
