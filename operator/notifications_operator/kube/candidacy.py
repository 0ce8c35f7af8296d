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

INSTALL_ANNOTATION = f"{GROUP}/holder-install"
"""Install that the holder belongs to: its namespace, a slash, and its name there."""

_SHOWN = 256
"""Characters of a holder's identity that are repeated."""


def boottime() -> float:
    """Return the seconds since boot, those included in which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Who asks for the Lease.

    ``identity`` is the pod's name, an underscore, and something that no other process has.
    ``install`` is the namespace of its install, a slash, and the install's name there.
    ``duration`` is in seconds.
    """

    identity: str
    pod_name: str
    pod_uid: str | None
    install: str
    duration: int


@dataclass(frozen=True, kw_only=True)
class LeaseRecord:
    """A Lease as the API server has it; ``holder`` is empty if nobody holds it."""

    namespace: str
    resource_version: str
    holder: str
    pod_uid: str | None
    install: str | None
    duration: float | None
    transitions: int

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """Read a ``coordination.k8s.io/v1`` Lease, all of whose specification is optional."""
        metadata, spec = body["metadata"], body.get("spec") or {}
        annotations = metadata.get("annotations") or {}
        return cls(
            namespace=metadata["namespace"],
            resource_version=metadata["resourceVersion"],
            holder=(spec.get("holderIdentity") or "")[:_SHOWN],
            pod_uid=annotations.get(POD_UID_ANNOTATION),
            install=annotations.get(INSTALL_ANNOTATION, "")[:_SHOWN] or None,
            duration=spec.get("leaseDurationSeconds"),
            transitions=spec.get("leaseTransitions") or 0,
        )

    @property
    def pod(self) -> str:
        """Name of the pod that holds the Lease."""
        return self.holder.rpartition("_")[0] or self.holder

    def emptied(self) -> dict[str, dict[str, Any]]:
        """Return metadata and specification that leave the Lease to nobody, as a merge patch."""
        annotations = {POD_UID_ANNOTATION: None, INSTALL_ANNOTATION: None}
        return {
            "metadata": {"resourceVersion": self.resource_version, "annotations": annotations},
            "spec": {"holderIdentity": ""},
        }


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


class LeaseView:
    """A Lease as one process has seen it.

    Whether its holder has ended is judged by the time for which *this* process saw the Lease
    unchanged, on its own monotonic clock: clocks of different machines are never compared.

    Parameters
    ----------
    duration
        Seconds for which a Lease that does not say it itself is held.
    """

    def __init__(self, *, duration: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._default = self._duration = duration
        self._monotonic = monotonic
        self._unchanged_since: float | None = None
        self.record: LeaseRecord | None = None
        """The Lease as it was last seen; ``None`` if there is none."""
        self.last: LeaseRecord | None = None
        """The Lease as it was when there was one."""
        self.transitions = 0
        """Greatest number of acquisitions that was seen."""

    def observe(self, record: LeaseRecord | None) -> None:
        """Take the Lease as it was read just now; ``None`` if there is none."""
        before, self.record = self.record, record
        if record is None:
            # One that was deleted may have a holder who does not know it yet.
            changed = before is not None
        else:
            self.last = record
            changed = before is None or before.resource_version != record.resource_version
            self.transitions = max(self.transitions, record.transitions)
            self._duration = record.duration or self._default
        if changed:
            self._unchanged_since = self._monotonic()

    @property
    def remaining(self) -> float:
        """Seconds until a holder who does not renew the Lease has certainly ended."""
        released = self.record is not None and not self.record.holder
        if self._unchanged_since is None or released:
            return 0.0
        return max(self._unchanged_since + self._duration - self._monotonic(), 0.0)


class Candidacy:
    """Decides when a process may take the Lease, and knows whether it holds it.

    When another's Lease is over is a `LeaseView`'s to say. Whether its own is over is judged on
    ``CLOCK_BOOTTIME``, which goes on while the process is stopped and while the machine is
    suspended.

    Parameters
    ----------
    create
        Whether a Lease that does not exist is created; otherwise there is nothing to take.
    """

    def __init__(
        self,
        candidate: Candidate,
        *,
        create: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
        boottime: Callable[[], float] = boottime,
    ) -> None:
        self._candidate = candidate
        self._create = create
        self._boottime = boottime
        self._view = LeaseView(duration=float(candidate.duration), monotonic=monotonic)
        self._epoch_before = 0
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
        return self._view.record

    @property
    def transitions(self) -> int:
        """Greatest number of acquisitions that was seen."""
        return self._view.transitions

    @property
    def remaining(self) -> float:
        """Seconds until the Lease may be taken or, for its holder, until it is lost."""
        if self.epoch is not None:
            return self._deadline - self._boottime()
        return 0.0 if self._is_predecessors() else self._view.remaining

    @property
    def is_open(self) -> bool:
        """Whether the Lease may be acquired now."""
        missing = self.record is None and not self._create
        return self.epoch is None and self.remaining <= 0 and not missing

    def outnumber(self, epoch: int) -> None:
        """Begin the next acquisition above an epoch that was under another Lease."""
        self._epoch_before = max(self._epoch_before, epoch)

    def observe(self, record: LeaseRecord | None) -> None:
        """Take the Lease as it was read just now; ``None`` if there is none."""
        self._view.observe(record)
        # One of ours that was deleted is created again.
        ended = record.holder != self.identity if record else not self._create
        if ended:
            self._epoch = None

    def bid(self) -> Bid | None:
        """Return what to write now, or ``None`` if the Lease is neither held nor open."""
        epoch = self.epoch
        if epoch is None and not self.is_open:
            return None
        return Bid(
            replaces=self.record.resource_version if self.record else None,
            epoch=epoch or max(self.transitions, self._epoch_before) + 1,
            renewal=epoch is not None,
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
        annotations = {
            POD_UID_ANNOTATION: self._candidate.pod_uid,
            INSTALL_ANNOTATION: self._candidate.install,
        }
        metadata: dict[str, Any] = {"annotations": annotations}
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

    def _is_predecessors(self) -> bool:
        """Whether only a process that has certainly ended holds the Lease, or this very one."""
        record, own = self.record, self._candidate
        if record is None:
            return False
        predecessor = own.pod_uid is not None and (
            (record.pod_uid, record.holder.rpartition("_")[0]) == (own.pod_uid, own.pod_name)
        )
        return record.holder == own.identity or predecessor
