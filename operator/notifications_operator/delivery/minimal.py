"""The smallest status that still records every delivery, for objects at their size limit."""

from __future__ import annotations

from ..api.notification import NotificationStatus

_DROPPED_FROM_ROWS = {
    "message": None,
    "code": None,
    "enhanced_code": None,
    "last_attempt_time": None,
}


def minimal_status(status: NotificationStatus) -> NotificationStatus:
    """Return the status without anything that is only there to be read by people.

    What is left is smaller than the claim it follows, so an object that could be claimed can also
    be recorded.
    """
    return status.model_copy(
        update={
            "deliveries": [row.model_copy(update=_DROPPED_FROM_ROWS) for row in status.deliveries],
            "conditions": [item.model_copy(update={"message": ""}) for item in status.conditions],
            "processors": [item.model_copy(update={"message": None}) for item in status.processors],
        }
    )
