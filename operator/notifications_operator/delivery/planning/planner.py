"""Turns a Notification into rows: whom it reaches, through which processors; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ...api.notification import Notification, Severity, requested_moment
from ...api.processor import ProcessorReason
from ...api.reasons import Reason
from ...catalog import Directory, Entity, EntityRef, Resolution
from ...processors.base import Audience, OutboundNotification
from ...processors.errors import Skip
from ...processors.preferences import Preferences, Question
from ...settings import Settings
from ..dispatch.supervisor import Supervisor
from ..ledger.ledger import (
    LONGEST_WAIT,
    ROW_LIMIT,
    Ahead,
    Ledger,
    Selection,
    give_up,
    taking_part,
)
from ..ledger.rows import RowKey, is_user
from ..ledger.summary import Obstacle
from .changes import Change, find_change, forget_unknown, note_redeliver, postpone
from .deadlines import Deadlines
from .digest import payload_digest, recipients_digest
from .limits import RecipientLimits
from .merge import Wanted, late_processors, merge
from .metadata import metadata_problem
from .openings import Opening, planned_opening, redelivery_opening
from .optouts import (
    PREFERENCES_UNAVAILABLE,
    Answer,
    PreferencesNeeded,
    Unavailable,
    willing_targets,
)
from .recipients import (
    News,
    members_not_awaited,
    remarks,
    resolve_news,
    resolve_recipients,
    settled_count,
    still_unknown,
    unknown_message,
    users_of,
)


class Planner:
    """Plans Notifications against the catalog and the processors as they are now.

    ``asks_preferences`` says whether somebody knows what users want.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        supervisor: Supervisor,
        limits: RecipientLimits,
        asks_preferences: bool = False,
    ) -> None:
        self._asks_preferences = asks_preferences
        self._settings = settings
        self._supervisor = supervisor
        self._limits = limits
        self.deadlines = Deadlines(settings=settings, supervisor=supervisor)

    def plan(
        self,
        notification: Notification,
        ledger: Ledger,
        directory: Directory,
        now: datetime,
        *,
        answer: Answer | None = None,
    ) -> None:
        """Bring the ledger's rows in line with the Notification.

        Sets ``waiting`` where something may still add rows, and ``verdict`` where the
        Notification ends as a whole.

        Raises
        ------
        PreferencesNeeded
            If it must be known what users want: the ledger is to be loaded again and planned with
            the answer.
        """
        delayed = self._delay_redelivery(notification, ledger, now)
        if delayed is None:
            note_redeliver(notification, ledger, now)
        ledger.origin = self.origin(notification)
        change = find_change(notification, ledger)
        if change.any:
            ledger.completion_time = None
            forget_unknown(ledger)
        verdict = ledger.verdict or refusal(notification, change, now)
        if verdict is None and notification.spec.suspend and change.any:
            if ledger.ahead != Ahead():
                postpone(ledger, change)
        elif verdict is None:
            verdict = self._plan_rows(_Plan(notification, ledger, directory, change, now, answer))
        if verdict is not None:
            give_up(ledger, verdict)
        elif ledger.waiting is None:
            ledger.waiting = delayed
        self.deadlines.settle(notification, ledger, directory, now)

    def origin(self, notification: Notification) -> str:
        """Return whom the Notification comes from; users' claims count where they are trusted."""
        namespace = notification.metadata.namespace
        if self._is_trusted(notification) and notification.spec.origin:
            return notification.spec.origin
        cluster = self._settings.cluster_name
        return f"namespace:{cluster}/{namespace}" if cluster else f"namespace:{namespace}"

    def outbound(self, notification: Notification, ledger: Ledger) -> OutboundNotification:
        """Return the notification as its processors send it, decorated in their order."""
        outbound = OutboundNotification(
            uid=notification.metadata.uid,
            namespace=notification.metadata.namespace,
            name=notification.metadata.name,
            revision=max(ledger.revision, 1),
            redelivery=ledger.redelivery,
            origin=ledger.origin or self.origin(notification),
            created=self._created(notification, ledger),
            broadcast=notification.spec.recipients.type == "broadcast",
            payload=notification.spec.payload,
        )
        for channel in self._supervisor.channels:
            if channel.name in taking_part(ledger):
                outbound = channel.decorate(outbound)
        return outbound

    def _is_trusted(self, notification: Notification) -> bool:
        return notification.metadata.namespace in self._settings.origins.trusted_namespaces

    def _created(self, notification: Notification, ledger: Ledger) -> datetime:
        """Return when a Notification was created, to the fraction of a second if that is known."""
        metadata = notification.metadata
        requested = requested_moment(metadata) if self._is_trusted(notification) else None
        return requested or metadata.creation_timestamp or ledger.start_time or datetime.now(UTC)

    def _plan_rows(self, plan: _Plan) -> Obstacle | None:
        """Resolve, select and merge; return the verdict if the Notification ends here."""
        ledger, change = plan.ledger, plan.change
        before, count_before = list(ledger.unresolved), ledger.unresolved_count
        if not (change.any or before or self._now_able(ledger)):
            return None
        resolution = self._resolve(plan)
        ledger.remarks = remarks(plan.notification, plan.directory, resolution)
        ledger.unresolved = still_unknown(ledger, resolution, change)
        ledger.unresolved_count = len(ledger.unresolved)
        if change.first or change.recipients:
            forget_unknown(ledger)
            verdict = self._check_recipients(plan, resolution)
            if verdict is not None:
                return verdict
            if ledger.waiting is not None:
                postpone(ledger, change)
                return None
        news = News(
            known=[ref for ref in before if ref not in ledger.unresolved],
            unnamed=ledger.unresolved_count < count_before != len(before),
        )
        if not (change.any or news.any or self._now_able(ledger)):
            return None
        opening = self._opening(plan, resolution) if change.any or news.any else None
        excess = self._excess(plan, opening)
        if excess and opening and not self._limits.ever_fits(plan.namespace, opening.users):
            return excess
        if (obstacle := excess or self._absent_answer(plan)) is not None:
            ledger.waiting = obstacle
            ledger.unresolved, ledger.unresolved_count = before, count_before
            postpone(ledger, change)
            return _waited_too_long(plan, Reason.CONNECT_FAILED) if change.first else None
        if opening is not None:
            self._limits.note_opening(plan.namespace, plan.notification.metadata.uid, opening)
        if change.any:
            self._select(plan)
        wanted = self._wanted(plan, resolution, news)
        count = len({*wanted.targets, *ledger.rows})
        if count > ROW_LIMIT:
            message = f"{count} deliveries; one Notification can have at most {ROW_LIMIT}"
            return Obstacle(reason=Reason.TOO_LARGE, message=message)
        if change.first or change.payload:
            ledger.revision += 1
        if change.any:
            ledger.payload_digest = payload_digest(plan.notification.spec.payload)
            ledger.recipients_digest = recipients_digest(plan.notification.spec)
        merge(ledger, wanted, change, plan.now)
        return None

    def _resolve(self, plan: _Plan) -> Resolution:
        """Resolve the recipients; members without an entity are relied on if there is nobody else.

        Otherwise a Notification to a group whose members are not in the catalog would end without
        a word to anybody.
        """
        resolution = resolve_recipients(plan.notification, plan.directory)
        settling = plan.change.first or plan.change.recipients
        if settling and not resolution.users and not self._reaches_strangers(plan):
            return resolution.relying_on_members()
        return resolution

    def _check_recipients(self, plan: _Plan, resolution: Resolution) -> Obstacle | None:
        """Refuse, or set ``waiting``, before anything is planned."""
        ledger, metadata, spec = plan.ledger, plan.notification.metadata, plan.notification.spec
        users = settled_count(resolution) + len(self._strangers(plan, resolution))
        why = self._limits.check_size(metadata.namespace, users)
        if plan.change.first and why is None:
            why = self._limits.check(metadata.namespace, metadata.uid, users, plan.now)
        if why is not None:
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
        if only_unknown and not self.deadlines.grace_over(plan.notification, ledger, plan.now):
            ledger.waiting = Obstacle(
                reason=Reason.UNKNOWN_ENTITIES, message=unknown_message(ledger.unresolved)
            )
        return None

    def _opening(self, plan: _Plan, resolution: Resolution) -> Opening | None:
        """Return whom the planned revision reaches, by all plans of it together, if that counts."""
        if not self._limits.counts(plan.namespace):
            return None
        refs = [*(user.ref for user in resolution.users), *self._strangers(plan, resolution)]
        return planned_opening(plan.ledger, plan.change, map(str, refs), plan.now)

    def _excess(self, plan: _Plan, opening: Opening | None) -> Obstacle | None:
        """Return why an edit, or refs that became known, exceed this hour's limit, or ``None``.

        A first revision was checked before, and is not kept waiting.
        """
        if opening is None or plan.change.first:
            return None
        uid = plan.notification.metadata.uid
        why = self._limits.check_hour(plan.namespace, uid, opening)
        return None if why is None else Obstacle(reason=Reason.POLICY_DENIED, message=why)

    def _delay_redelivery(
        self, notification: Notification, ledger: Ledger, now: datetime
    ) -> Obstacle | None:
        """Return why a redelivery must wait for what an hour allows; else note that it begins.

        One that no hour allows ends the Notification.
        """
        value, metadata = notification.redeliver, notification.metadata
        if value is None or value == ledger.last_redeliver or not ledger.planned:
            return None
        opening = redelivery_opening(ledger, value, now)
        why = self._limits.check_hour(metadata.namespace, metadata.uid, opening)
        if why is None:
            self._limits.note_opening(metadata.namespace, metadata.uid, opening)
            return None
        delayed = Obstacle(reason=Reason.POLICY_DENIED, message=f"redelivery {why}")
        if not self._limits.ever_fits(metadata.namespace, opening.users):
            ledger.last_redeliver, ledger.verdict = value, delayed
        return delayed

    def _strangers(self, plan: _Plan, resolution: Resolution) -> Sequence[EntityRef]:
        """Return users that the catalog does not know, if a processor reaches them all the same."""
        if not self._reaches_strangers(plan):
            return ()
        return [ref for ref in resolution.unresolved if ref.kind == "user"]

    def _reaches_strangers(self, plan: _Plan) -> bool:
        """Whether a processor reaches users that the catalog does not know."""
        spec = plan.notification.spec
        channels = [self._supervisor.get(name) for name in spec.processors]
        return any(
            channel and channel.reaches_strangers and not channel.excludes(spec.payload)
            for channel in channels or self._supervisor.channels
        )

    def _absent_answer(self, plan: _Plan) -> Obstacle | None:
        """Return what there is to wait for before it is known what users want.

        What is critical waits for nobody.
        """
        channels = tuple(sorted({item.id for item in self._supervisor.channels if item.id}))
        if not (self._asks_preferences and channels):
            return None
        payload = plan.notification.spec.payload
        if plan.answer is None:
            origin = plan.ledger.origin or self.origin(plan.notification)
            raise PreferencesNeeded(Question(origin=origin, topic=payload.topic, channels=channels))
        if isinstance(plan.answer, Preferences) or payload.severity is Severity.CRITICAL:
            return None
        return Obstacle(reason=PREFERENCES_UNAVAILABLE, message=plan.answer.message)

    def _select(self, plan: _Plan) -> None:
        """Take the snapshot of processors."""
        spec, ledger = plan.notification.spec, plan.ledger
        names = spec.processors or [
            *(item.name for item in self._supervisor.channels),
            *(name for name in taking_part(ledger) if self.deadlines.may_come_back(name)),
        ]
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
        return any(self._supervisor.get(name) is not None for name in late_processors(ledger))

    def _wanted(self, plan: _Plan, resolution: Resolution, news: News) -> Wanted:
        """Ask the processors for their targets: all of them, or those that could not say before.

        The latter are asked about the recipients as they resolve now, because no row keeps whom
        they were to reach.
        """
        outbound = self.outbound(plan.notification, plan.ledger)
        late = late_processors(plan.ledger)
        users, members = _people(plan, resolution, news)
        strangers = self._strangers(plan, resolution)
        targets: dict[RowKey, Skip | None] = {}
        unable: dict[str, Skip] = {}
        for name in taking_part(plan.ledger):
            if not (plan.change.any or news.any or name in late):
                continue
            audience = Audience(
                users=resolution.users if name in late else users,
                broadcast=outbound.broadcast,
                strangers=strangers,
                members_without_entity=(
                    members_not_awaited(plan.ledger, resolution) if name in late else members
                ),
            )
            channel = self._supervisor.get(name)
            found = (
                willing_targets(channel, outbound, audience, plan.preferences) if channel else None
            )
            if found is None:
                unable[name] = self._why_unable(name)
                continue
            targets.update({(name, target.recipient): target.skip for target in found})
        return Wanted(targets=targets, unable=unable)

    def _why_unable(self, name: str) -> Skip:
        channel = self._supervisor.get(name)
        if channel is None:
            return Skip(
                reason=Reason.PROCESSOR_NOT_FOUND, message=self._supervisor.describe_missing(name)
            )
        reason = Reason.INVALID_CONFIG
        if channel.readiness.reason is ProcessorReason.CONNECTING:
            return Skip(reason=reason, message="the processor is being set up")
        message = channel.readiness.message
        if channel.readiness.reason != reason.value:
            message = f"{channel.readiness.reason}: {message}"
        return Skip(reason=reason, message=message)


@dataclass(frozen=True)
class _Plan:
    """The arguments that every step of planning shares."""

    notification: Notification
    ledger: Ledger
    directory: Directory
    change: Change
    now: datetime
    answer: Answer | None

    @property
    def namespace(self) -> str:
        """The Notification's namespace."""
        return self.notification.metadata.namespace

    @property
    def preferences(self) -> Preferences | None:
        """What users want, as far as it is known."""
        return None if isinstance(self.answer, Unavailable) else self.answer


def _people(
    plan: _Plan, resolution: Resolution, news: News
) -> tuple[Sequence[Entity], Sequence[EntityRef]]:
    """Return the users to plan for, and the members without an entity.

    These are the snapshot's, unless the recipients were edited, and those whom the news mean.
    """
    ledger = plan.ledger
    if plan.change.first or plan.change.recipients:
        ledger.users = settled_count(resolution)
        return resolution.users, members_not_awaited(ledger, resolution)
    users: Sequence[Entity] = users_of(ledger.rows.values(), plan.directory)
    planned = {row.recipient for row in ledger.rows.values()}
    if not any(map(is_user, planned)):
        users = resolution.users
    if not news.any:
        return users, ()
    found = resolve_news(news, resolution, plan.notification, plan.directory)
    present = {user.ref for user in users}
    added = [user for user in found.users if user.ref not in present]
    members = [ref for ref in members_not_awaited(ledger, found) if str(ref) not in planned]
    ledger.users += len(added) + len(members)
    return [*users, *added], members


def refusal(notification: Notification, change: Change, now: datetime) -> Obstacle | None:
    """Return why a Notification cannot be planned at all, if so."""
    spec = notification.spec
    if change.first and spec.expires_at is not None and spec.expires_at <= now:
        text = f"expiresAt {spec.expires_at.isoformat()} passed before anything was sent"
        return Obstacle(reason=Reason.EXPIRED, message=text)
    if (problem := metadata_problem(spec.payload.metadata)) is not None:
        return Obstacle(reason=Reason.TOO_LARGE, message=f"spec.payload.metadata {problem}")
    return None


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
