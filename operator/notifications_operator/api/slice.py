"""The ``NotificationDeliverySlice``: a part of the ledger of a large fan-out.

``crds/notificationdeliveryslices.yaml`` is the source of truth. The operator alone writes slices.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .fields import Cut, Line, Word
from .ledger_format import LEDGER_FORMAT
from .resource import GROUP, KubernetesModel, Resource, Time

NOTIFICATION_UID_LABEL = f"{GROUP}/notification-uid"
"""Label of a slice that selects it by its Notification."""

SLICE_SIZE = 256
"""Most recipients of one slice (DESIGN section 3: a third of the etcd growth of 1,000)."""

DETAIL_MESSAGE_LIMIT = 256
"""Longest message of a detail, in characters."""


class SliceClaim(KubernetesModel):
    """Deliveries that are being sent: by whom, and since when."""

    holder: Line
    time: Time
    rows: list[int] = Field(default_factory=list)


class SliceDetail(KubernetesModel):
    """What there is to say about one delivery beyond its state."""

    row: int
    reason: Word | None = None
    message: Annotated[str, Cut(DETAIL_MESSAGE_LIMIT)] | None = None
    code: int | None = None
    enhanced_code: Word | None = None
    attempts: int | None = None
    revision: int | None = None
    opened_time: Time | None = None
    last_attempt_time: Time | None = None
    next_attempt_time: Time | None = None


class SliceRows(KubernetesModel):
    """Deliveries of one processor.

    ``states`` has one letter for each of ``recipients``; ``revision`` and ``opened_time`` hold for
    all but those whose detail says otherwise.
    """

    processor: str
    revision: int
    opened_time: Time
    summary: Word | None = None
    recipients: list[str] = Field(default_factory=list)
    states: str = ""
    claims: list[SliceClaim] = Field(default_factory=list)
    details: list[SliceDetail] = Field(default_factory=list)


class NotificationDeliverySlice(SliceRows, Resource):
    """Up to 256 deliveries, and their place in the ledger.

    ``observed_generation`` is the Notification's generation that they were last planned for.
    """

    format: int = LEDGER_FORMAT
    index: int
    observed_generation: int
