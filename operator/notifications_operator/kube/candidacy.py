"""What one process knows of the Lease, and what it may do about it; no input or output.

The rules are client-go's (``tools/leaderelection``), with three additions: every acquisition
raises ``leaseTransitions``, which so becomes an epoch; the holder's deadline counts from before
its renewal was sent; and a process does not wait for an earlier one of its own pod.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from ..api.resource import GROUP

POD_UID_ANNOTATION = f"{GROUP}/holder-pod-uid"
"""UID of the pod that the holder of the Lease runs in."""

_SHOWN = 256
"""Characters of a holder's identity that are repeated."""


def boottime() -> float:
    """Return the seconds since boot, those included in which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Who asks for the Lease.

    ``identity`` is the pod's name, an underscore, and something that no other process has.
    ``duration`` is in seconds.
    """

    identity: str
    pod_name: str
    pod_uid: str | None
    duration: int


@dataclass(frozen=True, kw_only=True)
class LeaseRecord:
    """A Lease as the API server has it; ``holder`` is empty if nobody holds it."""

    resource_version: str
    holder: str
    pod_uid: str | None
    duration: float | None
    transitions: int

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """Read a ``coordination.k8s.io/v1`` Lease, all of whose specification is optional."""
        metadata, spec = body["metadata"], body.get("spec") or {}
        return cls(
            resource_version=metadata["resourceVersion"],
            holder=(spec.get("holderIdentity") or "")[:_SHOWN],
            pod_uid=(metadata.get("annotations") or {}).get(POD_UID_ANNOTATION),
            duration=spec.get("leaseDurationSeconds"),
            transitions=spec.get("leaseTransitions") or 0,
        )


@dataclass(frozen=True, kw_only=True)
class Bid:
    """A write that would make the process hold the Lease, or go on holding it.

    ``replaces`` is the resource version that must still hold; ``None`` creates the Lease.
    ``sent`` is the boot time before it goes out.
    """

    replaces: str | None
    epoch: int
    renewal: bool
    sent: float


class Candidacy:
    """Decides when a process may take the Lease, and knows whether it holds it.

    Whether another's Lease is over is judged by the time for which *this* process saw it
    unchanged, on its own monotonic clock: clocks of different machines are never compared.
    Whether its own is over is judged on ``CLOCK_BOOTTIME``, which goes on while the process is
    stopped and while the machine is suspended.
    """

    def __init__(
        self,
        candidate: Candidate,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        boottime: Callable[[], float] = boottime,
    ) -> None:
        self._candidate = candidate
        self._monotonic = monotonic
        self._boottime = boottime
        self._record: LeaseRecord | None = None
        self._unchanged_since: float | None = None
        self._duration = float(candidate.duration)
        self._transitions = 0
        self._epoch: int | None = None
        self._deadline = 0.0

    @property
    def epoch(self) -> int | None:
        """The acquisition under which the Lease is held, or ``None``; one that ended stays so."""
        if self._epoch is not None and self._boottime() >= self._deadline:
            self._epoch = None
        return self._epoch

    @property
    def identity(self) -> str:
        """What stands in the Lease while this process holds it."""
        return self._candidate.identity

    @property
    def record(self) -> LeaseRecord | None:
        """The Lease as it was last seen."""
        return self._record

    @property
    def remaining(self) -> float:
        """Seconds until the Lease may be taken or, for its holder, until it is lost."""
        if self.epoch is not None:
            return self._deadline - self._boottime()
        if self._unchanged_since is None or self._is_free():
            return 0.0
        return max(self._unchanged_since + self._duration - self._monotonic(), 0.0)

    def observe(self, record: LeaseRecord | None) -> None:
        """Take the Lease as it was read just now; ``None`` if there is none."""
        before = self._record
        if record is None:
            # One that was deleted may have a holder who does not know it yet.
            changed = before is not None
        else:
            changed = before is None or before.resource_version != record.resource_version
            self._transitions = max(self._transitions, record.transitions)
            self._duration = record.duration or self._candidate.duration
            if record.holder != self._candidate.identity:
                self._epoch = None
        if changed:
            self._unchanged_since = self._monotonic()
        self._record = record

    def bid(self) -> Bid | None:
        """Return what to write now, or ``None`` while another process holds the Lease."""
        renewal = self.epoch is not None
        if not renewal and self.remaining > 0:
            return None
        return Bid(
            replaces=self._record.resource_version if self._record else None,
            epoch=self._epoch if self._epoch is not None else self._transitions + 1,
            renewal=renewal,
            sent=self._boottime(),
        )

    def won(self, bid: Bid, record: LeaseRecord) -> None:
        """Take the API server's answer to a bid.

        A renewal that is answered after the deadline comes too late: others may have seen the
        epoch ended, so the next one begins with an acquisition.
        """
        lapsed = bid.renewal and self.epoch is None
        self.observe(record)
        if not lapsed:
            self._epoch = bid.epoch
            self._deadline = bid.sent + self._candidate.duration

    def resign(self) -> None:
        """Hold the Lease no more."""
        self._epoch = None

    def metadata_of(self, bid: Bid) -> dict[str, Any]:
        """Return the metadata that a bid writes, as a merge patch."""
        metadata: dict[str, Any] = {"annotations": {POD_UID_ANNOTATION: self._candidate.pod_uid}}
        return metadata if bid.replaces is None else {**metadata, "resourceVersion": bid.replaces}

    def spec_of(self, bid: Bid) -> dict[str, Any]:
        """Return the specification that a bid writes, as a merge patch."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self._candidate.identity,
            "leaseDurationSeconds": self._candidate.duration,
            "leaseTransitions": bid.epoch,
            "renewTime": now,
        } | ({} if bid.renewal else {"acquireTime": now})

    def _is_free(self) -> bool:
        """Whether nobody holds the Lease, or none but a process that has certainly ended."""
        record, own = self._record, self._candidate
        if record is None:
            return False
        predecessor = own.pod_uid is not None and (
            (record.pod_uid, record.holder.rpartition("_")[0]) == (own.pod_uid, own.pod_name)
        )
        return not record.holder or record.holder == own.identity or predecessor
