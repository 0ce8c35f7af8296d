"""Who sends in a cluster: one process of all installs.

One Lease of fixed name decides, `LEASE_NAME` in a namespace that every install is told. Two more
rules keep a second one from sending:

- Installs may disagree about the namespace. The Lease itself is the record of what was chosen: each
  process lists those of that name in all namespaces, before it acquires its own and again
  afterwards, and leads only if nobody can hold another. Of two that acquire theirs at once the
  second to do so sees the first; if both see each other, the namespace that sorts last yields.
- Releases before this one have a Lease in the namespace of the install. Where there is one it is
  held as well, for as long as it is there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

from ..api.errors import KubernetesError
from .candidacy import Candidacy, Candidate, LeaseRecord, boottime
from .former import FormerLease
from .lease import LeaseElector, Leases
from .rivals import NamedLeases, Rivals

logger = logging.getLogger(__name__)

LEASE_NAME = "notifications-operator"
"""Name of the cluster's Lease."""


class ClusterLeases(Leases, NamedLeases, Protocol):
    """Leases in the cluster; `KubernetesClient` has them."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How the leader is elected.

    ``namespace`` is that of the cluster's Lease; ``former_name`` is what releases before it called
    theirs, in the namespace of the install. The rest is a `LeaseElector`'s.
    """

    namespace: str
    former_name: str
    renew_interval: float
    retry_period: float


@dataclass(frozen=True, kw_only=True)
class Leader:
    """Whom a process stands by for.

    ``install`` is what the Lease says of it, if anything: namespace, slash, name. ``lease`` is
    the Lease that it holds, ``chosen`` the one that this process would.
    """

    pod: str
    install: str
    lease: str
    chosen: str
    is_other: bool

    @property
    def namespace(self) -> str:
        """Namespace of its install."""
        return self.install.partition("/")[0]

    def describe(self) -> str:
        """Return who it is, and what to do if there should be no such process."""
        who = f"pod {self.pod} in namespace {self.namespace} leads (Lease {self.lease})"
        if not self.is_other:
            return who
        text = (
            f"another install of the notifications operator, {self.install}, serves this cluster: "
            f"{who}. This one sends nothing until that one is gone: uninstall one of them"
        )
        if self.lease == self.chosen:
            return text
        return f"{text}, and set leaderElection.namespace alike: here the Lease is {self.chosen}"


class Leadership:
    """Leads the cluster, or stands by and knows for whom.

    `elect`, `succeed` and `complete` are to run all the time; `release` comes after them.

    Parameters
    ----------
    client
        The API server.
    candidate
        Who this process is.
    terms
        How the leader is elected.
    changed
        Called when this process begins or ceases to lead.
    report
        Called when another install is found to lead.
    """

    def __init__(
        self,
        client: ClusterLeases,
        candidate: Candidate,
        *,
        terms: Terms,
        changed: Callable[[], None],
        report: Callable[[Leader], Awaitable[None]],
        monotonic: Callable[[], float] = time.monotonic,
        boottime: Callable[[], float] = boottime,
    ) -> None:
        self._candidate = candidate
        self._terms = terms
        self._changed = changed
        self._report = report
        clocks: dict[str, Any] = {"monotonic": monotonic, "boottime": boottime}
        timing: dict[str, Any] = {
            "renew_interval": terms.renew_interval,
            "retry_period": terms.retry_period,
        }
        self._cluster = LeaseElector(
            client,
            namespace=terms.namespace,
            name=LEASE_NAME,
            candidacy=Candidacy(candidate, **clocks),
            admit=self._admit,
            changed=self._note_change,
            **timing,
        )
        install_namespace = candidate.install.partition("/")[0]
        former = install_namespace, terms.former_name
        elector = LeaseElector(
            client,
            namespace=install_namespace,
            name=terms.former_name,
            candidacy=Candidacy(candidate, create=False, **clocks),
            admit=self._admit_former,
            changed=self._note_former,
            **timing,
        )
        is_apart = former != (terms.namespace, LEASE_NAME)
        self._former = FormerLease("/".join(former), elector if is_apart else None)
        self._rivals = Rivals(
            client,
            own=frozenset({(terms.namespace, LEASE_NAME), former}),
            name=LEASE_NAME,
            duration=candidate.duration,
            timeout=terms.renew_interval,
            monotonic=monotonic,
        )
        self._rival: LeaseRecord | None = None
        self._problem: str | None = None
        self._confirmed: int | None = None
        self._led: int | None = None
        self._ended: int | None = None
        self._announced: int | None = None
        self._reported: Leader | None = None
        self._woken = asyncio.Event()

    @property
    def epoch(self) -> int | None:
        """The acquisition under which this process leads at this very moment, or ``None``.

        One that ended stays so, even if all of its Leases are held again.
        """
        if self._led is not None and not (
            self._cluster.epoch == self._led and self._former.is_settled
        ):
            self._ended, self._led = self._led, None
        return self._led

    @property
    def problem(self) -> str | None:
        """Why it is not known who leads, or ``None`` if it is."""
        if self.epoch is not None:
            return None
        return self._former.problem or self._cluster.problem or self._problem

    @property
    def leader(self) -> Leader | None:
        """Whom this process stands by for, or ``None`` if it leads or there is nobody."""
        if self.epoch is not None:
            return None
        if self._is_others(record := self._cluster.record):
            return self._leader(record, self._cluster.title)
        if self._rival is not None:
            return self._leader(self._rival, f"{self._rival.namespace}/{LEASE_NAME}")
        if self._is_others(record := self._former.record):
            return self._leader(record, self._former.title)
        return None

    async def elect(self) -> None:
        """Be a candidate for the cluster's Lease, until cancelled."""
        await self._cluster.run()

    async def succeed(self) -> None:
        """Hold the Lease of earlier releases together with the cluster's, until cancelled."""
        await self._former.run()

    async def complete(self) -> None:
        """Begin to lead once the cluster's Lease is held and nothing is against it."""
        while True:
            self._woken.clear()
            settled = await self._settle()
            self._announce()
            await self._report_other()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if settled else self._terms.retry_period):
                    await self._woken.wait()

    async def release(self) -> None:
        """Let another process lead at once; nothing more is sent."""
        self._led = None
        self._announce()
        await self._former.release()
        await self._cluster.release()

    async def _settle(self) -> bool:
        """Take the next step towards leading; False if it must be tried again."""
        held = self._cluster.epoch
        if held is None:
            if self._former.is_held:
                await self._former.release()
            return True
        if self.epoch is not None:
            return True
        if held == self._ended:
            # The Lease of earlier releases was lost meanwhile.
            await self._begin_anew()
            return True
        if self._confirmed != held and not await self._confirm(held):
            return False
        if self._cluster.epoch != held or not self._former.is_settled:
            return True
        if self._former.transitions > held:
            await self._begin_anew()
        else:
            self._led = held
        return True

    async def _begin_anew(self) -> None:
        """Acquire the cluster's Lease once more, for another epoch than this one."""
        await self._cluster.release()
        self._cluster.nudge()

    async def _confirm(self, held: int) -> bool:
        """Make sure that no other Lease is held, now that ours is, nor was under this epoch."""
        try:
            rival = await self._look()
            cleared = rival is None and await self._rivals.clear()
        except (KubernetesError, TimeoutError) as error:
            problem = f"the Leases {LEASE_NAME} in all namespaces: {_describe(error)}"
            if problem != self._problem:
                logger.warning("could not look for other leaders: %s", problem)
            self._problem = problem
            return False
        if rival is not None and rival.namespace < self._terms.namespace:
            await self._cluster.release()
        elif cleared and self._rivals.transitions >= held:
            await self._begin_anew()
        elif cleared:
            self._confirmed = held
            self._former.acquire(held)
        return self._confirmed == held

    async def _admit(self) -> bool:
        """Whether the cluster's Lease may be acquired, as far as other Leases are concerned."""
        if self._former.problem is not None or await self._look() is not None:
            return False
        self._cluster.outnumber(max(self._rivals.transitions, self._former.transitions))
        return True

    async def _admit_former(self) -> bool:
        """Whether the Lease of earlier releases may be acquired: only by who may lead."""
        return self._confirmed is not None and self._cluster.epoch == self._confirmed

    async def _look(self) -> LeaseRecord | None:
        before, self._rival = self._rival, await self._rivals.look()
        self._problem = None
        if self._rival != before:
            self._woken.set()
        return self._rival

    def _is_others(self, record: LeaseRecord | None) -> TypeGuard[LeaseRecord]:
        """Whether another process held a Lease when it was last seen."""
        return record is not None and record.holder not in ("", self._candidate.identity)

    def _leader(self, record: LeaseRecord, lease: str) -> Leader:
        own = self._candidate.install
        # Releases before this one do not say their install: they are of this one.
        install = record.install or (own if lease == self._former.title else "unknown")
        return Leader(
            pod=record.pod or "unknown",
            install=install,
            lease=lease,
            chosen=self._cluster.title,
            is_other=install != own,
        )

    def _note_change(self) -> None:
        self._announce()
        self._woken.set()

    def _note_former(self) -> None:
        self._note_change()
        if self._cluster.epoch is None:
            self._cluster.nudge()

    def _announce(self) -> None:
        """Say when this process begins or ceases to lead."""
        epoch = self.epoch
        if epoch == self._announced:
            return
        self._announced = epoch
        if epoch is not None:
            logger.info("leading", extra={"epoch": epoch})
        else:
            logger.warning("not leading any more: nothing new is sent")
        self._changed()

    async def _report_other(self) -> None:
        """Say whom this process stands by for, once each."""
        leader = self.leader
        if leader == self._reported:
            return
        self._reported = leader
        if leader is None:
            return
        if not leader.is_other:
            logger.info("standing by", extra={"leader": leader.pod, "lease": leader.lease})
            return
        logger.warning("standing by: %s", leader.describe(), extra={"leader": leader.pod})
        await self._report(leader)


def _describe(error: Exception) -> str:
    return str(error) or "no answer in time"
