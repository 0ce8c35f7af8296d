"""The Lease of earlier releases, which is held together with the cluster's where there is one."""

from __future__ import annotations

import asyncio

from .candidacy import LeaseRecord
from .lease import LeaseElector


class FormerLease:
    """The Lease by which releases before this one lead; it is never created.

    Parameters
    ----------
    title
        Its namespace and name.
    elector
        Who holds it; ``None`` if it is the very Lease of the cluster.
    """

    def __init__(self, title: str, elector: LeaseElector | None) -> None:
        self.title = title
        self._elector = elector

    @property
    def is_held(self) -> bool:
        """Whether this process holds the Lease."""
        return self._elector is not None and self._elector.epoch is not None

    @property
    def is_settled(self) -> bool:
        """Whether nobody else can lead by it: it is held, or there is none."""
        return self._elector is None or self.is_held or self._elector.is_missing

    @property
    def problem(self) -> str | None:
        """Why it is not known who holds the Lease, or ``None`` if it is."""
        return self._elector.problem if self._elector else None

    @property
    def record(self) -> LeaseRecord | None:
        """The Lease as it was last seen."""
        return self._elector.record if self._elector else None

    @property
    def transitions(self) -> int:
        """Greatest number of acquisitions that was seen."""
        return self._elector.transitions if self._elector else 0

    async def run(self) -> None:
        """Be a candidate until cancelled."""
        await (self._elector.run() if self._elector else asyncio.Event().wait())

    def acquire(self, epoch: int) -> None:
        """Acquire the Lease soon, under an epoch or a greater one."""
        if self._elector is not None:
            self._elector.outnumber(epoch - 1)
            self._elector.nudge()

    async def release(self) -> None:
        """Let another process have the Lease at once, if there is one."""
        if self._elector is not None and not self._elector.is_missing:
            await self._elector.release()
