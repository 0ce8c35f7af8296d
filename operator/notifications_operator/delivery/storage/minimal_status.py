"""The smallest status that still records every delivery, for objects at their size limit."""

from __future__ import annotations

from ...api.notification import Delivery, DeliveryState, NotificationStatus

_FOR_PEOPLE = {"message": None, "code": None, "enhanced_code": None}


def minimal_status(status: NotificationStatus) -> NotificationStatus:
    """Return the status without anything that is only there to be read by people.

    What is left is no bigger than the claim it follows, so an object that could be claimed can
    also be recorded, the few words of its end aside.
    """
    return status.model_copy(
        update={
            "deliveries": [_reduced(row) for row in status.deliveries],
            "conditions": [item.model_copy(update={"message": ""}) for item in status.conditions],
            "processors": [item.model_copy(update={"message": None}) for item in status.processors],
        }
    )


def _reduced(row: Delivery) -> Delivery:
    # A claim keeps its time: that is the room for the time of the next attempt.
    claimed = row.state is DeliveryState.CLAIMED
    dropped = _FOR_PEOPLE if claimed else {**_FOR_PEOPLE, "last_attempt_time": None}
    return row.model_copy(update=dropped)
