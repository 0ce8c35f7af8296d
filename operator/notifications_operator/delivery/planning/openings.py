"""Openings of deliveries, which the limits by the hour count; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ...api.conditions import ConditionType, find_condition
from ...api.notification import NotificationStatus
from ...api.reasons import Reason
from ..ledger.ledger import SLICES, Ledger
from .changes import REDELIVER_ALL, Change, redelivered_rows


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A time at which deliveries were opened: a revision of a Notification, or a redelivery.

    ``name`` tells it from the others of its Notification; the first revision has none.
    """

    name: str = ""
    users: int
    moment: datetime


def planned_opening(ledger: Ledger, change: Change, named: Iterable[str], now: datetime) -> Opening:
    """Return whom the planned revision reaches, by all plans of it together.

    Parameters
    ----------
    named
        The users that the recipients mean now.
    """
    revision = ledger.revision + (1 if change.first or change.payload else 0)
    users = set(named)
    rows = {
        row.recipient
        for row in ledger.rows.values()
        if row.recipient.startswith("user:")
        and (row.reason != Reason.CANCELLED or row.revision == revision)
    }
    if not (change.first or change.payload):
        users |= rows
    elif not (change.first or change.recipients):
        users = rows or users
    return Opening(name=_revision_name(revision), users=len(users), moment=now)


def redelivery_opening(ledger: Ledger, value: str, now: datetime) -> Opening:
    """Return whom a value of the redeliver annotation reaches again."""
    refs = {row.recipient for row in redelivered_rows(ledger, value)}
    named = {ref for ref in refs if ref.startswith("user:")}
    number = ledger.redelivery + 1 if value.startswith(REDELIVER_ALL) else value
    users = ledger.users if refs - named else len(named)
    return Opening(name=_redelivery_name(number), users=users, moment=now)


def stored_openings(status: NotificationStatus) -> list[Opening]:
    """Return what a status says of openings, the newest last.

    Of those before the newest it is known only that they came after the start.
    """
    if status.recipients is None or status.start_time is None or not status.revision:
        return []
    users, earlier = status.recipients.users, status.revision + status.redelivery - 1
    if not earlier:
        return [Opening(users=users, moment=status.start_time)]
    name = _revision_name(status.revision)
    if status.redelivery:
        name = _redelivery_name(status.redelivery)
    return [
        Opening(name="earlier", users=users * earlier, moment=status.start_time),
        Opening(name=name, users=users, moment=_latest_opening(status)),
    ]


def _revision_name(revision: int) -> str:
    """Return the name of the opening that is a revision."""
    return f"revision {revision}" if revision > 1 else ""


def _redelivery_name(redelivery: int | str) -> str:
    """Return the name of the opening that is a redelivery, by its number or its value."""
    return f"redelivery {redelivery}"


def _latest_opening(status: NotificationStatus) -> datetime:
    start = status.start_time or datetime.min
    opened = [row.opened_time for row in status.deliveries if row.opened_time is not None]
    if status.ledger is not None and status.ledger.type == SLICES:
        # Most rows are in the slices, which are not read for this.
        complete = find_condition(status.conditions, ConditionType.COMPLETE)
        opened += [complete.last_transition_time] if complete is not None else []
    return max(opened, default=start)
