"""Merges whom a Notification should reach into the rows it has (DESIGN section 2.4); pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..api.notification import Delivery, DeliveryState
from ..api.reasons import Reason
from ..processors.errors import Skip
from .changes import Change
from .ledger import ANY_RECIPIENT, ENDED_PARTS, UNSENT, Ledger, RowKey
from .rows import blame, end, open_row, reopen


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Rows that should be there, and processors that cannot name theirs yet, with the cause."""

    targets: Mapping[RowKey, Skip | None] = field(default_factory=dict)
    unable: Mapping[str, Skip] = field(default_factory=dict)


def merge(ledger: Ledger, wanted: Wanted, change: Change, now: datetime) -> None:
    """Bring the rows in line with what is wanted.

    New recipients are added; after an edit of the payload every row is opened again; after an
    edit of the recipients those that are gone and unsent are cancelled. A claimed row is never
    touched: it is finished and recorded, and `renew_outdated` opens it again.
    """
    for key, skip in wanted.targets.items():
        row = ledger.rows.get(key)
        if row is None or _opens_again(row, change):
            ledger.put(open_row(*key, skip=skip, revision=ledger.revision, now=now))
    _merge_unwanted(ledger, wanted, change, now)
    _merge_unable(ledger, wanted, now)


def renew_outdated(ledger: Ledger, now: datetime) -> None:
    """Open rows again that were finished under a revision that is not the newest.

    A row is outdated when it was claimed while the payload was edited.
    """
    for row in ledger.rows.values():
        selection = ledger.processors.get(row.processor)
        takes_part = selection is not None and selection.reason not in ENDED_PARTS
        finished = row.state is not DeliveryState.CLAIMED
        if takes_part and finished and row.revision < ledger.revision and _was_reached(row):
            ledger.put(reopen(row, revision=ledger.revision, now=now))


def _opens_again(row: Delivery, change: Change) -> bool:
    if row.state is DeliveryState.CLAIMED:
        return False
    return change.payload or (change.recipients and row.reason == Reason.CANCELLED)


def _was_reached(row: Delivery) -> bool:
    return row.state is not DeliveryState.SKIPPED


def _merge_unwanted(ledger: Ledger, wanted: Wanted, change: Change, now: datetime) -> None:
    if not change.any:
        return
    for row in list(ledger.rows.values()):
        if row.key in wanted.targets or row.recipient == ANY_RECIPIENT:
            continue
        selection = ledger.processors.get(row.processor)
        if selection is None or selection.reason in ENDED_PARTS:
            if row.state in UNSENT:
                message = (selection and selection.message) or "the processor is not selected"
                ledger.put(end(row, DeliveryState.SKIPPED, Reason.FILTERED, message))
        elif change.recipients:
            if row.state in UNSENT:
                message = "removed from the recipients before it was sent"
                ledger.put(end(row, DeliveryState.SKIPPED, Reason.CANCELLED, message))
        elif change.payload and _was_reached(row) and row.state is not DeliveryState.CLAIMED:
            ledger.put(reopen(row, revision=ledger.revision, now=now))


def _merge_unable(ledger: Ledger, wanted: Wanted, now: datetime) -> None:
    """Keep one row for each processor that cannot name its targets, and drop it when it can."""
    for name, cause in wanted.unable.items():
        key = (name, ANY_RECIPIENT)
        if not ledger.rows_of(name):
            ledger.put(open_row(*key, skip=None, revision=ledger.revision, now=now))
        if key in ledger.rows and ledger.rows[key].state is DeliveryState.PENDING:
            ledger.put(blame(ledger.rows[key], cause.reason, cause.message))
    for name in {processor for processor, _ in wanted.targets}:
        ledger.rows.pop((name, ANY_RECIPIENT), None)
