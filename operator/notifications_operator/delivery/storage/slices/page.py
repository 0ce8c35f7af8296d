"""One slice as this process knows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from ....api.messages import describe_validation_error
from ....api.notification import DeliveryState
from ....api.reasons import Reason
from ....api.references import SLICES, ObjectRef
from ....api.resource import ObjectMeta
from ....api.slice import NotificationDeliverySlice
from ...ledger.rows import Row, awaits_user
from ...ledger.tally import Tally
from ..newer_format import NewerFormatError
from .codec import decode, unreadable_slice


class Page:
    """The rows of one slice as they are stored, and what they add up to.

    ``stale`` says that a write may or may not have been carried out: it must be read again.
    ``awaiting`` is how many rows wait for users whom the catalog does not know.
    """

    def __init__(self, body: dict[str, Any]) -> None:
        self.stale = False
        self.rows: list[Row] = []
        self.adopt(body)

    def adopt(self, body: dict[str, Any]) -> None:
        """Take the slice as the API server has it; raises `NewerFormatError`."""
        stored = _read(body)
        self.ref = ObjectRef.of(SLICES, stored.metadata)
        self.resource_version = stored.metadata.resource_version
        self.processor = stored.processor
        self.index = stored.index
        self.observed_generation = stored.observed_generation
        self.rows = decode(stored, self.rows)
        self.body = {name: value for name, value in body.items() if name not in _OTHERS}
        self.tally = Tally.of(self.rows)
        self.newest_revision = max((row.revision for row in self.rows), default=0)
        states = self.tally.states()
        self.awaiting = _count_awaiting(self.rows, self.tally)
        self.pending = states[DeliveryState.PENDING] > self.awaiting
        self.claimed = states[DeliveryState.CLAIMED] > 0
        self.is_open = any(not state.terminal for state in states)
        self.due = self.tally.next_attempts.get(self.processor)
        self.stale = False

    def is_ready(self, now: datetime) -> bool:
        """Whether a row may be claimed now."""
        return self.pending or (self.due is not None and self.due <= now)

    def in_state(self, *states: DeliveryState) -> Sequence[Row]:
        """Return the rows in some states."""
        found = self.tally.states()
        if not any(found[state] for state in states):
            return []
        return [row for row in self.rows if row.state in states]


def _read(body: dict[str, Any]) -> NotificationDeliverySlice:
    """Read a slice, or say why its Notification is left alone."""
    problem = unreadable_slice(body)
    try:
        if problem is None:
            return NotificationDeliverySlice.model_validate(body)
    except ValidationError as error:
        problem = describe_validation_error(error)
    ref = ObjectRef.of(SLICES, ObjectMeta.model_validate(body["metadata"]))
    raise NewerFormatError(ref, problem)


def _count_awaiting(rows: Sequence[Row], tally: Tally) -> int:
    if not tally.reasons(DeliveryState.PENDING)[Reason.UNKNOWN_ENTITIES]:
        return 0
    return sum(map(awaits_user, rows))


_OTHERS = ("apiVersion", "kind", "metadata")
