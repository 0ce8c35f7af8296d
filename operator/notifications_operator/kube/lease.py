"""Leader election: keeps this process a candidate for the Lease, and holds it when it can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from ..api.errors import ConflictError, KubernetesError, NotFoundError
from .candidacy import Bid, Candidacy, LeaseRecord

logger = logging.getLogger(__name__)

RELEASE_TRIES = 3
"""How often the release of the Lease is tried; then others wait until it is over."""


class Leases(Protocol):
    """Leases in the cluster; `KubernetesClient` has them."""

    async def get_lease(self, namespace: str, name: str) -> dict[str, Any] | None: ...

    async def create_lease(
        self, namespace: str, name: str, *, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]: ...

    async def patch_lease(
        self, namespace: str, name: str, *, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]: ...

    async def wait_for_lease(self, namespace: str, name: str, resource_version: str) -> bool: ...


class LeaseElector:
    """Holds one Lease, or waits for it.

    Parameters
    ----------
    client
        The API server.
    namespace, name
        Where the Lease is.
    candidacy
        Who asks for it, and for how long.
    renew_interval
        Seconds between renewals, and most that one request may take.
    retry_period
        Seconds between looks at a Lease that another holds, and before a failed request is tried
        again.
    admit
        Asked before the Lease is acquired: whether it may be, as far as others are concerned.
    changed
        Called when the Lease was acquired or lost, has another holder, or became known.
    """

    def __init__(
        self,
        client: Leases,
        *,
        namespace: str,
        name: str,
        candidacy: Candidacy,
        renew_interval: float,
        retry_period: float,
        admit: Callable[[], Awaitable[bool]],
        changed: Callable[[], None],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._candidacy = candidacy
        self._renew_interval = renew_interval
        self._retry_period = retry_period
        self._admit = admit
        self._changed = changed
        self._announced: tuple[int | None, str, bool] = (None, "", False)
        self._nudged = asyncio.Event()
        self._known = False
        self._problem: str | None = "not read yet"

    @property
    def epoch(self) -> int | None:
        """The acquisition under which the Lease is held at this very moment, or ``None``."""
        return self._candidacy.epoch

    @property
    def problem(self) -> str | None:
        """Why it is not known who holds the Lease, or ``None`` if it is."""
        return None if self.epoch is not None else self._problem

    @property
    def title(self) -> str:
        """Namespace and name of the Lease."""
        return f"{self._namespace}/{self._name}"

    @property
    def record(self) -> LeaseRecord | None:
        """The Lease as it was last seen."""
        return self._candidacy.record

    @property
    def transitions(self) -> int:
        """Greatest number of acquisitions that was seen."""
        return self._candidacy.transitions

    @property
    def is_missing(self) -> bool:
        """Whether there was no such Lease when it was last read."""
        return self._known and self.record is None

    def outnumber(self, epoch: int) -> None:
        """Acquire the Lease under a greater epoch than one that was under another."""
        self._candidacy.outnumber(epoch)

    def nudge(self) -> None:
        """Look at the Lease now instead of after the usual pause."""
        self._nudged.set()

    async def run(self) -> None:
        """Be a candidate until cancelled."""
        while True:
            succeeded = await self._attempt()
            self._announce()
            await self._pause(succeeded=succeeded)

    async def release(self) -> None:
        """Let another process have the Lease at once; nothing more is done under it."""
        self._candidacy.resign()
        self._announce()
        for _ in range(RELEASE_TRIES):
            try:
                await self._let_go()
            except ConflictError:
                # A renewal whose answer was not waited for took effect meanwhile.
                continue
            except (KubernetesError, TimeoutError) as error:
                logger.warning("could not release the Lease: %s", _describe(error))
            return

    async def _let_go(self) -> None:
        record = await self._read()
        if record is None or record.holder != self._candidacy.identity:
            return
        async with asyncio.timeout(self._renew_interval):
            await self._client.patch_lease(self._namespace, self._name, **record.emptied())
        logger.info("released the Lease", extra={"lease": self.title})

    async def _attempt(self) -> bool:
        """Renew the Lease, or look at it and acquire it if possible; False if that failed."""
        try:
            done = await self._renew_as_known() or await self._look()
        except ConflictError:
            # Somebody was faster; who, the next look will tell.
            return False
        except (KubernetesError, TimeoutError) as error:
            problem = f"the Lease {self.title}: {_describe(error)}"
            if problem != self._problem:
                logger.warning("could not read or renew the Lease: %s", problem)
            self._problem = problem
            return False
        self._problem = None
        return done

    async def _look(self) -> bool:
        """Look at the Lease and acquire it if possible; False if others are against that."""
        self._candidacy.observe(await self._read())
        self._known = True
        admitted = not self._candidacy.is_open or await self._admit()
        if admitted and (bid := self._candidacy.bid()) is not None:
            self._candidacy.won(bid, await self._write(bid))
        return admitted

    async def _renew_as_known(self) -> bool:
        """Renew the Lease that is held at the version that is known (client-go's fast path).

        A look first would double the time of a renewal; the version guards what it would show.

        Returns
        -------
        bool
            False if it must be looked at: it is not held, or not as it was.
        """
        bid = self._candidacy.bid() if self.epoch is not None else None
        if bid is None or bid.replaces is None:
            return False
        try:
            self._candidacy.won(bid, await self._write(bid))
        except (ConflictError, NotFoundError):
            return False
        return True

    async def _read(self) -> LeaseRecord | None:
        async with asyncio.timeout(self._renew_interval):
            body = await self._client.get_lease(self._namespace, self._name)
        return None if body is None else LeaseRecord.read(body)

    async def _write(self, bid: Bid) -> LeaseRecord:
        write = self._client.create_lease if bid.replaces is None else self._client.patch_lease
        async with asyncio.timeout(self._renew_interval):
            body = await write(
                self._namespace,
                self._name,
                metadata=self._candidacy.metadata_of(bid),
                spec=self._candidacy.spec_of(bid),
            )
        return LeaseRecord.read(body)

    def _announce(self) -> None:
        """Say when the Lease was acquired or lost, has another holder, or became known."""
        holder = self.record.holder if self.record else ""
        state = self.epoch, holder, self.problem is None
        if state != self._announced:
            self._announced = state
            self._changed()

    async def _pause(self, *, succeeded: bool) -> None:
        """Wait until there is something to do: at the latest when the Lease is over."""
        rest = self._candidacy.remaining
        if self.epoch is not None:
            pause = self._renew_interval if succeeded else self._retry_period
            await self._rest(min(pause, rest))
        elif succeeded and (record := self.record) is not None:
            await self._watch(record, min(self._retry_period, rest))
        else:
            await self._rest(self._renew_interval if succeeded else self._retry_period)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        self._nudged.clear()

    async def _watch(self, record: LeaseRecord, seconds: float) -> None:
        """Wait for a change of the Lease, so that one that is released is taken at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                with suppress(KubernetesError):
                    if await self._client.wait_for_lease(
                        self._namespace, self._name, record.resource_version
                    ):
                        return
                # It can still be looked at now and then.
                await asyncio.sleep(seconds)


def _describe(error: Exception) -> str:
    return str(error) or "no answer in time"
