"""The work on a ledger in slices: the same steps as on one in the status, slice by slice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ...api.notification import DeliveryState, Notification
from ...catalog import Directory
from ..dispatch.supervisor import Supervisor
from ..ledger.ledger import OPEN, UNSENT, Ahead, Ledger, give_up, taking_part
from ..ledger.rows import RowKey, lost
from ..ledger.summary import Obstacle
from ..planning.merge import late_processors
from ..planning.optouts import Answer
from ..planning.planner import Planner
from ..storage.slices.book import Book
from ..storage.slices.page import Page
from .attempts import Attempts
from .in_flight import ClaimKey, claim_key

PROGRESS_SECONDS = 5.0
"""The status sums up slices that are worked on at most this often."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What one step acts upon: the Notification, its marks, and the catalog at one moment."""

    notification: Notification
    ledger: Ledger
    directory: Directory
    now: datetime
    claiming: bool
    answer: Answer | None = None


@dataclass(frozen=True, kw_only=True)
class _Findings:
    """What the last plan found, and what it was made from."""

    generation: int
    redeliver: str | None
    waiting: Obstacle | None
    verdict: Obstacle | None
    deadline: datetime | None
    unsettled: bool


class SlicedWork:
    """Works on the slices of one Notification."""

    def __init__(
        self,
        book: Book,
        *,
        attempts: Attempts,
        planner: Planner,
        supervisor: Supervisor,
    ) -> None:
        self.book = book
        self._attempts = attempts
        self._planner = planner
        self._supervisor = supervisor
        self._found: _Findings | None = None
        self._planned: _Findings | None = None
        self._poked = False
        self._reported = asyncio.get_running_loop().time()

    @property
    def deadline(self) -> datetime | None:
        """When planning again could matter though nothing was seen to change."""
        return self._found.deadline if self._found else None

    def poke(self) -> None:
        """Something that a plan may depend on has changed."""
        self._poked = True

    def reported(self) -> None:
        """Note that the status sums up the slices, and says what the last plan found."""
        self._reported = asyncio.get_running_loop().time()
        if self._planned is not None:
            self._found, self._planned = self._planned, None

    @property
    def report_delay(self) -> float:
        """Seconds until the status shall sum up the slices again."""
        waited = asyncio.get_running_loop().time() - self._reported
        return max(PROGRESS_SECONDS - waited, 0.0)

    def plan_is_due(self, notification: Notification, ledger: Ledger, now: datetime) -> bool:
        """Whether the rows may have to change other than by being sent."""
        found = self._found
        if found is None:
            return True
        poked, self._poked = self._poked, False
        processors = [self._supervisor.get(name) for name in taking_part(ledger)]
        unsettled = found.unsettled or any(page.awaiting for page in self.book.pages)
        return (
            found.generation != notification.metadata.generation
            or found.redeliver != notification.redeliver
            or (found.deadline is not None and now >= found.deadline)
            or (poked and (unsettled or None in processors))
        )

    async def plan(self, scene: Scene, *, take_back: bool) -> Ledger:
        """Plan all rows anew and store those that change; return the marks to store then.

        Slices are written before the status, and say for which generation: what was written but
        not committed is planned again from what the user wants by then.
        """
        self._found = self._planned = None
        # A claim whose answer was lost must be seen here: after an edit it is of an old revision.
        await self.book.refresh()
        ledger, notification = scene.ledger, scene.notification
        missing = self.book.missing(ledger.slices or 0)
        full = ledger.with_rows(self.book.rows())
        full.ahead = Ahead(
            payload=self.book.newest_revision > ledger.revision,
            recipients=bool(missing)
            or self.book.newest_generation > notification.status.observed_generation,
        )
        if take_back:
            self._attempts.take_back(full)
        known = set(full.rows) if missing else set[RowKey]()
        self._planner.plan(notification, full, scene.directory, scene.now, answer=scene.answer)
        if missing:
            self._doubt_added(full, known, scene.now)
        generation = notification.metadata.generation
        await self.book.replace(full.rows, generation=generation, free=missing)
        self.note_plan(notification, full)
        return replace(full, rows={}, slices=self.book.count, ahead=Ahead())

    def note_plan(self, notification: Notification, full: Ledger) -> None:
        """Remember what a plan of all rows found, for when the status says it too."""
        self._planned = _Findings(
            generation=notification.metadata.generation,
            redeliver=notification.redeliver,
            waiting=full.waiting,
            verdict=full.verdict,
            deadline=self._planner.deadlines.next_deadline(notification, full),
            unsettled=bool(full.unresolved or full.waiting or late_processors(full)),
        )

    def unsent(self, processor: str) -> Iterator[str]:
        """Return whom a processor has still to send to."""
        for page in self.book.pages:
            if page.processor == processor and page.is_open:
                yield from (row.recipient for row in page.in_state(*OPEN))

    async def step(self, scene: Scene) -> Ledger:
        """Record, claim and send, slice by slice; return the marks as the last plan left them."""
        if self._found is not None:
            marks = replace(scene.ledger, waiting=self._found.waiting, verdict=self._found.verdict)
            scene = replace(scene, ledger=marks)
        await self.book.refresh()
        for page in self.book.pages:
            if page.claimed:
                await self._finish(page, scene)
        self._forget_recorded()
        await self._end_refused(scene)
        await self._claim(scene)
        return scene.ledger

    async def stand_by(self) -> None:
        """Record what became of our own claims, and decide nothing."""
        await self.book.refresh()
        for page in self.book.pages:
            if page.claimed:
                view = Ledger(rows={row.key: row for row in page.rows})
                claims = self._attempts.ended(page.rows)
                finished = self._attempts.record(view, claims)
                self._attempts.take_back(view)
                await self.book.write(page, list(view.rows.values()))
                self._attempts.stored(claims, finished, Counter())
        self._forget_recorded()

    async def _finish(self, page: Page, scene: Scene) -> None:
        """Deal with the claims of one slice: those that ended, and those nobody acts upon."""
        self._attempts.launch(scene.notification, scene.ledger, page.rows, scene.directory)
        claims = self._attempts.ended(page.rows)
        if claims or self._attempts.doubtful(page.rows) or self._attempts.outdated(page.rows):
            await self._work(page, scene, claims)

    async def _end_refused(self, scene: Scene) -> None:
        """End what is left of a message that was refused, slice by slice."""
        self._attempts.sends.refused.mark(scene.ledger)
        for page in self.book.pages:
            selection = scene.ledger.processors.get(page.processor)
            if selection is not None and selection.message_refused and page.in_state(*UNSENT):
                await self._work(page, scene, ())

    async def _claim(self, scene: Scene) -> None:
        """Claim what is ready in the slices' order, with the slots at hand."""
        for name in scene.ledger.processors:
            waiting = False
            pages = [page for page in self.book.pages if page.processor == name]
            for page in self._attempts.in_order(name, pages, scene.now):
                if not page.is_ready(scene.now) or waiting:
                    continue
                if scene.claiming:
                    await self._work(page, scene, ())
                waiting = page.is_ready(scene.now)
            if not (waiting and scene.claiming):
                self._attempts.slots.give_back(name)

    async def _work(self, page: Page, scene: Scene, claims: Sequence[ClaimKey]) -> None:
        """Bring one slice a write nearer to what is wanted."""
        view = scene.ledger.with_rows(page.rows)
        finished = self._attempts.record(view, claims)
        self._attempts.settle_doubts(view, scene.now)
        if view.verdict is None:
            deadlines = self._planner.deadlines
            deadlines.settle_rows(scene.notification, view, scene.directory, scene.now)
        else:
            give_up(view, view.verdict)
        kept: Counter[str] = Counter()
        if scene.claiming:
            kept = self._attempts.claim(scene.notification, view, finished, scene.now)
        await self.book.write(page, list(view.rows.values()))
        self._attempts.stored(claims, finished, kept)
        self._attempts.launch(scene.notification, scene.ledger, page.rows, scene.directory)

    def _forget_recorded(self) -> None:
        """Forget outcomes whose claims are gone: recorded by a write whose answer was lost."""
        claimed = {
            claim_key(row)
            for page in self.book.pages
            if page.claimed
            for row in page.in_state(DeliveryState.CLAIMED)
        }
        gone = [key for key in self._attempts.sends.results if key not in claimed]
        finished = Counter(processor for processor, *_ in gone)
        self._attempts.stored(gone, finished, Counter())

    def _doubt_added(self, full: Ledger, known: set[RowKey], now: datetime) -> None:
        """Doubt the rows that stand for those of slices that somebody deleted."""
        for key, row in list(full.rows.items()):
            if key not in known and row.state is DeliveryState.PENDING:
                full.put(lost(row, policy=self._supervisor.policy(row.processor), now=now))
