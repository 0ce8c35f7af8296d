"""The ``Notification`` custom resource (``crds/notifications.yaml`` is the source of truth)."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from .conditions import Condition, ConditionType, find_condition
from .fields import UNCOERCED, WORD_PATTERN, Boolean, Cut, Line, Message, ProcessorName, Word
from .ledger_format import LEDGER_FORMAT
from .resource import GROUP, KubernetesModel, ObjectMeta, Resource, Time

REDELIVER_ANNOTATION = f"{GROUP}/redeliver"
"""A new value sends again to the failed and unknown; ``all:<value>`` sends to everyone."""

REQUESTED_ANNOTATION = f"{GROUP}/requested"
"""When the request came that the Notification was made for, in ISO 8601 with fractions of a second.

``creationTimestamp`` has whole seconds, in which the gateway makes many. It is believed where
``spec.origin`` is, and close to ``creationTimestamp`` alone.
"""

CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far the clocks of the API server and of who made a Notification may be apart."""

REDELIVER_LIMIT = 1024
"""Characters of the annotation that count; more would not fit into ``status.lastRedeliver``."""

REF_PATTERN = (
    r"^[A-Za-z][A-Za-z0-9]{0,62}:"
    r"([A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?/)?"
    r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
)
"""An entity ref with its kind: ``kind:[namespace/]name`` (Backstage's catalog-model grammar)."""

LINK_PATTERN = (
    r"^([Hh][Tt][Tt][Pp][Ss]?://"
    r'([^\x00-\x20\x7f"#%/:<>?@\[\\\]^|]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?'
    r"([/?#][^\x00-\x20\x7f\\]*)?"
    r"|/([^\x00-\x20\x7f/\\][^\x00-\x20\x7f\\]*)?"
    r"|[^\x00-\x20\x7f/\\?#:]+([/?#][^\x00-\x20\x7f\\]*)?)$"
)
"""An http(s) URL with a host and without user-info, or a path under ``app.baseUrl``.

Refused are the forms that browsers read as another host: ``//host``, ``/\\host``, and anything with
a backslash, blank or control character (WHATWG URL, section 4.4).
"""

Topic = Annotated[str, StringConstraints(max_length=255)]
EntityRefText = Annotated[str, StringConstraints(max_length=256, pattern=REF_PATTERN)]


class Severity(StrEnum):
    """Severities, most severe first (upstream ``notificationSeverities``)."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """Position in the order, 0 being the most severe."""
        return list(Severity).index(self)


class Recipients(KubernetesModel):
    """Whom a Notification is for: entities of the catalog, or everybody."""

    type: Literal["entity", "broadcast"]
    entity_ref: EntityRefText | None = None
    entity_refs: list[EntityRefText] = Field(default_factory=list, max_length=1000)
    exclude_entity_ref: EntityRefText | None = None
    exclude_entity_refs: list[EntityRefText] = Field(default_factory=list, max_length=1000)

    @property
    def included(self) -> list[str]:
        """All refs to resolve, singular field first."""
        return ([self.entity_ref] if self.entity_ref else []) + self.entity_refs

    @property
    def excluded(self) -> list[str]:
        """All refs to leave out, singular field first."""
        return ([self.exclude_entity_ref] if self.exclude_entity_ref else []) + (
            self.exclude_entity_refs
        )

    @model_validator(mode="after")
    def _type_fits_refs(self) -> Self:
        if self.type == "broadcast" and (self.included or self.excluded):
            raise ValueError(
                "recipients of type broadcast take no entityRef, entityRefs, excludeEntityRef or "
                "excludeEntityRefs; remove them, or use type entity"
            )
        if self.type == "entity" and not self.included:
            raise ValueError(
                "recipients of type entity need entityRef or entityRefs, such as user:default/ada"
            )
        return self


class Payload(KubernetesModel):
    """What the Notification says (Backstage's ``NotificationPayload``)."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    description: Annotated[str, StringConstraints(max_length=32768)] | None = None
    link: Annotated[str, StringConstraints(max_length=2048, pattern=LINK_PATTERN)] | None = None
    severity: Severity = Severity.NORMAL
    topic: Topic | None = None
    scope: Annotated[str, StringConstraints(max_length=255)] | None = None
    icon: Annotated[str, StringConstraints(max_length=255)] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, max_length=256)


class NotificationSpec(KubernetesModel):
    """The desired notification: the body of Backstage's ``POST /api/notifications`` and more."""

    recipients: Recipients
    payload: Payload
    processors: list[ProcessorName] = Field(default_factory=list, max_length=32)
    origin: (
        Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=WORD_PATTERN)] | None
    ) = None
    suspend: Boolean = False
    expires_at: Time | None = None
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2147483647), UNCOERCED] | None = None

    @model_validator(mode="after")
    def _processors_are_unique(self) -> Self:
        if len(set(self.processors)) < len(self.processors):
            raise ValueError("processors names one processor twice; name each once")
        return self


class NotificationState(StrEnum):
    """One word for a Notification; derived, the conditions are the contract."""

    PENDING = "Pending"
    DELIVERING = "Delivering"
    DELIVERED = "Delivered"
    PARTIALLY_DELIVERED = "PartiallyDelivered"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    EXPIRED = "Expired"
    NO_RECIPIENTS = "NoRecipients"


class DeliveryState(StrEnum):
    """Where one recipient's delivery stands."""

    PENDING = "Pending"
    CLAIMED = "Claimed"
    SENT = "Sent"
    RETRYING = "Retrying"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    UNKNOWN = "Unknown"

    @property
    def terminal(self) -> bool:
        """Whether nothing more happens to the row on its own."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.SKIPPED, DeliveryState.UNKNOWN}
)


class Delivery(KubernetesModel):
    """One row of the ledger: one recipient of one processor.

    ``reason`` is a value of `Reason`; it is kept as text, because a status written by a newer
    release must still be readable.
    """

    processor: str
    recipient: str
    state: DeliveryState
    reason: Word | None = None
    message: Message | None = None
    code: int | None = None
    enhanced_code: Word | None = None
    attempts: int = 0
    revision: int = 1
    holder: Line | None = None
    opened_time: Time | None = None
    last_attempt_time: Time | None = None
    next_attempt_time: Time | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the row within its Notification."""
        return (self.processor, self.recipient)


class ProcessorSummary(KubernetesModel):
    """How many deliveries of one processor are in each state."""

    name: str
    reason: Word | None = None
    message: Message | None = None
    total: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    retrying: int = 0
    pending: int = 0
    unknown: int = 0
    next_attempt_time: Time | None = None


class Unresolved(KubernetesModel):
    """Refs that the catalog does not know: how many, and the first of them."""

    count: int = 0
    refs: list[Line] = Field(default_factory=list)


class RecipientsStatus(KubernetesModel):
    """What the recipients resolved to."""

    users: int = 0
    unresolved: Unresolved | None = None


class LedgerStatus(KubernetesModel):
    """Place and format of the rows, and the revision that they belong to."""

    format: int = LEDGER_FORMAT
    type: str = "Inline"
    revision: int = 0
    slices: int | None = None


class NotificationStatus(KubernetesModel):
    """What became of a Notification."""

    observed_generation: int = -1
    revision: int = 0
    redelivery: int = 0
    payload_digest: Word | None = None
    recipients_digest: Word | None = None
    last_redeliver: Annotated[str, Cut(REDELIVER_LIMIT)] | None = None
    state: NotificationState = NotificationState.PENDING
    summary: Word | None = None
    reason: Word | None = None
    origin: Line | None = None
    start_time: Time | None = None
    completion_time: Time | None = None
    ledger: LedgerStatus | None = None
    recipients: RecipientsStatus | None = None
    processors: list[ProcessorSummary] = Field(default_factory=list)
    deliveries: list[Delivery] = Field(default_factory=list)
    conditions: list[Condition] = Field(default_factory=list)


def requested_moment(metadata: ObjectMeta) -> datetime | None:
    """Return the moment that the requested annotation says, close to the creation it is about.

    Who says it must be trusted; their clock and the API server's may differ a little.
    """
    try:
        moment = datetime.fromisoformat(metadata.annotations[REQUESTED_ANNOTATION])
    except (KeyError, ValueError):
        return None
    created = metadata.creation_timestamp
    if created is None or moment.tzinfo is None:
        return None
    return moment if abs(moment - created) <= CLOCK_TOLERANCE else None


def requested_redelivery(metadata: ObjectMeta) -> str | None:
    """Return the value of the redeliver annotation, if there is one, as far as it is recorded."""
    return metadata.annotations.get(REDELIVER_ANNOTATION, "")[:REDELIVER_LIMIT] or None


def is_finished(metadata: ObjectMeta, status: NotificationStatus) -> bool:
    """Return whether a status says that nothing more happens without an edit or a redelivery."""
    complete = find_condition(status.conditions, ConditionType.COMPLETE)
    return (
        complete is not None
        and complete.status == "True"
        and status.observed_generation == metadata.generation
        and requested_redelivery(metadata) in (None, status.last_redeliver)
    )


class Notification(Resource):
    """Something that people should know."""

    spec: NotificationSpec
    status: NotificationStatus = Field(default_factory=NotificationStatus)

    @property
    def redeliver(self) -> str | None:
        """The value of the redeliver annotation, if there is one, as far as it is recorded."""
        return requested_redelivery(self.metadata)

    @property
    def finished(self) -> bool:
        """Whether the status says that nothing more happens without an edit or a redelivery."""
        return is_finished(self.metadata, self.status)

    @property
    def restarts(self) -> bool:
        """Whether it ended without ever being planned, and was edited or redelivered since."""
        complete = find_condition(self.status.conditions, ConditionType.COMPLETE)
        ended = complete is not None and complete.status == "True"
        return ended and self.status.revision == 0 and not self.finished
