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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from ..api.errors import ConflictError, KubernetesError, NotFoundError, RejectedError
from ..api.notification import DeliveryState, Notification
from ..api.references import NOTIFICATIONS, ObjectRef
from ..catalog import Directory
from .announcer import Announcer
from .attempts import Attempts
from .ledger import INLINE_LIMIT, SHOWN_LIMIT, Ledger
from .merge_patch import is_kept, merge_patch
from .minimal import minimal_status
from .pauses import LONGEST_SLEEP, pause
from .planner import Planner
from .ports import Cluster, Recorder
from .sends import ClaimKey
from .sliced import Scene, SlicedWork
from .slices.book import Book, SlicePruned
from .supervisor import Supervisor
from .tally import Tally
from .ttl import ttl_note

logger = logging.getLogger(__name__)

RECORD_LINGER = 0.02
"""Seconds for which outcomes are gathered into one write while others are still out."""

SLICED_LINGER = 2.0
"""The same where slices hold the rows, unless enough of them have come (`ENOUGH`) before."""

ENOUGH = 0.75
"""Part of what is out whose outcomes are worth a write of a slice; the rest keeps senders busy."""

REFUSED_DELAY = 300.0
"""Seconds before a status that the API server will not store is tried again."""


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
        self._minimal = False
        self._pruned = False
        self._failures = 0
        self._since = asyncio.get_running_loop().time()
        self._wake = asyncio.Event()
        self._announcer = Announcer(services.recorder, self.ref)
        self._attempts = Attempts(
            self.ref,
            holder=services.holder,
            epoch=services.epoch,
            supervisor=services.supervisor,
            planner=services.planner,
            wake=self._wake.set,
        )
        self._sliced: SlicedWork | None = None

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
        if self._sliced is not None:
            self._sliced.poke()
        self._wake.set()

    async def run(self) -> None:
        """Work until the Notification is finished or deleted, or claims are not made any more."""
        try:
            while (delay := await self._attempt()) is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._wake.wait()
                await self._gather()
                self._wake.clear()
        finally:
            self._attempts.close()

    async def _gather(self) -> None:
        """Let outcomes come together before they are recorded, while others are still out."""
        sends = self._attempts.sends
        if not (sends.results and sends.in_flight):
            return
        if self._sliced is None:
            await asyncio.sleep(RECORD_LINGER)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(SLICED_LINGER):
                while not self._is_enough and self._incoming is None and not self._deleted:
                    self._wake.clear()
                    await self._wake.wait()

    @property
    def _is_enough(self) -> bool:
        sends = self._attempts.sends
        out = len(sends.results) + sends.in_flight
        return not sends.in_flight or len(sends.results) >= ENOUGH * out

    async def _attempt(self) -> float | None:
        """Do one step; return the seconds until the next, or ``None`` when all is done."""
        try:
            delay = await self._step()
        except ConflictError:
            self._sliced = None
            return await self._read_again()
        except NotFoundError:
            self._deleted = True
            return 0.0
        except (RejectedError, StatusPruned, SlicePruned) as error:
            self._sliced = None
            self._pruned = not isinstance(error, RejectedError)
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
        if self._services.epoch() is None:
            return await self._stand_by()
        directory = self._services.directory()
        if directory is None:
            return None if self._services.draining() else LONGEST_SLEEP
        now = _now()
        ledger = Ledger.load(self._notification.status)
        if self._notification.restarts:
            ledger.start_time = None
        if ledger.slices is not None:
            return await self._step_sliced(ledger, directory, now)
        return await self._step_inline(ledger, directory, now)

    async def _stand_by(self) -> float | None:
        """Record what became of our own claims, and leave everything else to the leader.

        Only rows are written, and only while they carry these very claims: what the Notification
        comes to is for the leader to say.
        """
        attempts = self._attempts
        attempts.slots.give_back_all()
        ledger = Ledger.load(self._notification.status)
        if ledger.slices is None:
            results = list(attempts.sends.results)
            finished = attempts.record(ledger, results)
            attempts.take_back(ledger)
            await self._store_rows(ledger)
            attempts.stored(results, finished, Counter())
        elif self._sliced is not None or attempts.sends.results:
            work = self._sliced or self._work_on(await self._list_slices())
            await work.stand_by()
            # Whatever the next leader makes of them, this process will read it.
            self._sliced = None
        over = self._notification.finished or self._services.draining()
        return None if over and not attempts.sends.in_flight else LONGEST_SLEEP

    def _observe(self) -> None:
        """Take what the watch brought, unless it is older than what we wrote or read."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None and self._is_newer(incoming):
            self._notification, self._stored = incoming

    def _leave(self) -> float | None:
        """The object is gone: only what is being sent is waited for."""
        self._attempts.slots.give_back_all()
        return LONGEST_SLEEP if self._attempts.sends.in_flight else None

    async def _step_inline(
        self, ledger: Ledger, directory: Directory, now: datetime
    ) -> float | None:
        """Do a step on a ledger that the status keeps, in one write."""
        attempts = self._attempts
        if self._is_edited or self._pruned:
            attempts.take_back(ledger)
        else:
            self._launch(directory)
        results = list(attempts.sends.results)
        finished = attempts.record(ledger, results)
        attempts.settle_doubts(ledger, now)
        self._services.planner.plan(self._notification, ledger, directory, now)
        if len(ledger.rows) > INLINE_LIMIT:
            return await self._move_to_slices(ledger, results, finished, now)
        kept = self._claim(ledger, finished, now)
        if self._opens_later(ledger):
            return self._opening_delay()
        await self._store(ledger, now)
        attempts.stored(results, finished, kept)
        self._launch(directory)
        moments = [row.next_attempt_time for row in ledger.rows.values()]
        deadline = self._services.planner.deadlines.next_deadline(self._notification, ledger)
        return self._next_delay([*moments, deadline], now)

    async def _step_sliced(
        self, ledger: Ledger, directory: Directory, now: datetime
    ) -> float | None:
        """Do a step on a ledger in slices; the status sums it up now and then."""
        if self._sliced is None:
            found = await self._read_book()
            if found is None:
                return 0.0
            self._sliced = self._work_on(found)
        work, notification = self._sliced, self._notification
        scene = Scene(
            notification=notification,
            ledger=ledger,
            directory=directory,
            now=now,
            claiming=self._may_claim(ledger) and not self._pruned,
        )
        if planned := work.plan_is_due(notification, ledger, now):
            take_back = self._is_edited or self._pruned
            ledger = await work.plan(scene, take_back=take_back)
            await self._store_sliced(work, ledger, now)
            scene = replace(scene, notification=self._notification, ledger=ledger)
            self._pruned = False
        if not (self._deleted or self._is_edited):
            ledger = await work.step(scene)
        if not work.book.is_open or (not planned and not work.report_delay):
            await self._store_sliced(work, ledger, now)
        moments = [work.book.next_due, work.deadline]
        delay = self._next_delay(moments, now)
        return delay if delay is None else min(delay, work.report_delay or LONGEST_SLEEP)

    async def _move_to_slices(
        self, ledger: Ledger, results: list[ClaimKey], finished: Counter[str], now: datetime
    ) -> float:
        """Write the rows into slices, and then let the status name those instead."""
        book = await self._read_book()
        if book is None:
            return 0.0
        generation = self._notification.metadata.generation
        await book.replace(ledger.rows, generation=generation)
        work = self._work_on(book)
        work.note_plan(self._notification, ledger)
        marks = replace(ledger, rows={}, slices=book.count)
        await self._store_sliced(work, marks, now)
        self._sliced = work
        self._attempts.stored(results, finished, Counter())
        return 0.0

    async def _read_book(self) -> Book | None:
        """Read the slices, and delete those that were never committed.

        Which are is decided by a status that was read after them: ``None`` if it is not the one
        at hand, so that the step must begin again from it.
        """
        book = await self._list_slices()
        version = self._notification.metadata.resource_version
        self._adopt(await self._services.cluster.get(self.ref))
        if self._deleted or self._notification.metadata.resource_version != version:
            return None
        await book.discard(Ledger.load(self._notification.status).slices or 0)
        return book

    async def _list_slices(self) -> Book:
        bodies = await self._services.cluster.list_slices(self.ref)
        return Book(self._services.cluster, self.ref, bodies)

    def _work_on(self, book: Book) -> SlicedWork:
        return SlicedWork(
            book,
            attempts=self._attempts,
            planner=self._services.planner,
            supervisor=self._services.supervisor,
        )

    def _claim(self, ledger: Ledger, finished: Counter[str], now: datetime) -> Counter[str]:
        """Claim ready rows, and give back the slots of processors that have none."""
        if not self._may_claim(ledger):
            self._attempts.slots.give_back_all()
            return Counter()
        for name in ledger.processors:
            if not ledger.ready_rows(name, now):
                self._attempts.slots.give_back(name)
        return self._attempts.claim(self._notification, ledger, finished, now)

    def _may_claim(self, ledger: Ledger) -> bool:
        suspended = self._notification.spec.suspend
        return self._services.accepting() and ledger.verdict is None and not suspended

    def _opens_later(self, ledger: Ledger) -> bool:
        """Whether the first write is better made a little later, together with claims."""
        first = self._notification.status.revision == 0 and ledger.planned
        waits = self._attempts.slots.waiting and not ledger.in_state(DeliveryState.CLAIMED)
        return first and waits and self._opening_delay() > 0

    def _opening_delay(self) -> float:
        waited = asyncio.get_running_loop().time() - self._since
        return max(self._services.open_wait - waited, 0.0)

    async def _store_sliced(self, work: SlicedWork, ledger: Ledger, now: datetime) -> None:
        """Write the status that sums up the slices and shows what needs attention."""
        shown = ledger.with_rows(work.book.shown(SHOWN_LIMIT))
        await self._store(shown, now, tally=work.book.tally)
        work.reported()

    async def _store(self, ledger: Ledger, now: datetime, *, tally: Tally | None = None) -> None:
        """Write the status that records the ledger, if it differs from the stored one."""
        tally = tally or Tally.of(ledger.rows.values())
        wanted = ledger.dump(
            generation=self._notification.metadata.generation,
            suspended=self._notification.spec.suspend,
            note=self._note(ledger),
            now=now,
            tally=tally,
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
        await self._announcer.announce(before, self._notification, tally)

    async def _store_rows(self, ledger: Ledger) -> None:
        """Write the rows that the status keeps, and nothing else, if they differ."""
        status = self._notification.status
        rows = [row.to_delivery() for row in ledger.rows.values()]
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
        if self._deleted or not (ledger.slices or ledger.in_state(DeliveryState.CLAIMED)):
            return
        if not is_kept(wire, self._stored):
            raise StatusPruned(
                "the API server dropped fields of the status; are the CRDs of this release "
                "installed?"
            )
        self._pruned = False

    def _launch(self, directory: Directory) -> None:
        """Send what the status says is claimed by us and not under way."""
        if not self._deleted:
            ledger = Ledger.load(self._notification.status)
            self._attempts.launch(self._notification, ledger, ledger.rows.values(), directory)

    def _next_delay(self, moments: list[datetime | None], decided: datetime) -> float | None:
        sends = self._attempts.sends
        if not (sends.in_flight or sends.results):
            if self._notification.finished and self._incoming is None:
                return None
            if not self._services.accepting():
                return None if self._services.draining() else LONGEST_SLEEP
        return pause(moments, decided=decided, now=datetime.now(UTC))

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
            results = self._attempts.sends.results
            self._attempts.slots.let_go(Counter(processor for processor, *_ in results))
            return REFUSED_DELAY
        self._minimal = True
        note = "the API server refused the full status; only the states are kept"
        if not isinstance(error, RejectedError):
            note = str(error)
        await self._announcer.warn("StatusRefused", "Record", note)
        return 0.0

    def _back_off(self) -> float:
        self._failures += 1
        return min(0.25 * 2.0 ** min(self._failures, 7), 30.0)

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
