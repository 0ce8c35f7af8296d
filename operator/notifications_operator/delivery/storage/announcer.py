"""Tells of a Notification's end, or of what it waits for, by one Event."""

from __future__ import annotations

import logging

from ...api.conditions import ConditionType, find_condition
from ...api.notification import Notification, NotificationState, NotificationStatus
from ...api.references import ObjectRef
from ...telemetry import metrics
from ..ledger.tally import Tally
from ..ports import Recorder

logger = logging.getLogger(__name__)


class Announcer:
    """Writes the Events of one Notification, logs its transitions and counts its end."""

    def __init__(self, recorder: Recorder, ref: ObjectRef) -> None:
        self._recorder = recorder
        self._ref = ref

    async def announce(
        self, before: NotificationStatus, notification: Notification, tally: Tally
    ) -> None:
        """Tell what a write has changed: the end, or the beginning of a wait."""
        after = notification.status
        self._log(before, after)
        complete = find_condition(after.conditions, ConditionType.COMPLETE)
        resolved = find_condition(after.conditions, ConditionType.RECIPIENTS_RESOLVED)
        if complete is not None and _became(ConditionType.COMPLETE, "True", before, after):
            metrics.count_finished(notification, tally.counts.items())
            warning = after.state is not NotificationState.DELIVERED
            await self._record(warning, str(after.state), "Deliver", complete.message)
        elif resolved is not None and _became(
            ConditionType.RECIPIENTS_RESOLVED, "False", before, after
        ):
            await self._record(True, resolved.reason, "Resolve", resolved.message)

    def _log(self, before: NotificationStatus, after: NotificationStatus) -> None:
        """Write one line for a transition: another state, revision or redelivery."""
        old, new = _position(before), _position(after)
        if old != new:
            logger.info(
                "%s -> %s",
                before.state,
                after.state,
                extra={
                    **self._ref.log_fields,
                    "state": str(after.state),
                    "summary": after.summary,
                    "reason": after.reason,
                    "revision": after.revision,
                    "redelivery": after.redelivery,
                },
            )

    async def warn(self, reason: str, action: str, note: str) -> None:
        """Write a Warning."""
        await self._record(True, reason, action, note)

    async def _record(self, warning: bool, reason: str, action: str, note: str) -> None:
        await self._recorder.record(
            self._ref.to_wire(), warning=warning, reason=reason, action=action, note=note
        )


def _position(status: NotificationStatus) -> tuple[str, int, int, str | None]:
    return (status.state, status.revision, status.redelivery, status.last_redeliver)


def _became(
    kind: ConditionType, status: str, before: NotificationStatus, after: NotificationStatus
) -> bool:
    old, new = find_condition(before.conditions, kind), find_condition(after.conditions, kind)
    return new is not None and new.status == status and (old is None or old.status != status)
