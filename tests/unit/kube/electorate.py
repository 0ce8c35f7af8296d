"""Operators of several installs on the Leases of one cluster in memory, and one clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from notifications_operator.kube.candidacy import Candidate
from notifications_operator.kube.leadership import LEASE_NAME, Leader, Leadership, Terms
from tests.unit.kube.leases import MemoryLeases

DURATION = 15
TIMEOUT = 10.0

CHOSEN = "kube-system"
"""Namespace of the cluster's Lease, unless an install chose another."""

FIRST, SECOND = "mail-a/notifications", "mail-b/notifications"
"""Two installs."""

FORMER = "mail"
"""What the Lease of earlier releases is called."""


class Member:
    """One process of an install; `stop` is SIGTERM, `kill` is SIGKILL."""

    def __init__(
        self, electorate: Electorate, candidate: Candidate, *, chosen: str, former: str
    ) -> None:
        self.reported: list[Leader] = []
        self.leadership = Leadership(
            electorate.leases,
            candidate,
            terms=Terms(
                namespace=chosen, former_name=former, renew_interval=0.02, retry_period=0.01
            ),
            changed=lambda: electorate.note(self),
            report=self._report,
            monotonic=lambda: electorate.now,
            boottime=lambda: electorate.now,
        )
        self.identity = candidate.identity
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def epoch(self) -> int | None:
        """The epoch under which it leads."""
        return self.leadership.epoch

    def start(self) -> None:
        """Begin to be a candidate."""
        parts = (self.leadership.elect, self.leadership.succeed, self.leadership.complete)
        self._tasks = [asyncio.create_task(part()) for part in parts]

    async def kill(self) -> None:
        """End it; it neither renews nor releases any more."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def stop(self) -> None:
        """End it in order."""
        await self.kill()
        await self.leadership.release()

    async def _report(self, leader: Leader) -> None:
        self.reported.append(leader)


class Electorate:
    """All processes, and every change of who leads."""

    def __init__(self) -> None:
        self.leases = MemoryLeases()
        self.now = 100.0
        self.changes: list[tuple[str, int | None]] = []
        self.members: list[Member] = []

    def join(
        self,
        install: str,
        pod: str,
        *,
        chosen: str = CHOSEN,
        former: str = FORMER,
        uid: str = "",
    ) -> Member:
        """Start a process of an install (namespace, slash, name)."""
        candidate = Candidate(
            identity=f"{pod}_{len(self.members)}",
            pod_name=pod,
            pod_uid=uid or None,
            install=install,
            duration=DURATION,
        )
        member = Member(self, candidate, chosen=chosen, former=former)
        self.members.append(member)
        member.start()
        return member

    @property
    def leaders(self) -> list[Member]:
        """The processes that lead at this moment."""
        return [member for member in self.members if member.epoch is not None]

    def note(self, member: Member) -> None:
        """Note that a process began or ceased to lead."""
        self.changes.append((member.identity, member.epoch))

    def holder(self, namespace: str = CHOSEN, name: str = LEASE_NAME) -> str:
        """Return who holds a Lease; nobody holds one that is not there."""
        if (namespace, name) not in self.leases.bodies:
            return ""
        return str(self.leases.spec(namespace, name).get("holderIdentity") or "")

    def hold(self, holder: str, namespace: str, name: str = LEASE_NAME, epoch: int = 1) -> None:
        """Hold or renew a Lease, as somebody does that is no member."""
        self.leases.edit(
            namespace,
            name,
            holderIdentity=holder,
            leaseDurationSeconds=DURATION,
            leaseTransitions=epoch,
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0.002)

    async def requested(self, *operations: str) -> None:
        """Wait for some requests, twice each, that come after now."""
        before = len(self.leases.requests)

        def came() -> bool:
            names = [found for found, *_ in self.leases.requests[before:]]
            return all(names.count(operation) > 1 for operation in operations)

        await self.until(came)

    async def renewed(self) -> None:
        """Wait for the answers to renewals of all Leases that come after now."""
        before = self._renewals()

        def came() -> bool:
            # Another one of each has begun since.
            return all(self._renewals()[key] >= before[key] + 2 for key in self.leases.bodies)

        await self.until(came)

    def _renewals(self) -> Counter[tuple[str, str]]:
        return Counter(
            (namespace, name)
            for operation, namespace, name in self.leases.requests
            if operation == "patch"
        )

    async def close(self) -> None:
        """End all processes."""
        for member in self.members:
            await member.kill()
