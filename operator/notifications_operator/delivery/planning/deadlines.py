"""How long a Notification waits for what, and what becomes of it then; no I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, product

from ...api.notification import DeliveryState, Notification
from ...api.processor import ProcessorReason
from ...api.reasons import Reason
from ...catalog import Directory
from ...settings import Settings
from ..dispatch.channel import Channel
from ..dispatch.supervisor import Supervisor
from ..ledger.ledger import LONGEST_WAIT, ROW_LIMIT, UNSENT, Ledger, taking_part
from ..ledger.refused_messages import end_refused
from ..ledger.rows import Row, blame, end, is_unknown, open_row
from ..ledger.summary import Obstacle
from .merge import settle_edits
from .optouts import PREFERENCES_UNAVAILABLE
from .recipients import unknown_message
from .unknown import Outlet, settle_unknown_users

PREFERENCES_RETRY = timedelta(seconds=5)
"""How long a Notification waits before it is asked again what users want."""

LIMIT_RETRY = timedelta(minutes=1)
"""Time until an opening that an hour's limit holds up is checked again."""

_BLAME = {
    ProcessorReason.INVALID_CONFIG: Reason.INVALID_CONFIG,
    ProcessorReason.SECRET_NOT_FOUND: Reason.INVALID_CONFIG,
    ProcessorReason.AUTH_FAILED: Reason.AUTH_FAILED,
    ProcessorReason.TLS_FAILED: Reason.TLS_FAILED,
    ProcessorReason.CONNECT_FAILED: Reason.CONNECT_FAILED,
    ProcessorReason.DNS_FAILED: Reason.DNS_FAILED,
    ProcessorReason.TIMEOUT: Reason.TIMEOUT,
    ProcessorReason.POLICY_DENIED: Reason.POLICY_DENIED,
}
"""What a row says while its processor is not ready; suspension is nobody's fault."""


class Deadlines:
    """Knows every time limit of a Notification and its rows."""

    def __init__(self, *, settings: Settings, supervisor: Supervisor) -> None:
        self._settings = settings
        self._supervisor = supervisor

    def settle(
        self, notification: Notification, ledger: Ledger, directory: Directory, now: datetime
    ) -> None:
        """End what cannot be waited for any longer, and open again what was superseded."""
        if ledger.verdict is None:
            settle_edits(ledger, now)
            end_refused(ledger)
            self._settle_unknown(notification, ledger, now)
            self._settle_users(notification, ledger, directory, now)
            self._end_overdue(notification, ledger, now)

    def settle_rows(
        self, notification: Notification, ledger: Ledger, directory: Directory, now: datetime
    ) -> None:
        """Do so for the rows of one slice."""
        settle_edits(ledger, now)
        end_refused(ledger)
        self._settle_users(notification, ledger, directory, now)
        self._end_overdue(notification, ledger, now)

    def _end_overdue(self, notification: Notification, ledger: Ledger, now: datetime) -> None:
        expires = notification.spec.expires_at
        unsent = ledger.in_state(*UNSENT)
        # Looked up once for each processor: there may be thousands of rows.
        channels = {name: self._supervisor.get(name) for name in {row.processor for row in unsent}}
        too_old = {name: now - _max_age(channel) for name, channel in channels.items()}
        for row in unsent:
            missing = channels[row.processor] is None
            if expires is not None and now >= expires:
                message = f"expiresAt {expires.isoformat()} passed before it was sent"
                ledger.put(end(row, DeliveryState.FAILED, Reason.EXPIRED, message))
            elif missing and self._may_come_for(row, now) <= timedelta():
                message = self._supervisor.describe_missing(row.processor)
                ledger.put(end(row, DeliveryState.FAILED, Reason.PROCESSOR_NOT_FOUND, message))
            elif row.opened_time is not None and row.opened_time <= too_old[row.processor]:
                found = self._explained(row)
                reason = Reason(found.reason) if found.reason in set(Reason) else Reason.EXPIRED
                message = found.message or "older than retry.maxAge"
                ledger.put(end(row, DeliveryState.FAILED, reason, message))
            elif row.reason is None and ledger.slices is None:
                # Not in slices: that would write all of them, to say the same thousands of times.
                ledger.put(self._explained(row))

    def _settle_users(
        self, notification: Notification, ledger: Ledger, directory: Directory, now: datetime
    ) -> None:
        """Wait for users who are unknown now that it is their turn, or fail them."""
        sending = not notification.spec.suspend
        outlets = {
            name: Outlet(can_send=sending and channel.can_send, remembers=channel.remembers)
            for name in ledger.processors
            if (channel := self._supervisor.get(name)) and not channel.reaches_strangers
        }
        grace = timedelta(seconds=self._settings.catalog.unknown_grace)
        settle_unknown_users(ledger, directory, outlets, grace=grace, now=now)

    def _explained(self, row: Row) -> Row:
        """Say on a pending row why its processor cannot send, unless it says something."""
        channel = self._supervisor.get(row.processor)
        if row.reason is not None or channel is None or channel.readiness.ready:
            return row
        reason = _BLAME.get(channel.readiness.reason)
        return row if reason is None else blame(row, reason, channel.readiness.message)

    def _settle_unknown(self, notification: Notification, ledger: Ledger, now: datetime) -> None:
        """Go on waiting for unknown refs, or fail them when their time is over.

        Processors that reach users whom the catalog does not know wait for nobody.
        """
        given_up = {row.recipient for row in ledger.rows.values() if is_unknown(row)}
        served = _served(ledger)
        waited_for = [ref for ref in ledger.unresolved if ref not in given_up | served]
        if not waited_for or not ledger.planned:
            return
        message = unknown_message(waited_for)
        if not self.grace_over(notification, ledger, now):
            ledger.waiting = Obstacle(reason=Reason.UNKNOWN_ENTITIES, message=message)
            return
        room = ROW_LIMIT - len(ledger.rows)
        missing = (
            key for key in product(taking_part(ledger), waited_for) if key not in ledger.rows
        )
        for name, ref in islice(missing, max(room, 0)):
            row = open_row(name, ref, skip=None, revision=ledger.revision, now=now)
            text = f"the catalog does not know {ref}"
            ledger.put(end(row, DeliveryState.FAILED, Reason.UNKNOWN_ENTITIES, text))

    def grace_over(self, notification: Notification, ledger: Ledger, now: datetime) -> bool:
        """Return whether unknown refs have had their time."""
        expires = notification.spec.expires_at
        return now >= self._grace_end(ledger, now) or (expires is not None and now >= expires)

    def _grace_end(self, ledger: Ledger, now: datetime | None = None) -> datetime:
        resolved = ledger.resolved_since()
        begun = resolved.last_transition_time if resolved and resolved.status == "False" else None
        start = begun or now or datetime.now(UTC)
        return start + timedelta(seconds=self._settings.catalog.unknown_grace)

    def may_come_back(self, name: str) -> bool:
        """Return whether a processor has been missing for less than its grace."""
        return self._supervisor.missing_seconds(name) < self._settings.delivery.processor_grace

    def _may_come_for(self, row: Row, now: datetime) -> timedelta:
        """Return for how long a row still waits for its processor, which is missing.

        A processor may also be created after a Notification that names it.
        """
        age = (now - (row.opened_time or now)).total_seconds()
        missing = min(self._supervisor.missing_seconds(row.processor), age)
        return timedelta(seconds=self._settings.delivery.processor_grace - missing)

    def _too_old_at(self, row: Row) -> datetime:
        return (row.opened_time or datetime.now(UTC)) + _max_age(
            self._supervisor.get(row.processor)
        )

    def next_deadline(self, notification: Notification, ledger: Ledger) -> datetime | None:
        """Return when planning again could matter though nothing was seen to change."""
        deadlines = [notification.spec.expires_at]
        if ledger.waiting is not None and ledger.waiting.reason == PREFERENCES_UNAVAILABLE:
            deadlines.append(datetime.now(UTC) + PREFERENCES_RETRY)
        if ledger.waiting is not None and ledger.waiting.reason == Reason.POLICY_DENIED:
            deadlines.append(datetime.now(UTC) + LIMIT_RETRY)
        if ledger.unresolved:
            deadlines.append(self._grace_end(ledger))
        if not ledger.planned and ledger.start_time is not None:
            deadlines.append(ledger.start_time + LONGEST_WAIT)
        for row in ledger.in_state(*UNSENT):
            deadlines.append(self._too_old_at(row))
            if self._supervisor.get(row.processor) is None:
                now = datetime.now(UTC)
                deadlines.append(now + self._may_come_for(row, now))
        return min((item for item in deadlines if item is not None), default=None)


def _max_age(channel: Channel | None) -> timedelta:
    """Return for how long a row of a processor is tried."""
    return channel.policy.retry.max_age if channel else LONGEST_WAIT


def _served(ledger: Ledger) -> set[str]:
    """Return the unknown refs that every processor has an entry for."""
    names = taking_part(ledger)
    if not names:
        return set()
    return {ref for ref in ledger.unresolved if all((name, ref) in ledger.rows for name in names)}
