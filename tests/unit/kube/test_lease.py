"""The elector against a store of Leases in memory, with faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from notifications_operator.api.errors import ForbiddenError, KubernetesError, UnavailableError
from notifications_operator.kube.candidacy import (
    INSTALL_ANNOTATION,
    POD_UID_ANNOTATION,
    Candidacy,
    Candidate,
)
from notifications_operator.kube.lease import LeaseElector
from tests.unit.kube.leases import Fault, MemoryLeases

NAMESPACE, NAME = "operator", "lease"
DURATION = 15
TIMEOUT = 10.0


class Place:
    """Electors on one Lease and one clock, which stands still unless it is moved."""

    def __init__(self) -> None:
        self.leases = MemoryLeases()
        self.now = 100.0
        self.changes: list[tuple[str, int | None]] = []
        self.admitted = True
        self.tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def spec(self) -> dict[str, Any]:
        """What the Lease says."""
        return self.leases.spec(NAMESPACE, NAME)

    def edit(self, **spec: Any) -> None:
        """Change the Lease, as somebody else does."""
        self.leases.edit(NAMESPACE, NAME, **spec)

    def fail(self, fault: Callable[[str], Fault]) -> None:
        """Let requests fail or hang, by their operation."""
        self.leases.fault = lambda operation, namespace, name: fault(operation)

    def start(
        self,
        identity: str,
        *,
        pod_uid: str | None = None,
        retry: float = 0.01,
        create: bool = True,
    ) -> LeaseElector:
        candidate = Candidate(
            identity=identity,
            pod_name=identity.rpartition("_")[0],
            pod_uid=pod_uid,
            install="operator/notifications",
            duration=DURATION,
        )
        clock: dict[str, Any] = {"monotonic": lambda: self.now, "boottime": lambda: self.now}
        elector = LeaseElector(
            self.leases,
            namespace=NAMESPACE,
            name=NAME,
            candidacy=Candidacy(candidate, create=create, **clock),
            renew_interval=0.02,
            retry_period=retry,
            admit=self._admit,
            changed=lambda: self._note(identity, elector.epoch),
        )
        self.tasks[identity] = asyncio.create_task(elector.run())
        return elector

    async def _admit(self) -> bool:
        return self.admitted

    def _note(self, identity: str, epoch: int | None) -> None:
        """Note that an elector acquired the Lease or lost it."""
        before = next((was for who, was in reversed(self.changes) if who == identity), None)
        if epoch != before:
            self.changes.append((identity, epoch))

    async def stop(self, identity: str) -> None:
        """End an elector's task; it neither renews nor releases any more."""
        task = self.tasks.pop(identity)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    @property
    def has_watched(self) -> bool:
        """Whether somebody has watched the Lease."""
        return ("watch", NAMESPACE, NAME) in self.leases.requests

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0.002)

    async def requested(self, *operations: str) -> None:
        """Wait for requests that come after now."""
        before = len(self.leases.requests)
        await self.until(
            lambda: set(operations) <= {found for found, *_ in self.leases.requests[before:]}
        )

    async def renewed(self) -> None:
        """Wait for the answer to a renewal that comes after now: another has begun since."""
        before = self.operations.count("patch")
        await self.until(lambda: self.operations.count("patch") >= before + 2)

    @property
    def operations(self) -> list[str]:
        """What was asked for, in order."""
        return [operation for operation, *_ in self.leases.requests]


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
    assert place.leases.bodies[NAMESPACE, NAME]["metadata"]["annotations"] == {
        POD_UID_ANNOTATION: "uid-a",
        INSTALL_ANNOTATION: "operator/notifications",
    }
    for _ in range(5):
        place.now += DURATION - 1
        await place.renewed()
        assert elector.epoch == 1
    assert place.spec["leaseTransitions"] == 1
    assert set(place.operations[2:]) == {"patch"}, "the version is known: no look before"
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
    assert (second.epoch, place.spec["holderIdentity"]) == (None, "a_1")
    place.now += 0.2
    await place.until(lambda: second.epoch == 2)
    assert first.epoch is None
    assert place.spec["holderIdentity"] == "b_1"


async def test_a_released_lease_is_taken_at_once(place: Place) -> None:
    """The watch says so: the period of looks would be longer than the test."""
    first = place.start("a_1", pod_uid="uid-a")
    await place.until(lambda: first.epoch == 1)
    second = place.start("b_1", retry=1000)
    await place.until(lambda: place.has_watched)
    await place.stop("a_1")
    await first.release()
    assert first.epoch is None
    await place.until(lambda: second.epoch == 2)
    assert place.changes == [("a_1", 1), ("a_1", None), ("b_1", 2)]


@pytest.mark.parametrize("error", [ForbiddenError("no watch"), UnavailableError("closed")])
async def test_without_a_watch_it_looks_now_and_then(place: Place, error: KubernetesError) -> None:
    place.fail(lambda operation: error if operation == "watch" else None)
    first = place.start("a_1")
    await place.until(lambda: first.epoch == 1)
    second = place.start("b_1")
    await place.until(lambda: place.has_watched)
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
    place.fail(lambda operation: UnavailableError("connection refused"))
    await place.requested("patch")
    place.now += DURATION - 1
    assert (elector.epoch, elector.problem) == (1, None), "nobody else can have it yet"
    place.now += 1
    assert elector.epoch is None
    await place.until(lambda: place.changes[-1] == ("a_1", None))
    assert elector.problem == "the Lease operator/lease: connection refused"
    place.fail(lambda operation: None)
    await place.until(lambda: elector.epoch == 2)
    assert place.changes == [("a_1", 1), ("a_1", None), ("a_1", 2)]


async def test_a_request_that_hangs_is_given_up(place: Place) -> None:
    place.fail(lambda operation: asyncio.Event())
    elector = place.start("a_1")
    await place.until(lambda: elector.problem == "the Lease operator/lease: no answer in time")
    place.fail(lambda operation: None)
    await place.until(lambda: elector.epoch == 1)


async def test_an_acquisition_whose_answer_was_lost_is_made_again(place: Place) -> None:
    place.leases.lose_next_answer = True
    elector = place.start("a_1")
    await place.until(lambda: elector.epoch == 2)
    assert place.spec["leaseTransitions"] == 2


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
    place.edit(**place.spec)
    before = len(place.operations)
    await place.requested("get")
    await place.until(lambda: place.operations[before:][:4] == ["patch", "get", *["patch"] * 2])
    assert place.changes == [("a_1", 1)]


async def test_a_deleted_lease_is_made_again_by_its_holder(place: Place) -> None:
    elector = place.start("a_1", retry=1000)
    await place.until(lambda: elector.epoch == 1)
    place.leases.delete(NAMESPACE, NAME)
    await place.until(lambda: (NAMESPACE, NAME) in place.leases.bodies)
    assert elector.epoch == 1
    assert place.changes == [("a_1", 1)]


async def test_whoever_is_told_to_go_goes(place: Place) -> None:
    """A person empties or rewrites the Lease."""
    elector = place.start("a_1")
    await place.until(lambda: elector.epoch == 1)
    place.edit(holderIdentity="somebody", leaseDurationSeconds=15, leaseTransitions=7)
    await place.until(lambda: elector.epoch is None)
    place.edit(holderIdentity="", leaseTransitions=7)
    await place.until(lambda: elector.epoch == 8)


async def test_who_is_not_admitted_waits_until_nudged(place: Place) -> None:
    place.admitted = False
    elector = place.start("a_1", retry=1000)
    await place.until(lambda: elector.problem is None)
    assert (elector.epoch, place.leases.bodies) == (None, {})
    place.admitted = True
    elector.nudge()
    await place.until(lambda: elector.epoch == 1)
    place.admitted = False
    await place.requested("patch")
    assert elector.epoch == 1, "a renewal needs no leave"


async def test_one_that_is_not_created_is_taken_when_it_appears(place: Place) -> None:
    elector = place.start("a_1", create=False)
    assert not elector.is_missing, "not known yet"
    await place.until(lambda: elector.is_missing)
    place.fail(lambda operation: UnavailableError("refused"))
    await place.until(lambda: elector.problem is not None)
    assert elector.is_missing, "as far as is known"
    place.fail(lambda operation: None)
    assert place.leases.bodies == {}
    place.edit(holderIdentity="", leaseTransitions=4)
    await place.until(lambda: elector.epoch == 5)
    place.leases.delete(NAMESPACE, NAME)
    await place.until(lambda: elector.is_missing)
    assert (elector.epoch, place.leases.bodies) == (None, {})


class TestRelease:
    async def test_it_is_not_undone_by_a_renewal_under_way(self, place: Place) -> None:
        elector = place.start("a_1")
        await place.until(lambda: elector.epoch == 1)
        await place.stop("a_1")
        renewals = iter([True])

        def renew_meanwhile(operation: str) -> None:
            if operation == "patch" and next(renewals, False):
                place.edit(**place.spec)

        place.fail(renew_meanwhile)
        await elector.release()
        assert place.spec["holderIdentity"] == ""

    async def test_anothers_lease_is_left_alone(self, place: Place) -> None:
        elector = place.start("a_1")
        await place.until(lambda: elector.epoch == 1)
        await place.stop("a_1")
        place.edit(holderIdentity="b_1")
        await elector.release()
        assert place.spec["holderIdentity"] == "b_1"

    async def test_it_ends_though_the_api_server_is_away(self, place: Place) -> None:
        elector = place.start("a_1")
        await place.until(lambda: elector.epoch == 1)
        await place.stop("a_1")
        for fault in (UnavailableError("refused"), asyncio.Event()):
            place.fail(lambda operation, fault=fault: fault)  # type: ignore[misc]
            async with asyncio.timeout(TIMEOUT):
                await elector.release()
        assert elector.epoch is None
