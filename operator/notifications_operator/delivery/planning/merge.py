"""Merges whom a Notification should reach into the rows it has (DESIGN section 2.4); pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ...api.notification import DeliveryState
from ...api.reasons import Reason
from ...processors.errors import Skip
from ..ledger.ledger import ANY_RECIPIENT, ENDED_PARTS, UNSENT, Ledger
from ..ledger.rows import Row, RowKey, blame, end, open_row, remove, reopen
from .changes import Change

_LEFT_OUT = frozenset({Reason.CANCELLED, Reason.FILTERED})
"""Reasons of rows that an edit left out, and another may take in again."""


_NOT_SELECTED = "the processor is not selected"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Rows that should be there, and processors that cannot name theirs yet, with the cause."""

    targets: Mapping[RowKey, Skip | None] = field(default_factory=dict)
    unable: Mapping[str, Skip] = field(default_factory=dict)


def late_processors(ledger: Ledger) -> set[str]:
    """Return the processors that could not name their targets yet."""
    return {
        row.processor
        for row in ledger.in_state(DeliveryState.PENDING)
        if row.recipient == ANY_RECIPIENT
    }


def merge(ledger: Ledger, wanted: Wanted, change: Change, now: datetime) -> None:
    """Bring the rows in line with what is wanted.

    New recipients are added; after an edit of the payload every row is opened again; after an
    edit of the recipients those that are gone and unsent are cancelled, but not those that the
    edit names and the catalog does not know at the moment. A processor that could not
    say whom it reaches catches up with the edits it missed. A claimed row is never touched: it is
    finished and recorded, and `settle_edits` opens it again.
    """
    late = late_processors(ledger) - set(wanted.unable)
    unresolved = set(ledger.unresolved)
    for key, skip in wanted.targets.items():
        row = ledger.rows.get(key)
        recipients = change.recipients or key[0] in late
        if row is None or _opens_again(row, ledger, change):
            ledger.put(open_row(*key, skip=skip, revision=ledger.revision, now=now))
        elif recipients and row.reason == Reason.CANCELLED:
            ledger.put(replace(row, reason=None, message=None))
    for row in list(ledger.rows.values()):
        if row.key not in wanted.targets and row.recipient != ANY_RECIPIENT:
            recipients = change.recipients or row.processor in late
            able = row.processor not in wanted.unable
            named = row.recipient in unresolved
            _merge_unwanted(ledger, row, change, removed=recipients and able and not named)
    _drop_placeholders(ledger, wanted, change)
    _merge_unable(ledger, wanted, change, now)


def settle_edits(ledger: Ledger, now: datetime) -> None:
    """Bring rows in line with edits that were made while they were claimed."""
    _renew_outdated(ledger, now)
    _end_deselected(ledger)


def _renew_outdated(ledger: Ledger, now: datetime) -> None:
    """Open rows again that are not of the newest revision: after an edit of the payload.

    Those that were claimed then are opened when they are recorded. Who was removed from the
    recipients gets no update.
    """
    for row in [row for row in ledger.rows.values() if row.revision < ledger.revision]:
        selection = ledger.processors.get(row.processor)
        takes_part = selection is not None and selection.reason not in ENDED_PARTS
        left_out = row.state is DeliveryState.SKIPPED or row.reason == Reason.CANCELLED
        if takes_part and row.state is not DeliveryState.CLAIMED and not left_out:
            ledger.put(reopen(row, revision=ledger.revision, now=now))


def _end_deselected(ledger: Ledger) -> None:
    """Skip what is not sent of processors that take no part any more."""
    for row in ledger.in_state(*UNSENT):
        selection = ledger.processors.get(row.processor)
        if selection is not None and selection.reason in ENDED_PARTS:
            message = selection.message or _NOT_SELECTED
            ledger.put(end(row, DeliveryState.SKIPPED, Reason.FILTERED, message))


def _opens_again(row: Row, ledger: Ledger, change: Change) -> bool:
    if row.state is DeliveryState.CLAIMED:
        return False
    if change.payload or (change.recipients and _lacked_entity(row)):
        return True
    sent_already = row.state is DeliveryState.SENT and row.revision == ledger.revision
    return row.reason in _LEFT_OUT and not sent_already


def _lacked_entity(row: Row) -> bool:
    """Whether a row was skipped because the catalog had no entity of the member."""
    return row.state is DeliveryState.SKIPPED and row.reason == Reason.UNKNOWN_ENTITIES


def _merge_unwanted(ledger: Ledger, row: Row, change: Change, *, removed: bool) -> None:
    """Deal with a row that is not a target."""
    selection = ledger.processors.get(row.processor)
    if not change.any and not removed:
        return
    if selection is None or selection.reason in ENDED_PARTS:
        if row.state in UNSENT:
            message = (selection and selection.message) or _NOT_SELECTED
            ledger.put(end(row, DeliveryState.SKIPPED, Reason.FILTERED, message))
    elif removed:
        ledger.put(remove(row))


def _drop_placeholders(ledger: Ledger, wanted: Wanted, change: Change) -> None:
    """Drop the rows of processors that can name their targets now, or take no part any more."""
    for row in list(ledger.rows.values()):
        waited = row.state is DeliveryState.PENDING or change.any
        if row.recipient == ANY_RECIPIENT and row.processor not in wanted.unable and waited:
            del ledger.rows[row.key]


def _merge_unable(ledger: Ledger, wanted: Wanted, change: Change, now: datetime) -> None:
    """Keep one row for each processor that cannot name its targets."""
    for name, cause in wanted.unable.items():
        row = ledger.rows.get((name, ANY_RECIPIENT))
        if change.recipients or (change.any and row) or not ledger.rows_of(name):
            row = open_row(name, ANY_RECIPIENT, skip=None, revision=ledger.revision, now=now)
        if row is not None and row.state is DeliveryState.PENDING:
            ledger.put(blame(row, cause.reason, cause.message))
