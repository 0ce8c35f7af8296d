"""The ledger of one Notification: its rows and marks, and how its status says them.

The rows are in the status while they are few, else in slices (`delivery.storage.slices`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ...api.conditions import Condition, ConditionType, find_condition
from ...api.notification import (
    DeliveryState,
    LedgerStatus,
    NotificationStatus,
    RecipientsStatus,
    Unresolved,
)
from ...api.reasons import Reason
from .rows import Row, RowKey, awaits_user, end
from .summary import Obstacle, Progress, conditions, judge, summarize_processor
from .tally import Tally

ROW_LIMIT = 1_000_000
"""Most rows of one Notification (recipients times processors)."""

INLINE_LIMIT = 100
"""Most rows that the status itself keeps; more go into slices (DESIGN section 3)."""

SHOWN_LIMIT = 100
"""Most rows of slices that the status shows: those that need attention."""

LONGEST_WAIT = timedelta(hours=24)
"""For how long a Notification waits for a first processor or a first user in the catalog."""

UNRESOLVED_LIMIT = 100
"""Most unresolved refs that are named; the count is exact."""

INLINE = "Inline"
"""``status.ledger.type`` of a ledger in the status itself."""

SLICES = "Slices"
"""``status.ledger.type`` of a ledger in slices."""

ANY_RECIPIENT = "*"
"""Recipient of the one row that stands for a processor which cannot name its targets yet."""

UNSENT = (DeliveryState.PENDING, DeliveryState.RETRYING)
"""States of rows that are still to be sent and not claimed."""

OPEN = (*UNSENT, DeliveryState.CLAIMED)
"""States of rows that have not ended."""

ENDED_PARTS = frozenset({str(Reason.FILTERED), str(Reason.CANCELLED)})
"""Reasons of a processor of the snapshot that takes no part in sending."""

_REFUSALS = frozenset(map(str, Reason)) - ENDED_PARTS


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One processor of the snapshot.

    It has a reason if it takes no part (`ENDED_PARTS`), or if the other side refused the message
    itself, so that what is left of the processor's deliveries ends. The reply's codes are not
    stored: they are known only to the process that met with the refusal.
    """

    name: str
    reason: str | None = None
    message: str | None = None
    code: int | None = None
    enhanced_code: str | None = None

    @property
    def message_refused(self) -> bool:
        """Whether the other side refused the message itself."""
        return self.reason in _REFUSALS


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """Edits that slices were written for, but that were not committed."""

    payload: bool = False
    recipients: bool = False


@dataclass(kw_only=True)
class Ledger:
    """All that is known of a Notification's deliveries.

    It is loaded from what is stored, changed, and dumped into what to store; it has no memory of
    its own, so a write that fails leaves nothing to undo.

    ``slices`` is how many slices hold the rows, ``None`` while the status does. ``ahead`` says
    which edits slices were written for that the status does not know yet: they are planned again.
    """

    revision: int = 0
    redelivery: int = 0
    payload_digest: str | None = None
    recipients_digest: str | None = None
    last_redeliver: str | None = None
    origin: str | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None
    users: int = 0
    unresolved: list[str] = field(default_factory=list)
    unresolved_count: int = 0
    processors: dict[str, Selection] = field(default_factory=dict)
    rows: dict[RowKey, Row] = field(default_factory=dict)
    conditions: list[Condition] = field(default_factory=list)
    waiting: Obstacle | None = None
    verdict: Obstacle | None = None
    remarks: list[str] | None = None
    slices: int | None = None
    ahead: Ahead = field(default_factory=Ahead)

    @classmethod
    def load(cls, status: NotificationStatus) -> Ledger:
        """Read the ledger from a stored status."""
        recipients = status.recipients or RecipientsStatus()
        unresolved = recipients.unresolved or Unresolved()
        stored = status.ledger or LedgerStatus()
        sliced = stored.type == SLICES
        return cls(
            revision=status.revision,
            redelivery=status.redelivery,
            payload_digest=status.payload_digest,
            recipients_digest=status.recipients_digest,
            last_redeliver=status.last_redeliver,
            origin=status.origin,
            start_time=status.start_time,
            completion_time=status.completion_time,
            users=recipients.users,
            unresolved=list(unresolved.refs),
            unresolved_count=unresolved.count,
            processors={
                item.name: Selection(name=item.name, reason=item.reason, message=item.message)
                for item in status.processors
            },
            rows={} if sliced else {item.key: Row.of(item) for item in status.deliveries},
            conditions=list(status.conditions),
            slices=stored.slices or 0 if sliced else None,
        )

    @property
    def planned(self) -> bool:
        """Whether recipients and processors are settled."""
        return self.revision > 0

    def rows_of(self, processor: str) -> list[Row]:
        """Return one processor's rows in their order."""
        return [row for row in self.rows.values() if row.processor == processor]

    def ready_rows(self, processor: str, now: datetime) -> list[Row]:
        """Return one processor's rows that may be claimed now."""
        return [row for row in self.rows_of(processor) if is_ready(row, now)]

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its key where it stands."""
        self.rows[row.key] = row

    def put_all(self, rows: Iterable[Row]) -> None:
        """Add or replace rows."""
        for row in rows:
            self.put(row)

    def resolved_since(self) -> Condition | None:
        """Return the condition that says since when refs have been unknown."""
        return find_condition(self.conditions, ConditionType.RECIPIENTS_RESOLVED)

    def in_state(self, *states: DeliveryState) -> list[Row]:
        """Return the rows in some states."""
        return [row for row in self.rows.values() if row.state in states]

    def with_rows(self, rows: Iterable[Row]) -> Ledger:
        """Return a ledger with the same marks and other rows."""
        return replace(self, rows={row.key: row for row in rows})

    def progress(self, tally: Tally, *, suspended: bool, note: str | None) -> Progress:
        """Return what state and conditions are derived from."""
        return Progress(
            tally=tally,
            planned=self.planned,
            users=self.users,
            suspended=suspended,
            waiting=self.waiting,
            verdict=self.verdict,
            recipients=self._recipients_obstacle(),
            remarks=self.remarks,
            note=note,
        )

    def dump(
        self,
        *,
        generation: int,
        suspended: bool,
        note: str | None,
        now: datetime,
        tally: Tally | None = None,
    ) -> NotificationStatus:
        """Return the status that records the ledger.

        Parameters
        ----------
        tally
            What all rows add up to, if they are in slices; the ledger's own rows are then those
            to be shown.
        """
        tally = tally or Tally.of(self.rows.values())
        progress = self.progress(tally, suspended=suspended, note=note)
        verdict = judge(progress)
        completed = (self.completion_time or now) if verdict.complete else None
        named = self.unresolved[:UNRESOLVED_LIMIT]
        unresolved = Unresolved(count=self.unresolved_count, refs=named) if named else None
        return NotificationStatus(
            observed_generation=generation,
            revision=self.revision,
            redelivery=self.redelivery,
            payload_digest=self.payload_digest,
            recipients_digest=self.recipients_digest,
            last_redeliver=self.last_redeliver,
            state=verdict.state,
            summary=verdict.summary,
            reason=verdict.reason,
            origin=self.origin,
            start_time=self.start_time or now,
            completion_time=completed,
            ledger=LedgerStatus(
                type=INLINE if self.slices is None else SLICES,
                revision=self.revision,
                slices=self.slices,
            ),
            recipients=RecipientsStatus(users=self.users, unresolved=unresolved),
            processors=[
                summarize_processor(item.name, tally, reason=item.reason, message=item.message)
                for item in self.processors.values()
            ],
            deliveries=[row.to_delivery() for row in self.rows.values()],
            conditions=conditions(
                progress, verdict, old=self.conditions, generation=generation, now=now
            ),
        )

    def _recipients_obstacle(self) -> Obstacle | None:
        if self.unresolved:
            shown = ", ".join(self.unresolved[:10])
            more = self.unresolved_count - min(len(self.unresolved), 10)
            suffix = f" and {more} more" if more > 0 else ""
            return Obstacle(
                reason="UnknownEntities", message=f"the catalog does not know {shown}{suffix}"
            )
        obstacle = self.verdict or self.waiting
        if self.planned or obstacle is None or obstacle.denied:
            return None
        return obstacle if obstacle.reason in _ABOUT_RECIPIENTS else None


_ABOUT_RECIPIENTS = frozenset({"CatalogEmpty", "UnknownEntities", "PolicyDenied", "TooLarge"})


def is_ready(row: Row, now: datetime) -> bool:
    """Whether a row may be claimed now."""
    if row.recipient == ANY_RECIPIENT:
        return False
    if row.state is DeliveryState.RETRYING:
        return row.next_attempt_time is None or row.next_attempt_time <= now
    return row.state is DeliveryState.PENDING and not awaits_user(row)


def taking_part(ledger: Ledger) -> list[str]:
    """Return the processors of the snapshot that send."""
    return [item.name for item in ledger.processors.values() if item.reason not in ENDED_PARTS]


def give_up(ledger: Ledger, verdict: Obstacle) -> None:
    """End a Notification as a whole; what is claimed is still finished and recorded."""
    ledger.waiting, ledger.verdict = None, verdict
    for row in ledger.in_state(*UNSENT):
        ledger.put(end(row, DeliveryState.FAILED, Reason(verdict.reason), verdict.message))
