"""What a refusal of the API server means for whoever sends.

A refusal for what the request says is the caller's to mend. One for what the gateway may do, or for
what is missing in the cluster, is not: it is logged, and the caller may come back.
"""

from __future__ import annotations

import logging
import re

from ...api.errors import ForbiddenError, KubernetesError, RejectedError
from ..errors import (
    GatewayError,
    InputError,
    NotAllowedError,
    ServiceUnavailableError,
    TooManyRequestsError,
)

logger = logging.getLogger(__name__)

RETRY_AFTER = 30.0
"""Seconds after which a fault of the installation is perhaps mended."""

QUOTA_RETRY_AFTER = 60.0
"""Seconds after which a quota has perhaps room again: finished Notifications are deleted."""

OWN_POLICY = "verbs.notifications.orchestrator.io"
"""The chart's policy; it asks for verbs that the gateway's own account must have."""

_REQUEST = re.compile(r"\A[A-Z]+ \S+: \d{3} ")
_POLICY = re.compile(r"denied (the )?request")
_QUOTA = "exceeded quota"


def refusal(error: KubernetesError) -> GatewayError:
    """Return what to answer to an error with which nothing was stored."""
    reason = _REQUEST.sub("", str(error))
    match error:
        case RejectedError():
            return InputError(f"The cluster refuses the notification: {reason}")
        case ForbiddenError() if _QUOTA in reason:
            logger.warning("a quota is used up: %s", error)
            return TooManyRequestsError(
                "No more notifications can be stored now; try again later",
                retry_after=QUOTA_RETRY_AFTER,
            )
        case ForbiddenError() if _POLICY.search(reason) and OWN_POLICY not in reason:
            return NotAllowedError(f"A policy of the cluster refuses the notification: {reason}")
        case _:
            logger.error("cannot create Notifications: %s", error)
            return ServiceUnavailableError(
                "Notifications cannot be stored now; the reason is in the gateway's log",
                retry_after=RETRY_AFTER,
            )
