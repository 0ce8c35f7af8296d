"""One Notification at work: the only writer of its status.

Each step derives the wanted status from the stored one, so a write that fails leaves nothing to
undo: the step is done again from what is stored then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ...api.errors import KubernetesError, NotFoundError, UnavailableError
from ...api.notification import DeliveryState, Notification
from ...api.references import ObjectRef
from ...api.resource import ObjectMeta
from ...catalog import Directory
from ...processors.preferences import PreferenceSource
from ..dispatch.supervisor import Supervisor
from ..ledger.ledger import INLINE_LIMIT, SHOWN_LIMIT, Ledger
from ..planning.changes import is_postponed
from ..planning.optouts import Answer, PreferencesNeeded, ask
from ..planning.planner import Planner
from ..ports import Cluster, Recorder
from ..storage.left_alone import LeftAlone
from ..storage.newer_format import NewerFormatError
from ..storage.slices.book import Book, SlicePruned
from ..storage.slices.page import Page
from ..storage.stored import StatusPruned, Stored
from ..wakeup import LONGEST_SLEEP, pause
from .attempts import Attempts
from .failures import Failures
from .in_flight import ClaimKey
from .sliced import Scene, SlicedWork

RECORD_LINGER = 0.02
"""Seconds for which outcomes are gathered into one write while others are still out."""

SLICED_LINGER = 2.0
"""The same where slices hold the rows, unless enough of them have come (`ENOUGH`) before."""

ENOUGH = 0.9
"""Part of what is out whose outcomes are worth a write of a slice; the rest keeps senders busy."""

SLICE_RECHECK = 10.0
"""Seconds between looks at a slice that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """Objects that all runners share.

    ``holder`` is a name that no other process has. ``epoch`` stands before it in claims: the
    acquisition of the Lease they were made under, or ``None`` while another process leads.
    ``directory`` is ``None`` until the catalog was read once; ``accepting`` says whether new
    claims may be made, and ``draining`` whether they never will be again. ``preferences`` knows
    what users want, if anybody does. ``left_alone`` keeps account of what cannot be read.
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
    left_alone: LeftAlone
    preferences: PreferenceSource | None = None


class Runner:
    """Drives one Notification until nothing more can happen to it on its own."""

    def __init__(
        self, notification: Notification, status: dict[str, Any], services: Services
    ) -> None:
        self._services = services
        self._stored = Stored(
            notification, status, cluster=services.cluster, recorder=services.recorder
        )
        self.ref = self._stored.ref
        self._since = asyncio.get_running_loop().time()
        self._wake = asyncio.Event()
        self._attempts = Attempts(
            self.ref,
            holder=services.holder,
            epoch=self._epoch,
            supervisor=services.supervisor,
            planner=services.planner,
            wake=self._wake.set,
        )
        self._failures = Failures(self._stored, self._attempts)
        self._sliced: SlicedWork | None = None
        self._answer: Answer | None = None
        self._unreadable_slice: ObjectRef | None = None

    @property
    def notification(self) -> Notification:
        """The Notification as it was last seen or written."""
        return self._stored.notification

    @property
    def deleted(self) -> bool:
        """Whether the object is gone, or about to be."""
        return self._stored.deleted

    @property
    def unseen(self) -> tuple[Notification, dict[str, Any]] | None:
        """A newer version that came too late to be looked at."""
        return self._stored.unseen

    def offer(self, notification: Notification, status: dict[str, Any]) -> None:
        """Take a newer version of the object."""
        self._stored.offer(notification, status)
        self._wake.set()

    def offer_unreadable(self, metadata: ObjectMeta, problem: str, *, over: bool) -> bool:
        """Leave the object alone from now on; False if a newer version is known."""
        self._wake.set()
        return self._stored.offer_unreadable(metadata, problem, over=over)

    def cancel(self) -> None:
        """The object is being deleted: send nothing more."""
        self._stored.deleted = True
        self._wake.set()

    def poke(self) -> None:
        """Something that the Notification may wait for has changed."""
        if self._sliced is not None:
            self._sliced.poke()
        self._wake.set()

    def unsent(self, processor: str) -> Iterator[str]:
        """Return whom a processor has still to send the Notification to, as far as is known.

        One that is suspended may never be sent.
        """
        if self.notification.spec.suspend:
            return iter(())
        return (self._sliced or self._stored).unsent(processor)

    async def run(self) -> None:
        """Work until the Notification is finished or deleted, or claims are not made any more."""
        try:
            while (delay := await self._attempt()) is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._wait()
                await self._gather()
                self._wake.clear()
        finally:
            self._attempts.close()

    async def _wait(self) -> None:
        """Wait for something to do; after a failure slots and outcomes are none, only news are.

        Otherwise a step that fails and wakes its own runner would go round without a pause.
        """
        await self._wake.wait()
        while self._failures.count and not (
            self._stored.has_news or self.deleted or self._services.draining()
        ):
            self._wake.clear()
            await self._wake.wait()

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
                while not self._is_enough and not self._stored.has_news and not self.deleted:
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
        except PreferencesNeeded as needed:
            return await self._ask(needed)
        except NewerFormatError as error:
            self._sliced, self._unreadable_slice = None, error.ref
            self._services.left_alone.note(self.ref, str(error), in_slice=True)
            return self._leave_alone()
        except (KubernetesError, StatusPruned, SlicePruned) as error:
            if not isinstance(error, UnavailableError):
                self._sliced = None
            return await self._failures.handle(error)
        self._failures.clear()
        return delay

    async def _ask(self, needed: PreferencesNeeded) -> float:
        """Ask what users want; the next step, from what is stored then, plans with the answer."""
        assert self._services.preferences is not None
        self._answer = await ask(self._services.preferences, needed.question)
        if self._sliced is not None:
            self._sliced.poke()
        return 0.0

    async def _step(self) -> float | None:
        """Bring the cluster one write nearer to what is wanted."""
        self._stored.observe()
        if self.deleted:
            return self._leave()
        if self._stored.unreadable is not None:
            if not self._stored.over:
                self._services.left_alone.note(self.ref, self._stored.unreadable)
            return self._leave_alone()
        await self._look_at_slice()
        self._services.left_alone.forget(self.ref.uid)
        if self._services.epoch() is None:
            return await self._stand_by()
        directory = self._services.directory()
        if directory is None:
            return None if self._services.draining() else LONGEST_SLEEP
        now = _now()
        ledger = Ledger.load(self.notification.status)
        if self.notification.restarts:
            ledger.start_time = None
        # An answer is good for the one step after it was asked for.
        answer, self._answer = self._answer, None
        if ledger.slices is not None:
            return await self._step_sliced(ledger, directory, now, answer)
        return await self._step_inline(ledger, directory, now, answer)

    async def _stand_by(self) -> float | None:
        """Record what became of our own claims, and leave everything else to the leader.

        Only rows are written, and only while they carry these very claims: what the Notification
        comes to is for the leader to say.
        """
        attempts = self._attempts
        attempts.slots.give_back_all()
        ledger = Ledger.load(self.notification.status)
        if ledger.slices is None:
            results = list(attempts.sends.results)
            finished = attempts.record(ledger, results)
            attempts.take_back(ledger)
            await self._stored.write_rows(ledger)
            attempts.stored(results, finished, Counter())
        elif self._sliced is not None or attempts.sends.results:
            work = self._sliced or self._work_on(await self._list_slices())
            await work.stand_by()
            # Whatever the next leader makes of them, this process will read it.
            self._sliced = None
        over = self.notification.finished or self._services.draining()
        return None if over and not attempts.sends.in_flight else LONGEST_SLEEP

    def _leave(self) -> float | None:
        """The object is gone: only what is being sent is waited for."""
        self._attempts.slots.give_back_all()
        return LONGEST_SLEEP if self._attempts.sends.in_flight else None

    def _epoch(self) -> int | None:
        """Return the epoch to claim and send under: none while the object is left alone."""
        alone = self._stored.unreadable is not None or self._unreadable_slice is not None
        return None if alone else self._services.epoch()

    async def _look_at_slice(self) -> None:
        """Look again at the slice that could not be read, if one could not: none is watched."""
        if self._unreadable_slice is not None:
            with suppress(NotFoundError):
                Page(await self._services.cluster.get(self._unreadable_slice))
            self._unreadable_slice = None

    def _leave_alone(self) -> float | None:
        """Do nothing but wait; what is being sent ends, and is recorded once all can be read.

        Nothing is kept waiting for a status that cannot be read: its next version is offered anew.
        """
        sends = self._attempts.sends
        self._attempts.let_slots_go()
        if sends.in_flight:
            return LONGEST_SLEEP
        if self._unreadable_slice is None:
            idle = self._stored.over or not sends.results
            return None if idle or self._services.draining() else LONGEST_SLEEP
        self._failures.count += 1
        return None if self._services.draining() else SLICE_RECHECK

    async def _step_inline(
        self, ledger: Ledger, directory: Directory, now: datetime, answer: Answer | None
    ) -> float | None:
        """Do a step on a ledger that the status keeps, in one write."""
        attempts = self._attempts
        if self._stored.is_edited or self._stored.pruned:
            attempts.take_back(ledger)
        else:
            self._launch(directory)
        results = list(attempts.sends.results)
        finished = attempts.record(ledger, results)
        attempts.settle_doubts(ledger, now)
        self._services.planner.plan(self.notification, ledger, directory, now, answer=answer)
        if len(ledger.rows) > INLINE_LIMIT:
            return await self._move_to_slices(ledger, results, finished, now)
        kept = self._claim(ledger, finished, now)
        if self._opens_later(ledger):
            return self._opening_delay()
        await self._stored.write(ledger, now)
        attempts.stored(results, finished, kept)
        self._launch(directory)
        moments = [row.next_attempt_time for row in ledger.rows.values()]
        deadline = self._services.planner.deadlines.next_deadline(self.notification, ledger)
        return self._next_delay([*moments, deadline], now)

    async def _step_sliced(
        self, ledger: Ledger, directory: Directory, now: datetime, answer: Answer | None
    ) -> float | None:
        """Do a step on a ledger in slices; the status sums it up now and then."""
        if self._sliced is None:
            found = await self._read_book()
            if found is None:
                return 0.0
            self._sliced = self._work_on(found)
        work, notification = self._sliced, self.notification
        scene = Scene(
            notification=notification,
            ledger=ledger,
            directory=directory,
            now=now,
            claiming=self._may_claim(ledger) and not self._stored.pruned,
            answer=answer,
        )
        if planned := work.plan_is_due(notification, ledger, now):
            pruned = self._stored.pruned
            take_back = self._stored.is_edited or pruned
            ledger = await work.plan(scene, take_back=take_back)
            await self._store_sliced(work, ledger, now)
            scene = replace(
                scene,
                notification=self.notification,
                ledger=ledger,
                claiming=self._may_claim(ledger) and not pruned,
            )
            self._stored.pruned = False
        if not (self.deleted or self._stored.is_edited):
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
        generation = self.notification.metadata.generation
        await book.replace(ledger.rows, generation=generation)
        work = self._work_on(book)
        work.note_plan(self.notification, ledger)
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
        version = self.notification.metadata.resource_version
        await self._stored.read()
        if self.deleted or self._stored.unreadable is not None:
            return None
        if self.notification.metadata.resource_version != version:
            return None
        await book.discard(Ledger.load(self.notification.status).slices or 0)
        return book

    async def _list_slices(self) -> Book:
        try:
            bodies = await self._services.cluster.list_slices(self.ref)
        except NotFoundError as error:
            # The definition is missing. A Notification that is deleted is the watch's news.
            raise UnavailableError(str(error)) from error
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
        return self._attempts.claim(self.notification, ledger, finished, now)

    def _may_claim(self, ledger: Ledger) -> bool:
        suspended = self.notification.spec.suspend
        may = self._services.accepting() and ledger.verdict is None and not suspended
        return may and not is_postponed(ledger)

    def _opens_later(self, ledger: Ledger) -> bool:
        """Whether the first write is better made a little later, together with claims."""
        first = self.notification.status.revision == 0 and ledger.planned
        waits = self._attempts.slots.waiting and not ledger.in_state(DeliveryState.CLAIMED)
        return first and waits and self._opening_delay() > 0

    def _opening_delay(self) -> float:
        waited = asyncio.get_running_loop().time() - self._since
        return max(self._services.open_wait - waited, 0.0)

    async def _store_sliced(self, work: SlicedWork, ledger: Ledger, now: datetime) -> None:
        """Write the status that sums up the slices and shows what needs attention."""
        shown = ledger.with_rows(work.book.shown(SHOWN_LIMIT))
        await self._stored.write(shown, now, tally=work.book.tally)
        work.reported()

    def _launch(self, directory: Directory) -> None:
        """Send what the status says is claimed by us and not under way."""
        if not self.deleted:
            ledger = Ledger.load(self.notification.status)
            self._attempts.launch(self.notification, ledger, ledger.rows.values(), directory)

    def _next_delay(self, moments: list[datetime | None], decided: datetime) -> float | None:
        sends = self._attempts.sends
        if not (sends.in_flight or sends.results):
            if self.notification.finished and not self._stored.has_news:
                return None
            if not self._services.accepting():
                return None if self._services.draining() else LONGEST_SLEEP
        return pause(moments, decided=decided, now=datetime.now(UTC))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
