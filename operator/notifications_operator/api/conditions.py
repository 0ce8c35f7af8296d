"""Conditions as the Kubernetes API conventions define them (``metav1.Condition``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from .fields import Cut, Word
from .resource import KubernetesModel, Time

MESSAGE_LIMIT = 2048
"""Longest condition message we write, in characters (the schema allows 32,768)."""


class ConditionType(StrEnum):
    """Types of conditions that the operator writes."""

    RECIPIENTS_RESOLVED = "RecipientsResolved"
    RECORDED = "Recorded"
    COMPLETE = "Complete"
    DELIVERED = "Delivered"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Condition(KubernetesModel):
    """One observation of a resource, with the moment it last changed."""

    type: str
    status: str
    reason: Word
    message: Annotated[str, Cut(32768)] = ""
    observed_generation: int = 0
    last_transition_time: Time


def condition(
    kind: ConditionType,
    status: bool | None,
    reason: str,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> Condition:
    """Make a condition; ``None`` is ``Unknown``, and the message is cut to its bound."""
    text = {True: "True", False: "False", None: "Unknown"}[status]
    return Condition(
        type=kind,
        status=text,
        reason=reason,
        message=message[:MESSAGE_LIMIT],
        observed_generation=generation,
        last_transition_time=now,
    )


def merge_conditions(old: Sequence[Condition], new: Iterable[Condition]) -> list[Condition]:
    """Return ``new`` with the transition time of ``old`` wherever the status did not change."""
    before = {item.type: item for item in old}
    merged = []
    for item in new:
        previous = before.get(item.type)
        if previous is not None and previous.status == item.status:
            item = item.model_copy(update={"last_transition_time": previous.last_transition_time})
        merged.append(item)
    return merged


def find_condition(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """Return the condition of one type, if it is there."""
    return next((item for item in conditions if item.type == kind), None)
