"""What a user changed since a Notification was planned; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..api.notification import DeliveryState, Notification
from ..api.reasons import Reason
from .digest import payload_digest, recipients_digest
from .ledger import Ledger, taking_part
from .refused_messages import forget_refused
from .rows import Row, is_unknown, is_user, reopen

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

    def differs(planned: str | None, wanted: str) -> bool:
        return ledger.planned and (planned is None or (edited and planned != wanted))

    return Change(
        first=not ledger.planned,
        payload=ledger.ahead.payload
        or differs(ledger.payload_digest, payload_digest(spec.payload)),
        recipients=ledger.ahead.recipients
        or differs(ledger.recipients_digest, recipients_digest(spec)),
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
    states = [DeliveryState.FAILED, DeliveryState.UNKNOWN]
    if everyone:
        ledger.redelivery += 1
        states += [DeliveryState.SENT, DeliveryState.PENDING, DeliveryState.RETRYING]
    forget_refused(ledger)
    sending = taking_part(ledger)
    for row in ledger.in_state(*states):
        if _stands_for_ref(row, ledger):
            del ledger.rows[row.key]
        elif row.reason != Reason.CANCELLED and row.processor in sending:
            ledger.put(reopen(row, revision=ledger.revision, now=now))


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
