"""The attempts of one Notification: claims rows, sends them, and records what became of them.

It works on whatever part of the ledger it is given; storing that part is the caller's.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import count
from random import random, randrange

from ...api.notification import DeliveryState, Notification
from ...api.references import ObjectRef
from ...catalog import Directory
from ..dispatch.channel import Channel
from ..dispatch.supervisor import Supervisor
from ..ledger.ledger import Ledger, is_ready
from ..ledger.rows import Row, claim, doubt, record, unclaim
from ..planning.planner import Planner
from ..storage.slices.page import Page
from .in_flight import ClaimKey, Sends, claim_key
from .slots import Slots

logger = logging.getLogger(__name__)

_numbers = count(1)


class Attempts:
    """Claims, sends and outcomes of one Notification in this process.

    A claim's holder is the epoch it was made under, ``holder``, which no other process has, and
    numbers. Claims of an epoch that has ended are recorded, but never acted upon: another process
    may have led since, and what we know of the rows may be old.
    """

    def __init__(
        self,
        ref: ObjectRef,
        *,
        holder: str,
        epoch: Callable[[], int | None],
        supervisor: Supervisor,
        planner: Planner,
        wake: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._planner = planner
        self._holder = f"{holder}/{next(_numbers)}"
        self._epoch = epoch
        self._claims = count(1)
        self._uid = ref.uid
        self._extra = {"notification": f"{ref.namespace}/{ref.name}", "uid": ref.uid}
        self.sends = Sends(supervisor, wake=wake)
        self.slots = Slots(supervisor, uid=ref.uid, namespace=ref.namespace, wake=wake)

    def close(self) -> None:
        """Stop sends that are still under way, and give back all slots."""
        self.sends.abandon()
        self.slots.close()

    def let_slots_go(self) -> None:
        """Let nobody else wait for slots while nothing can be claimed or recorded."""
        self.slots.let_go(Counter(processor for processor, *_ in self.sends.results))

    def unlaunched(self, rows: Iterable[Row]) -> list[Row]:
        """Return rows with a claim of ours that was not acted upon, as its answer was lost."""
        return [
            row
            for row in rows
            if row.state is DeliveryState.CLAIMED
            and self.is_ours(row)
            and not self.sends.concerns(row)
        ]

    def outdated(self, rows: Iterable[Row]) -> list[Row]:
        """Return rows with a claim of ours that was not acted upon before its epoch ended."""
        epoch = self._epoch()
        return [row for row in self.unlaunched(rows) if not _is_of(row, epoch)]

    def doubtful(self, rows: Iterable[Row]) -> list[Row]:
        """Return rows with a claim of another process."""
        return [row for row in rows if row.state is DeliveryState.CLAIMED and not self.is_ours(row)]

    def take_back(self, ledger: Ledger) -> None:
        """Take back claims that were not acted upon."""
        ledger.put_all(unclaim(row) for row in self.unlaunched(ledger.rows.values()))

    def record(self, ledger: Ledger, claims: Iterable[ClaimKey]) -> Counter[str]:
        """Apply the outcomes of some claims to the rows that carry them; count by processor.

        What was refused for its message is marked on the ledger.
        """
        finished: Counter[str] = Counter()
        for key in claims:
            processor, recipient, holder = key
            finished[processor] += 1
            row = ledger.rows.get((processor, recipient))
            if row is None or row.holder != holder:
                # Recorded by a write whose answer was lost, or taken over by another process.
                logger.info("an outcome was recorded before", extra=self._extra)
                continue
            result = self.sends.results[key]
            policy = self._supervisor.policy(processor)
            ledger.put(
                record(row, result.outcome, policy=policy, now=result.moment, jitter=result.jitter)
            )
        self.sends.refused.mark(ledger)
        return finished

    def settle_doubts(self, ledger: Ledger, now: datetime) -> None:
        """Decide about claims of processes before this one, and of epochs before the present."""
        ledger.put_all(unclaim(row) for row in self.outdated(ledger.rows.values()))
        for row in self.doubtful(ledger.rows.values()):
            policy = self._supervisor.policy(row.processor)
            jitter = random()  # noqa: S311 - spreads retries, guards nothing
            ledger.put(doubt(row, policy=policy, now=now, jitter=jitter))

    def claim(
        self, notification: Notification, ledger: Ledger, finished: Counter[str], now: datetime
    ) -> Counter[str]:
        """Claim ready rows with the slots at hand, and apply for more.

        Returns
        -------
        Counter
            Slots of finished deliveries that the new claims use, by processor.
        """
        kept: Counter[str] = Counter()
        epoch = self._epoch()
        if epoch is None:
            return kept
        severity = notification.spec.payload.severity
        for name in ledger.processors:
            ready = ledger.ready_rows(name, now)
            if not ready:
                continue
            ready, last = self._choose(name, ready)
            kept[name] = self.slots.exchange(name, finished=finished[name], wanted=len(ready))
            wanted = len(ready) - kept[name]
            slots = kept[name] + self.slots.obtain(name, wanted, severity=severity, last=last)
            holder = f"{epoch}/{self._holder}.{next(self._claims)}"
            ledger.put_all(claim(row, holder=holder, now=now) for row in ready[:slots])
        return kept

    def in_order(self, processor: str, pages: Sequence[Page], now: datetime) -> Sequence[Page]:
        """Return the slices of a processor in the order in which they are worked on.

        That is their own, unless some of their deliveries go after all others.
        """
        channel = self._supervisor.get(processor)
        if not pages or channel is None or not channel.health.is_troubled_by(self._uid):
            return pages
        start = randrange(len(pages)) if channel.health.is_probing else 0  # noqa: S311 - see choose
        turned = [*pages[start:], *pages[:start]]
        return sorted(turned, key=lambda page: self._goes_last(channel, page, now))

    def _goes_last(self, channel: Channel, page: Page, now: datetime) -> bool:
        """Whether all that is ready in a slice goes after all others."""
        return page.is_ready(now) and all(
            channel.health.is_doubtful((self._uid, row.recipient))
            for row in page.rows
            if is_ready(row, now)
        )

    def _choose(self, processor: str, ready: list[Row]) -> tuple[list[Row], bool]:
        """Return which ready rows go first, and whether after those of other Notifications."""
        channel = self._supervisor.get(processor)
        return channel.health.choose(self._uid, ready) if channel else (ready, False)

    def stored(
        self, claims: Iterable[ClaimKey], finished: Counter[str], kept: Counter[str]
    ) -> None:
        """Note that outcomes were stored, together with new claims."""
        self.sends.recorded(list(claims))
        for name, amount in finished.items():
            self.slots.recorded(name, finished=amount, kept=kept[name])

    def launch(
        self, notification: Notification, ledger: Ledger, rows: Iterable[Row], directory: Directory
    ) -> None:
        """Send every delivery that is claimed by us in the cluster and not under way."""
        epoch = self._epoch()
        claimed = [row for row in self.unlaunched(rows) if _is_of(row, epoch)]
        if not claimed or epoch is None:
            return
        self.sends.refused.mark(ledger)
        outbound = self._planner.outbound(notification, ledger)
        for name in dict.fromkeys(row.processor for row in claimed):
            part = [row for row in claimed if row.processor == name]
            self.slots.used(name, len(part))
            self.sends.launch(
                name,
                part,
                outbound,
                directory,
                may_send=lambda: self._epoch() == epoch,
                epoch=epoch,
            )

    def is_ours(self, row: Row) -> bool:
        """Whether a claim is this runner's; one of an earlier runner is as doubtful as any."""
        _, _, holder = (row.holder or "").partition("/")
        return holder.startswith(f"{self._holder}.")

    def ended(self, rows: Iterable[Row]) -> list[ClaimKey]:
        """Return the claims of rows whose outcome is known and not recorded."""
        keys = [claim_key(row) for row in rows if row.state is DeliveryState.CLAIMED]
        return [key for key in keys if key in self.sends.results]


def _is_of(row: Row, epoch: int | None) -> bool:
    """Whether a row's claim was made under an epoch."""
    return (row.holder or "").startswith(f"{epoch}/")
