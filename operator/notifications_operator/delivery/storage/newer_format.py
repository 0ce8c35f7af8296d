"""Recognises ledgers that a newer release wrote; pure.

An operator that misreads a ledger sends twice or never. So a ledger with a format, type or state
that this release does not know is left alone until a release that knows it runs again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from ...api.conditions import ConditionType, condition, find_condition
from ...api.ledger_format import LEDGER_FORMAT
from ...api.messages import describe_validation_error
from ...api.notification import (
    DeliveryState,
    Notification,
    NotificationState,
    NotificationStatus,
    is_finished,
)
from ...api.references import ObjectRef
from ...api.resource import ObjectMeta, format_time
from ..ledger.ledger import INLINE, SLICES

NEWER_FORMAT = "NewerFormat"
"""Reason of the condition and the Event that say that a Notification is left alone."""

_DELIVERED = ConditionType.DELIVERED

_MARKS = ("observedGeneration", "lastRedeliver", "conditions")
"""The fields of a status that say whether it is finished, in every format."""

_SHOWN = 64
"""Most characters of a value in a message."""


class NewerFormatError(Exception):
    """A slice cannot be read, so that its Notification must be left alone.

    Attributes
    ----------
    ref
        The slice.
    """

    def __init__(self, ref: ObjectRef, problem: str) -> None:
        super().__init__(f"NotificationDeliverySlice {ref.name}: {problem}")
        self.ref = ref


def unknown_format(stored: Any, field: str) -> str | None:
    """Return what is unknown about a ``format``; absent means the first."""
    known = stored is None or (stored == LEDGER_FORMAT and not isinstance(stored, bool))
    return None if known else _unknown(field, stored, [LEDGER_FORMAT])


def unknown_in_status(status: Mapping[str, Any]) -> str | None:
    """Return the first word of a raw status that this release does not know, as a sentence.

    It looks at the words that say how the ledger is to be read. Reasons are free, and fields that
    are not known may be dropped.
    """
    return next(_unknowns(status), None)


def unreadable_status(status: Mapping[str, Any]) -> str | None:
    """Return why a raw status cannot be read, or ``None`` if it can."""
    if unknown := unknown_in_status(status):
        return unknown
    try:
        NotificationStatus.model_validate(status)
    except ValidationError as error:
        return f"status: {describe_validation_error(error)}"
    return None


def is_over(metadata: ObjectMeta, status: Mapping[str, Any]) -> bool:
    """Return whether a status of any format says that the Notification is finished."""
    try:
        marks = NotificationStatus.model_validate(
            {name: status[name] for name in _MARKS if name in status}
        )
    except ValidationError:
        return False
    return is_finished(metadata, marks)


def says_newer_format(status: Mapping[str, Any]) -> bool:
    """Return whether the condition is there that a release left behind."""
    return any(
        item.get("type") == _DELIVERED and item.get("reason") == NEWER_FORMAT
        for item in _conditions(status)
    )


def delivered_is_unknown(notification: Notification) -> bool:
    """Return whether that condition is still there on a Notification that can be read."""
    delivered = find_condition(notification.status.conditions, _DELIVERED)
    return delivered is not None and delivered.reason == NEWER_FORMAT


def left_alone_conditions(
    status: Mapping[str, Any], problem: str, generation: int, now: datetime
) -> list[dict[str, Any]] | None:
    """Return the conditions that say that the Notification is left alone.

    All others are kept as they are; ``None`` if the stored ones say it already.
    """
    return _replaced(
        status,
        status_word=None,
        reason=NEWER_FORMAT,
        message=explain(problem),
        generation=generation,
        now=now,
    )


def repaired_conditions(
    status: Mapping[str, Any], generation: int, now: datetime
) -> list[dict[str, Any]] | None:
    """Return the conditions of a finished Notification that is left alone no more.

    ``Delivered`` says again what ``Complete`` says; ``None`` if there is nothing to repair.
    """
    found = {item.get("type"): item for item in _conditions(status)}
    complete = found.get(ConditionType.COMPLETE)
    if complete is None or not says_newer_format(status):
        return None
    state = status.get("state")
    return _replaced(
        status,
        status_word=state in (NotificationState.DELIVERED, NotificationState.NO_RECIPIENTS),
        reason=complete["reason"],
        message=complete.get("message", ""),
        generation=generation,
        now=now,
    )


def explain(problem: str) -> str:
    """Return what is told to people: what was met, and what to do."""
    return (
        f"{problem}; a newer release of the operator must have written it. Nothing is sent or "
        "changed until that release runs again: upgrade the operator, or restore the object"
    )


def _unknowns(status: Mapping[str, Any]) -> Iterator[str]:
    ledger = status.get("ledger") or {}
    if isinstance(ledger, Mapping):
        if unknown := unknown_format(ledger.get("format"), "status.ledger.format"):
            yield unknown
        yield from _unless(ledger.get("type"), (INLINE, SLICES), "status.ledger.type")
    yield from _unless(status.get("state"), _STATES, "status.state")
    rows = status.get("deliveries")
    for number, row in enumerate(rows if isinstance(rows, list) else ()):
        state = row.get("state") if isinstance(row, Mapping) else None
        if state not in _DELIVERY_STATES:
            yield from _unless(state, _DELIVERY_STATES, f"status.deliveries[{number}].state")


def _conditions(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    stored = status.get("conditions")
    return [item for item in stored if isinstance(item, dict)] if isinstance(stored, list) else []


def _unless(stored: Any, known: Collection[str], field: str) -> Iterator[str]:
    if stored is not None and stored not in known:
        yield _unknown(field, stored, list(known))


def _unknown(field: str, stored: Any, known: Collection[Any]) -> str:
    value = repr(stored)
    shown = value if len(value) <= _SHOWN else f"{value[: _SHOWN - 3]}..."
    return f"{field} is {shown}, and this release knows {', '.join(map(str, known))}"


def _replaced(
    status: Mapping[str, Any],
    *,
    status_word: bool | None,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> list[dict[str, Any]] | None:
    """Return the stored conditions with another ``Delivered``, or ``None`` if it is the same."""
    stored = _conditions(status)
    made = condition(_DELIVERED, status_word, reason, message, generation=generation, now=now)
    wanted = made.to_wire()
    place = next((at for at, item in enumerate(stored) if item.get("type") == _DELIVERED), None)
    if place is None:
        return [*stored, wanted]
    before = stored[place]
    if before.get("status") == wanted["status"]:
        wanted["lastTransitionTime"] = before.get("lastTransitionTime", format_time(now))
    if before == wanted:
        return None
    return [*stored[:place], wanted, *stored[place + 1 :]]


_STATES: Collection[str] = tuple(map(str, NotificationState))
_DELIVERY_STATES: Collection[str] = tuple(map(str, DeliveryState))
