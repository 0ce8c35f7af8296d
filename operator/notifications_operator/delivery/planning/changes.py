"""What a user changed since a Notification was planned; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ...api.notification import DeliveryState, Notification
from ...api.reasons import Reason
from ..ledger.ledger import Ledger, taking_part
from ..ledger.refused_messages import forget_refused
from ..ledger.rows import Row, is_unknown, is_user, reopen
from .digest import payload_differs, recipients_differ

REDELIVER_ALL = "all:"
"""Prefix of a redeliver value that sends to everyone."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What differs between a Notification and what its ledger was planned from."""

    first: bool
    payload: bool
    recipients: bool

    @property
    def any(self) -> bool:
        """Whether a snapshot must be taken."""
        return self.first or self.payload or self.recipients


def find_change(notification: Notification, ledger: Ledger) -> Change:
    """Compare a Notification with what was planned.

    Only a moved generation counts as an edit, and only a different digest as one that matters
    (DESIGN section 2.3). One that was postponed has no digest.
    """
    spec = notification.spec
    edited = notification.metadata.generation != notification.status.observed_generation
    payload, recipients = ledger.payload_digest, ledger.recipients_digest
    return Change(
        first=not ledger.planned,
        payload=ledger.ahead.payload
        or (ledger.planned and payload is None)
        or (ledger.planned and edited and payload_differs(payload or "", spec.payload)),
        recipients=ledger.ahead.recipients
        or (ledger.planned and recipients is None)
        or (ledger.planned and edited and recipients_differ(recipients or "", spec)),
    )


def postpone(ledger: Ledger, change: Change) -> None:
    """Keep an edit in mind that cannot be planned yet, though its generation is observed."""
    if change.payload:
        ledger.payload_digest = None
    if change.recipients:
        ledger.recipients_digest = None


def is_postponed(ledger: Ledger) -> bool:
    """Return whether an edit of the payload waits to be planned: what is unsent is outdated."""
    return ledger.planned and ledger.payload_digest is None


def note_redeliver(notification: Notification, ledger: Ledger, now: datetime) -> None:
    """Open rows again for a new value of the redeliver annotation.

    A value that is there when the object is first seen is only recorded. Redelivery to everyone
    waits until claimed rows are recorded, because it gives them another identity.
    Who was removed from the recipients, or whose processor was deselected, is not sent to again.
    """
    value = notification.redeliver
    if value is None or value == ledger.last_redeliver:
        return
    everyone = value.startswith(REDELIVER_ALL)
    first_sight = notification.status.observed_generation < 0
    if everyone and not first_sight and ledger.in_state(DeliveryState.CLAIMED):
        return
    ledger.last_redeliver = value
    if first_sight:
        return
    rows = redelivered_rows(ledger, value)
    if everyone:
        ledger.redelivery += 1
    forget_refused(ledger)
    for row in rows:
        if _stands_for_ref(row, ledger):
            del ledger.rows[row.key]
        else:
            ledger.put(reopen(row, revision=ledger.revision, now=now))


def redelivered_rows(ledger: Ledger, value: str) -> list[Row]:
    """Return the rows that a value of the redeliver annotation is about."""
    states = [DeliveryState.FAILED, DeliveryState.UNKNOWN]
    if value.startswith(REDELIVER_ALL):
        states += [DeliveryState.SENT, DeliveryState.PENDING, DeliveryState.RETRYING]
    sending = taking_part(ledger)
    return [
        row
        for row in ledger.in_state(*states)
        if _stands_for_ref(row, ledger)
        or (row.reason != Reason.CANCELLED and row.processor in sending)
    ]


def forget_unknown(ledger: Ledger) -> None:
    """Drop the rows of refs that were given up: they are to be resolved again."""
    for row in [row for row in ledger.rows.values() if _stands_for_ref(row, ledger)]:
        del ledger.rows[row.key]


def _stands_for_ref(row: Row, ledger: Ledger) -> bool:
    """Whether a row ended for a ref that is not resolved.

    The others are of users that the snapshot found and the catalog has lost since, and of members
    whom nobody waits for.
    """
    if row.recipient in ledger.unresolved:
        return row.state.terminal and row.reason == Reason.UNKNOWN_ENTITIES
    return is_unknown(row) and not is_user(row.recipient)
