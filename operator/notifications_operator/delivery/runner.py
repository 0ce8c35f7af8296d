"""One Notification at work: the only writer of its status.

Each step derives the wanted status from the stored one, so a write that fails leaves nothing to
undo: the step is done again from what is stored then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from random import random
from typing import Any

from pydantic import ValidationError

from ..api.errors import ConflictError, KubernetesError, NotFoundError, RejectedError
from ..api.notification import (
    Delivery,
    DeliveryState,
    Notification,
)
from ..api.references import NOTIFICATIONS, ObjectRef
from ..catalog import Directory
from .announcer import Announcer
from .ledger import Ledger
from .merge_patch import is_kept, merge_patch
from .minimal import minimal_status
from .pauses import LONGEST_SLEEP, pause
from .planner import Planner
from .ports import Cluster, Recorder
from .rows import claim, doubt, record, unclaim
from .sends import Sends
from .slots import Slots
from .supervisor import Supervisor
from .ttl import ttl_note

logger = logging.getLogger(__name__)

RECORD_LINGER = 0.02
"""Seconds for which outcomes are gathered into one write while others are still out."""

REFUSED_DELAY = 300.0
"""Seconds before a status that the API server will not store is tried again."""

_numbers = count(1)


@dataclass(frozen=True, kw_only=True)
class Services:
    """What all runners share.

    ``holder`` is a name that no other process has. ``epoch`` stands before it in claims: the
    acquisition of the Lease they were made under, or ``None`` while another process leads.
    ``directory`` is ``None`` until the catalog was read once; ``accepting`` says whether new
    claims may be made, and ``draining`` whether they never will be again.
    """

    cluster: Cluster
    recorder: Recorder
    supervisor: Supervisor
    planner: Planner
    holder: str
    epoch: Callable[[], int | None]
    open_wait: float
    directory: Callable[[], Directory | None]
    accepting: Callable[[], bool]
    draining: Callable[[], bool]


class StatusPruned(Exception):
    """The API server stored the status without the claims: it must not be acted on."""


class Runner:
    """Drives one Notification until nothing more can happen to it on its own."""

    def __init__(
        self, notification: Notification, status: dict[str, Any], services: Services
    ) -> None:
        self.ref = ObjectRef.of(NOTIFICATIONS, notification.metadata)
        self._services = services
        self._notification = notification
        self._stored = status
        self._incoming: tuple[Notification, dict[str, Any]] | None = None
        self._deleted = False
        self._holder = f"{services.holder}/{next(_numbers)}"
        self._claims = count(1)
        self._minimal = False
        self._pruned = False
        self._failures = 0
        self._since = asyncio.get_running_loop().time()
        self._wake = asyncio.Event()
        self._sends = Sends(services.supervisor, wake=self._wake.set)
        self._announcer = Announcer(services.recorder, self.ref)
        self._slots = Slots(
            services.supervisor,
            uid=self.ref.uid,
            namespace=self.ref.namespace,
            wake=self._wake.set,
        )

    @property
    def notification(self) -> Notification:
        """The Notification as it was last seen or written."""
        return self._notification

    @property
    def deleted(self) -> bool:
        """Whether the object is gone, or about to be."""
        return self._deleted

    @property
    def unseen(self) -> tuple[Notification, dict[str, Any]] | None:
        """A newer version that came too late to be looked at."""
        return None if self._deleted or not self._is_newer(self._incoming) else self._incoming

    def offer(self, notification: Notification, status: dict[str, Any]) -> None:
        """Take a newer version of the object."""
        self._incoming = (notification, status)
        self._wake.set()

    def cancel(self) -> None:
        """The object is being deleted: send nothing more."""
        self._deleted = True
        self._wake.set()

    def poke(self) -> None:
        """Something that the Notification may wait for has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Work until the Notification is finished or deleted, or claims are not made any more."""
        try:
            while (delay := await self._attempt()) is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._wake.wait()
                if self._sends.results and self._sends.in_flight:
                    await asyncio.sleep(RECORD_LINGER)
                self._wake.clear()
        finally:
            self._sends.abandon()
            self._slots.close()

    async def _attempt(self) -> float | None:
        """Do one step; return the seconds until the next, or ``None`` when all is done."""
        try:
            delay = await self._step()
        except ConflictError:
            return await self._read_again()
        except NotFoundError:
            self._deleted = True
            return 0.0
        except (RejectedError, StatusPruned) as error:
            self._pruned = isinstance(error, StatusPruned)
            return await self._refused(error)
        except KubernetesError as error:
            logger.warning("could not write a status: %s", error, extra=self._extra())
            return self._back_off()
        self._failures = 0
        return delay

    async def _step(self) -> float | None:
        """Bring the cluster one write nearer to what is wanted."""
        self._observe()
        if self._deleted:
            return self._leave()
        epoch = self._services.epoch()
        if epoch is None:
            return await self._stand_by()
        directory = self._services.directory()
        if directory is None:
            return None if self._services.draining() else LONGEST_SLEEP
        now = _now()
        ledger = Ledger.load(self._notification.status)
        if self._is_edited or self._pruned:
            ledger.put_all(unclaim(row) for row in self._unlaunched(ledger))
        else:
            self._launch(directory)
            ledger.put_all(unclaim(row) for row in self._outdated(ledger, epoch))
        if self._notification.restarts:
            ledger.start_time = None
        results = list(self._sends.results)
        finished = self._record_results(ledger)
        self._settle_doubts(ledger, now)
        self._services.planner.plan(self._notification, ledger, directory, now)
        kept = self._claim(ledger, finished, now, epoch)
        if self._opens_later(ledger):
            return self._opening_delay()
        await self._store(ledger, now)
        self._sends.recorded(results)
        for name, amount in finished.items():
            self._slots.recorded(name, finished=amount, kept=kept[name])
        self._launch(directory)
        return self._next_delay(ledger, now)

    async def _stand_by(self) -> float | None:
        """Record what became of our own claims, and leave everything else to the leader.

        Only the rows are written, and only while they carry these very claims: what the
        Notification comes to is for the leader to say.
        """
        self._slots.give_back_all()
        ledger = Ledger.load(self._notification.status)
        ledger.put_all(unclaim(row) for row in self._unlaunched(ledger))
        results = list(self._sends.results)
        finished = self._record_results(ledger)
        await self._store_rows(ledger)
        self._sends.recorded(results)
        for name, amount in finished.items():
            self._slots.recorded(name, finished=amount, kept=0)
        over = self._notification.finished or self._services.draining()
        return None if over and not self._sends.in_flight else LONGEST_SLEEP

    def _observe(self) -> None:
        """Take what the watch brought, unless it is older than what we wrote or read."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None and self._is_newer(incoming):
            self._notification, self._stored = incoming

    def _leave(self) -> float | None:
        """The object is gone: only what is being sent is waited for."""
        self._slots.give_back_all()
        return LONGEST_SLEEP if self._sends.in_flight else None

    def _record_results(self, ledger: Ledger) -> Counter[str]:
        """Apply outcomes to the rows that carry our claim; count them by processor."""
        finished: Counter[str] = Counter()
        for (processor, recipient, holder), result in self._sends.results.items():
            finished[processor] += 1
            row = ledger.rows.get((processor, recipient))
            if row is None or row.holder != holder:
                # Recorded by a write whose answer was lost, or taken over by another process.
                logger.info("an outcome was recorded before", extra=self._extra())
                continue
            policy = self._services.supervisor.policy(processor)
            ledger.put(
                record(row, result.outcome, policy=policy, now=result.moment, jitter=result.jitter)
            )
        return finished

    def _settle_doubts(self, ledger: Ledger, now: datetime) -> None:
        """Decide about claims of processes before this one."""
        for row in ledger.in_state(DeliveryState.CLAIMED):
            if not self._is_ours(row):
                policy = self._services.supervisor.policy(row.processor)
                jitter = random()  # noqa: S311 - spreads retries, guards nothing
                ledger.put(doubt(row, policy=policy, now=now, jitter=jitter))

    def _claim(
        self, ledger: Ledger, finished: Counter[str], now: datetime, epoch: int
    ) -> Counter[str]:
        """Claim ready rows with the slots at hand, apply for more, give back what is not needed.

        Returns
        -------
        Counter
            Slots of finished deliveries that the new claims use, by processor.
        """
        kept: Counter[str] = Counter()
        if not self._may_claim(ledger):
            self._slots.give_back_all()
            return kept
        severity = self._notification.spec.payload.severity
        for name in ledger.processors:
            ready = ledger.ready_rows(name, now)
            if not ready:
                self._slots.give_back(name)
                continue
            kept[name] = self._slots.exchange(name, finished=finished[name], wanted=len(ready))
            wanted = len(ready) - kept[name]
            slots = kept[name] + self._slots.obtain(name, wanted, severity=severity)
            holder = f"{epoch}/{self._holder}.{next(self._claims)}"
            ledger.put_all(claim(row, holder=holder, now=now) for row in ready[:slots])
        return kept

    def _may_claim(self, ledger: Ledger) -> bool:
        suspended = self._notification.spec.suspend
        return self._services.accepting() and ledger.verdict is None and not suspended

    def _opens_later(self, ledger: Ledger) -> bool:
        """Whether the first write is better made a little later, together with claims."""
        first = self._notification.status.revision == 0 and ledger.planned
        waits = self._slots.waiting and not ledger.in_state(DeliveryState.CLAIMED)
        return first and waits and self._opening_delay() > 0

    def _opening_delay(self) -> float:
        waited = asyncio.get_running_loop().time() - self._since
        return max(self._services.open_wait - waited, 0.0)

    async def _store(self, ledger: Ledger, now: datetime) -> None:
        """Write the status that records the ledger, if it differs from the stored one."""
        wanted = ledger.dump(
            generation=self._notification.metadata.generation,
            suspended=self._notification.spec.suspend,
            note=self._note(ledger),
            now=now,
        )
        wire = (minimal_status(wanted) if self._minimal else wanted).to_wire()
        patch = merge_patch(self._stored, wire)
        if not patch:
            return
        before = self._notification.status
        self._adopt(
            await self._services.cluster.patch_status(
                self.ref, patch, resource_version=self._notification.metadata.resource_version
            )
        )
        self._check_claims(ledger, wire)
        await self._announcer.announce(before, self._notification)

    async def _store_rows(self, ledger: Ledger) -> None:
        """Write the rows alone, if they differ from the stored ones."""
        status = self._notification.status
        rows = list(ledger.rows.values())
        if rows == status.deliveries:
            return
        wanted = status.model_copy(update={"deliveries": rows})
        wire = (minimal_status(wanted) if self._minimal else wanted).to_wire()
        self._adopt(
            await self._services.cluster.patch_status(
                self.ref,
                {"deliveries": wire["deliveries"]},
                resource_version=self._notification.metadata.resource_version,
            )
        )

    def _note(self, ledger: Ledger) -> str | None:
        """What the user should know though it stops nothing."""
        notes = [ttl_note(self._notification)]
        origin = self._notification.spec.origin
        if origin is not None and origin != ledger.origin:
            notes.append("spec.origin is ignored outside origins.trustedNamespaces")
        return "; ".join(note for note in notes if note) or None

    def _adopt(self, body: dict[str, Any]) -> None:
        """Take over an object as the API server answered it."""
        metadata = body["metadata"]
        if metadata["uid"] != self.ref.uid or "deletionTimestamp" in metadata:
            self._deleted = True
            return
        try:
            self._notification = Notification.model_validate(body)
        except ValidationError:
            # A laxer definition let an edit pass: what is under way is finished as it was.
            spec = self._notification.spec.model_dump(mode="json", by_alias=True)
            self._notification = Notification.model_validate({**body, "spec": spec})
        self._stored = body.get("status") or {}

    def _check_claims(self, ledger: Ledger, wire: dict[str, Any]) -> None:
        """Make sure that claims were stored with all that their record and revision need.

        An older definition prunes silently what it does not know.
        """
        if self._deleted or not ledger.in_state(DeliveryState.CLAIMED):
            return
        if not is_kept(wire, self._stored):
            raise StatusPruned(
                "the API server dropped fields of the status; are the CRDs of this release "
                "installed?"
            )
        self._pruned = False

    def _launch(self, directory: Directory) -> None:
        """Send every delivery that is claimed by us in the cluster and not under way.

        Only claims of the present epoch: between two of them another process may have led, and
        what we know of the rows may be old.
        """
        epoch = self._services.epoch()
        if self._deleted or epoch is None:
            return
        ledger = Ledger.load(self._notification.status)
        outdated = self._outdated(ledger, epoch)
        claimed = [row for row in self._unlaunched(ledger) if row not in outdated]
        if not claimed:
            return
        outbound = self._services.planner.outbound(self._notification, ledger)
        for name in dict.fromkeys(row.processor for row in claimed):
            rows = [row for row in claimed if row.processor == name]
            self._slots.used(name, len(rows))
            self._sends.launch(
                name, rows, outbound, directory, may_send=lambda: self._services.epoch() == epoch
            )

    def _unlaunched(self, ledger: Ledger) -> list[Delivery]:
        """Return rows with a claim of ours that was not acted upon, as its answer was lost."""
        return [
            row
            for row in ledger.in_state(DeliveryState.CLAIMED)
            if self._is_ours(row) and not self._sends.concerns(row)
        ]

    def _outdated(self, ledger: Ledger, epoch: int) -> list[Delivery]:
        """Return rows with a claim of ours, made under another epoch, that was not acted upon."""
        return [
            row
            for row in self._unlaunched(ledger)
            if not (row.holder or "").startswith(f"{epoch}/")
        ]

    def _next_delay(self, ledger: Ledger, decided: datetime) -> float | None:
        busy = self._sends.in_flight or self._sends.results
        if not busy:
            if self._notification.finished and self._incoming is None:
                return None
            if not self._services.accepting():
                return None if self._services.draining() else LONGEST_SLEEP
        deadline = self._services.planner.next_deadline(self._notification, ledger)
        moments = [row.next_attempt_time for row in ledger.rows.values()]
        return pause([*moments, deadline], decided=decided, now=datetime.now(UTC))

    async def _read_again(self) -> float:
        """After a conflict: read what is stored; the next step decides anew."""
        try:
            self._adopt(await self._services.cluster.get(self.ref))
        except NotFoundError:
            self._deleted = True
        except KubernetesError as error:
            logger.warning("could not read a Notification: %s", error, extra=self._extra())
            return self._back_off()
        return 0.0

    async def _refused(self, error: Exception) -> float:
        """The status cannot be stored: fall back to the states alone, then wait."""
        logger.error("a status was refused: %s", error, extra=self._extra())
        if self._minimal:
            # Nobody else shall wait for slots that this one cannot use.
            self._slots.let_go(Counter(processor for processor, *_ in self._sends.results))
            return REFUSED_DELAY
        self._minimal = True
        note = "the API server refused the full status; only the states are kept"
        if isinstance(error, StatusPruned):
            note = str(error)
        await self._announcer.warn("StatusRefused", "Record", note)
        return 0.0

    def _back_off(self) -> float:
        self._failures += 1
        return min(0.25 * 2.0 ** min(self._failures, 7), 30.0)

    def _is_ours(self, row: Delivery) -> bool:
        """Whether a claim is this runner's; one of an earlier runner is as doubtful as any."""
        _, _, holder = (row.holder or "").partition("/")
        return holder.startswith(f"{self._holder}.")

    def _is_newer(self, offered: tuple[Notification, dict[str, Any]] | None) -> bool:
        version = self._notification.metadata.version
        return offered is not None and offered[0].metadata.version > version

    @property
    def _is_edited(self) -> bool:
        """Whether the specification is newer than the status, and so than its claims."""
        notification = self._notification
        return notification.metadata.generation != notification.status.observed_generation

    def _extra(self) -> dict[str, str]:
        return {"notification": f"{self.ref.namespace}/{self.ref.name}", "uid": self.ref.uid}


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
