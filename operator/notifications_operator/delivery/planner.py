"""Turns a Notification into rows: whom it reaches, through which processors; no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..api.notification import Delivery, DeliveryState, Notification
from ..api.processor import ProcessorReason
from ..api.reasons import Reason
from ..catalog import Directory, Entity, EntityRef, Resolution, resolve, resolve_broadcast
from ..processors.base import Audience, OutboundNotification
from ..processors.errors import Skip
from ..settings import Settings
from .digest import payload_digest, recipients_digest
from .ledger import ANY_RECIPIENT, ROW_LIMIT, Ledger, RowKey, Selection
from .limits import RecipientLimits
from .rows import blame, end, is_unknown, reopen
from .snapshot import ENDED_PARTS, Change, Wanted, merge, renew_outdated
from .summary import Obstacle
from .supervisor import Supervisor

METADATA_LIMIT = 64 * 1024
"""Most bytes of ``payload.metadata``, as JSON."""

LONGEST_WAIT = timedelta(hours=24)
"""For how long a Notification waits for a first processor or a first user in the catalog."""

REDELIVER_ALL = "all:"
"""Prefix of a redeliver value that sends to everyone."""

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

REMARK_LIMIT = 10
"""Most remarks about the recipients that are shown."""

_UNSENT = (DeliveryState.PENDING, DeliveryState.RETRYING)


class Planner:
    """Plans Notifications against the catalog and the processors as they are now."""

    def __init__(
        self, *, settings: Settings, supervisor: Supervisor, limits: RecipientLimits
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._limits = limits

    def plan(
        self, notification: Notification, ledger: Ledger, directory: Directory, now: datetime
    ) -> None:
        """Bring the ledger's rows in line with the Notification.

        Sets ``waiting`` where something may still add rows, and ``verdict`` where the
        Notification ends as a whole.
        """
        note_redeliver(notification, ledger, now)
        ledger.origin = self.origin(notification)
        change = find_change(notification, ledger)
        if change.any:
            ledger.completion_time = None
            forget_unknown(ledger)
        verdict = refusal(notification, change, now)
        if verdict is None and not (notification.spec.suspend and change.any):
            verdict = self._plan_rows(_Plan(notification, ledger, directory, change, now))
        if verdict is not None:
            give_up(ledger, verdict)
        self._settle(notification, ledger, now)

    def origin(self, notification: Notification) -> str:
        """Return whom the Notification comes from; users' claims count where they are trusted."""
        namespace = notification.metadata.namespace
        trusted = namespace in self._settings.origins.trusted_namespaces
        if trusted and notification.spec.origin:
            return notification.spec.origin
        cluster = self._settings.cluster_name
        return f"namespace:{cluster}/{namespace}" if cluster else f"namespace:{namespace}"

    def outbound(self, notification: Notification, ledger: Ledger) -> OutboundNotification:
        """Return the notification as its processors send it, decorated in their order."""
        created = notification.metadata.creation_timestamp or ledger.start_time
        outbound = OutboundNotification(
            uid=notification.metadata.uid,
            namespace=notification.metadata.namespace,
            name=notification.metadata.name,
            revision=max(ledger.revision, 1),
            redelivery=ledger.redelivery,
            origin=ledger.origin or self.origin(notification),
            created=created or datetime.now(UTC),
            broadcast=notification.spec.recipients.type == "broadcast",
            payload=notification.spec.payload,
        )
        for channel in self._supervisor.channels:
            if channel.name in taking_part(ledger):
                outbound = channel.decorate(outbound)
        return outbound

    def next_deadline(self, notification: Notification, ledger: Ledger) -> datetime | None:
        """Return when planning again could matter though nothing was seen to change."""
        deadlines = [notification.spec.expires_at]
        if ledger.unresolved:
            deadlines.append(self._grace_end(ledger))
        if not ledger.planned and ledger.start_time is not None:
            deadlines.append(ledger.start_time + LONGEST_WAIT)
        for row in ledger.in_state(*_UNSENT):
            deadlines.append(self._too_old_at(row))
            if self._supervisor.get(row.processor) is None:
                missing = self._supervisor.missing_seconds(row.processor)
                remaining = self._settings.delivery.processor_grace - missing
                deadlines.append(datetime.now(UTC) + timedelta(seconds=remaining))
        return min((item for item in deadlines if item is not None), default=None)

    def _plan_rows(self, plan: _Plan) -> Obstacle | None:
        """Resolve, select and merge; return the verdict if the Notification ends here."""
        ledger, change = plan.ledger, plan.change
        before = list(ledger.unresolved)
        if not (change.any or before or self._now_able(ledger)):
            return None
        resolution = resolve_recipients(plan.notification, plan.directory)
        ledger.remarks = remarks(plan.notification, plan.directory, resolution)
        ledger.unresolved = still_unknown(ledger, resolution, change)
        ledger.unresolved_count = len(ledger.unresolved)
        if change.first or change.recipients:
            verdict = self._check_recipients(plan, resolution)
            if verdict is not None or ledger.waiting is not None:
                return verdict
        if change.any:
            self._select(plan)
        newly_known = [ref for ref in before if ref not in ledger.unresolved]
        if not (change.any or newly_known or self._now_able(ledger)):
            return None
        users = self._users(plan, resolution, newly_known)
        if change.first or change.payload:
            ledger.revision += 1
        wanted = self._wanted(plan, users)
        if len(wanted.targets) > ROW_LIMIT:
            message = (
                f"{len(wanted.targets)} deliveries; one Notification can have at most {ROW_LIMIT}"
            )
            return Obstacle(reason=Reason.TOO_LARGE, message=message)
        if change.any:
            ledger.payload_digest = payload_digest(plan.notification.spec.payload)
            ledger.recipients_digest = recipients_digest(plan.notification.spec)
        merge(ledger, wanted, change, plan.now)
        return None

    def _check_recipients(self, plan: _Plan, resolution: Resolution) -> Obstacle | None:
        """Refuse, or set ``waiting``, before anything is planned."""
        ledger, metadata, spec = plan.ledger, plan.notification.metadata, plan.notification.spec
        users = len(resolution.users)
        if why := self._limits.check(metadata.namespace, metadata.uid, users, plan.now):
            return Obstacle(reason=Reason.POLICY_DENIED, message=why)
        if spec.recipients.type == "broadcast" and not users:
            ledger.waiting = Obstacle(
                reason="CatalogEmpty", message="the catalog holds no user yet"
            )
            return _waited_too_long(plan, Reason.UNKNOWN_ENTITIES)
        if not spec.processors and not list(self._supervisor.channels):
            message = f"no NotificationProcessor exists in namespace {self._settings.namespace}"
            ledger.waiting = Obstacle(reason=Reason.PROCESSOR_NOT_FOUND, message=message)
            return _waited_too_long(plan, Reason.PROCESSOR_NOT_FOUND)
        only_unknown = plan.change.first and ledger.unresolved and not users
        if only_unknown and not self._grace_over(plan.notification, ledger, plan.now):
            ledger.waiting = Obstacle(
                reason=Reason.UNKNOWN_ENTITIES, message=unknown_message(ledger.unresolved)
            )
            return None
        self._limits.note(metadata.namespace, metadata.uid, users, plan.now)
        return None

    def _select(self, plan: _Plan) -> None:
        """Take the snapshot of processors."""
        spec, ledger = plan.notification.spec, plan.ledger
        names = spec.processors or [item.name for item in self._supervisor.channels]
        kept = {name: ledger.processors[name] for name in ledger.processors if name not in names}
        ledger.processors = {}
        for name in dict.fromkeys(names):
            channel = self._supervisor.get(name)
            why = channel.excludes(spec.payload) if channel else None
            reason = str(Reason.FILTERED) if why else None
            ledger.processors[name] = Selection(name=name, reason=reason, message=why)
        for name in kept:
            if ledger.rows_of(name):
                ledger.processors[name] = Selection(
                    name=name, reason=str(Reason.CANCELLED), message="not selected any more"
                )

    def _now_able(self, ledger: Ledger) -> bool:
        """Return whether a processor that could not name its targets may be able to now."""
        return any(
            row.recipient == ANY_RECIPIENT
            and row.state is DeliveryState.PENDING
            and self._supervisor.get(row.processor) is not None
            for row in ledger.rows.values()
        )

    def _users(
        self, plan: _Plan, resolution: Resolution, newly_known: Sequence[str]
    ) -> list[Entity]:
        """Return the users to plan for: the snapshot's, unless the recipients were edited."""
        if plan.change.first or plan.change.recipients:
            plan.ledger.users = len(resolution.users)
            return list(resolution.users)
        known = users_of(plan.ledger.rows.values(), plan.directory)
        users = known or list(resolution.users)
        if newly_known:
            refs = [EntityRef.parse(text) for text in newly_known]
            excluded = plan.notification.spec.recipients.excluded
            found = resolve(
                plan.directory, refs=refs, exclude=[EntityRef.parse(text) for text in excluded]
            )
            present = {user.ref for user in users}
            added = [user for user in found.users if user.ref not in present]
            plan.ledger.users += len(added)
            users += added
        return users

    def _wanted(self, plan: _Plan, users: Sequence[Entity]) -> Wanted:
        outbound = self.outbound(plan.notification, plan.ledger)
        audience = Audience(users=users, broadcast=outbound.broadcast)
        targets: dict[RowKey, Skip | None] = {}
        unable: dict[str, Skip] = {}
        for name in taking_part(plan.ledger):
            channel = self._supervisor.get(name)
            found = channel.targets(outbound, audience) if channel else None
            if found is None:
                unable[name] = self._why_unable(name)
                continue
            targets.update({(name, target.recipient): target.skip for target in found})
        return Wanted(targets=targets, unable=unable)

    def _why_unable(self, name: str) -> Skip:
        channel = self._supervisor.get(name)
        if channel is None:
            return Skip(reason=Reason.PROCESSOR_NOT_FOUND, message=self._not_found(name))
        reason = Reason.INVALID_CONFIG
        if channel.readiness.reason is ProcessorReason.CONNECTING:
            return Skip(reason=reason, message="the processor is being set up")
        message = f"{channel.readiness.reason}: {channel.readiness.message}"
        return Skip(reason=reason, message=message)

    def _not_found(self, name: str) -> str:
        there = ", ".join(channel.name for channel in self._supervisor.channels) or "none"
        return f"no NotificationProcessor {name!r} in {self._settings.namespace}; there: {there}"

    def _settle(self, notification: Notification, ledger: Ledger, now: datetime) -> None:
        """End what cannot be waited for any longer, and open again what was superseded."""
        if ledger.verdict is not None:
            return
        renew_outdated(ledger, now)
        self._settle_unknown(notification, ledger, now)
        expires = notification.spec.expires_at
        for row in ledger.in_state(*_UNSENT):
            missing = self._supervisor.get(row.processor) is None
            if expires is not None and now >= expires:
                message = f"expiresAt {expires.isoformat()} passed before it was sent"
                ledger.put(end(row, DeliveryState.FAILED, Reason.EXPIRED, message))
            elif missing and self._missing_too_long(row.processor):
                message = self._not_found(row.processor)
                ledger.put(end(row, DeliveryState.FAILED, Reason.PROCESSOR_NOT_FOUND, message))
            elif now >= self._too_old_at(row):
                reason = Reason(row.reason) if row.reason in set(Reason) else Reason.EXPIRED
                message = row.message or "older than retry.maxAge"
                ledger.put(end(row, DeliveryState.FAILED, reason, message))
            elif row.reason is None:
                self._blame(ledger, row)

    def _blame(self, ledger: Ledger, row: Delivery) -> None:
        """Say on a pending row why its processor cannot send, once."""
        channel = self._supervisor.get(row.processor)
        if channel is None or channel.readiness.ready:
            return
        reason = _BLAME.get(channel.readiness.reason)
        if reason is not None:
            ledger.put(blame(row, reason, channel.readiness.message))

    def _settle_unknown(self, notification: Notification, ledger: Ledger, now: datetime) -> None:
        """Go on waiting for unknown refs, or fail them when their time is over."""
        given_up = {row.recipient for row in ledger.rows.values() if is_unknown(row)}
        waited_for = [ref for ref in ledger.unresolved if ref not in given_up]
        if not waited_for or not ledger.planned:
            return
        message = unknown_message(waited_for)
        if not self._grace_over(notification, ledger, now):
            ledger.waiting = Obstacle(reason=Reason.UNKNOWN_ENTITIES, message=message)
            return
        for name in taking_part(ledger):
            for ref in waited_for:
                row = Delivery(
                    processor=name,
                    recipient=ref,
                    state=DeliveryState.PENDING,
                    revision=ledger.revision,
                    opened_time=now,
                )
                text = f"the catalog does not know {ref}"
                ledger.put(end(row, DeliveryState.FAILED, Reason.UNKNOWN_ENTITIES, text))

    def _grace_over(self, notification: Notification, ledger: Ledger, now: datetime) -> bool:
        expires = notification.spec.expires_at
        return now >= self._grace_end(ledger, now) or (expires is not None and now >= expires)

    def _grace_end(self, ledger: Ledger, now: datetime | None = None) -> datetime:
        resolved = ledger.resolved_since()
        begun = resolved.last_transition_time if resolved and resolved.status == "False" else None
        start = begun or now or datetime.now(UTC)
        return start + timedelta(seconds=self._settings.catalog.unknown_grace)

    def _missing_too_long(self, name: str) -> bool:
        grace = self._settings.delivery.processor_grace
        return self._supervisor.missing_seconds(name) >= grace

    def _too_old_at(self, row: Delivery) -> datetime:
        channel = self._supervisor.get(row.processor)
        age = channel.policy.retry.max_age if channel else LONGEST_WAIT
        return (row.opened_time or datetime.now(UTC)) + age


@dataclass(frozen=True)
class _Plan:
    """The arguments that every step of planning shares."""

    notification: Notification
    ledger: Ledger
    directory: Directory
    change: Change
    now: datetime


def find_change(notification: Notification, ledger: Ledger) -> Change:
    """Compare a Notification with what was planned.

    Only a moved generation counts as an edit, and only a different digest as one that matters
    (DESIGN section 2.3).
    """
    spec = notification.spec
    edited = notification.metadata.generation != notification.status.observed_generation
    edited = edited and ledger.planned
    return Change(
        first=not ledger.planned,
        payload=edited and ledger.payload_digest != payload_digest(spec.payload),
        recipients=edited and ledger.recipients_digest != recipients_digest(spec),
    )


def note_redeliver(notification: Notification, ledger: Ledger, now: datetime) -> None:
    """Open rows again for a new value of the redeliver annotation.

    A value that is there when the object is first seen is only recorded. Redelivery to everyone
    waits until claimed rows are recorded, because it gives them another identity.
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
        states += [DeliveryState.SENT, *_UNSENT]
    for row in ledger.in_state(*states):
        if is_unknown(row):
            del ledger.rows[row.key]
        else:
            ledger.put(reopen(row, revision=ledger.revision, now=now))


def refusal(notification: Notification, change: Change, now: datetime) -> Obstacle | None:
    """Return why a Notification cannot be planned at all, if so."""
    spec = notification.spec
    if change.first and spec.expires_at is not None and spec.expires_at <= now:
        text = f"expiresAt {spec.expires_at.isoformat()} passed before anything was sent"
        return Obstacle(reason=Reason.EXPIRED, message=text)
    size = len(json.dumps(spec.payload.metadata).encode())
    if size > METADATA_LIMIT:
        text = f"spec.payload.metadata has {size} bytes; at most {METADATA_LIMIT}"
        return Obstacle(reason=Reason.TOO_LARGE, message=text)
    return None


def forget_unknown(ledger: Ledger) -> None:
    """Drop the rows of refs that were given up: they are to be resolved again."""
    for row in [row for row in ledger.rows.values() if is_unknown(row)]:
        del ledger.rows[row.key]


def give_up(ledger: Ledger, verdict: Obstacle) -> None:
    """End a Notification as a whole; what is claimed is still finished and recorded."""
    ledger.waiting, ledger.verdict = None, verdict
    for row in ledger.in_state(*_UNSENT):
        ledger.put(end(row, DeliveryState.FAILED, Reason(verdict.reason), verdict.message))


def resolve_recipients(notification: Notification, directory: Directory) -> Resolution:
    """Resolve the recipients against the catalog as it is now."""
    recipients = notification.spec.recipients
    if recipients.type == "broadcast":
        return resolve_broadcast(directory)
    return resolve(
        directory,
        refs=[EntityRef.parse(text) for text in recipients.included],
        exclude=[EntityRef.parse(text) for text in recipients.excluded],
    )


def remarks(notification: Notification, directory: Directory, resolution: Resolution) -> list[str]:
    """Return what is odd about the recipients though it stops nothing."""
    excluded = [EntityRef.parse(text) for text in notification.spec.recipients.excluded]
    odd = [f"{ref} has no owner" for ref in resolution.ownerless]
    odd += [f"the excluded {ref} is not in the catalog" for ref in excluded if ref not in directory]
    return odd[:REMARK_LIMIT]


def still_unknown(ledger: Ledger, resolution: Resolution, change: Change) -> list[str]:
    """Return the refs that are unknown; what was resolved once stays resolved."""
    unknown = [str(ref) for ref in resolution.unresolved]
    before = set(ledger.unresolved)
    named_in_part = ledger.unresolved_count > len(before)
    if change.first or change.recipients or named_in_part:
        return unknown
    return [ref for ref in unknown if ref in before]


def taking_part(ledger: Ledger) -> list[str]:
    """Return the processors of the snapshot that send."""
    return [item.name for item in ledger.processors.values() if item.reason not in ENDED_PARTS]


def unknown_message(refs: Sequence[str]) -> str:
    """Name unknown refs, not too many of them."""
    more = f" and {len(refs) - 10} more" if len(refs) > 10 else ""
    return f"the catalog does not know {', '.join(refs[:10])}{more}"


def users_of(rows: Iterable[Delivery], directory: Directory) -> list[Entity]:
    """Return the users that rows are for and that the catalog still has, in stable order."""
    users: dict[EntityRef, Entity] = {}
    for row in rows:
        if row.recipient.startswith("user:") and row.reason != Reason.CANCELLED:
            entity = directory.get(EntityRef.parse(row.recipient))
            if entity is not None:
                users[entity.ref] = entity
    return [users[ref] for ref in sorted(users)]


def _waited_too_long(plan: _Plan, final: Reason) -> Obstacle | None:
    """End a wait that is over; ``waiting`` says what for."""
    waiting, expires = plan.ledger.waiting, plan.notification.spec.expires_at
    if waiting is None:
        return None
    if expires is not None and plan.now >= expires:
        return Obstacle(reason=Reason.EXPIRED, message=waiting.message)
    if plan.now >= (plan.ledger.start_time or plan.now) + LONGEST_WAIT:
        return Obstacle(reason=final, message=waiting.message)
    return None
