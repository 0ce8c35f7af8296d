"""The operator with its times cut short, so that a campaign need not wait for minutes.

Run as ``python -m tests.chaos.impatient run``. Nothing else of it differs: the times are constants
of its modules, which no user can set.
"""

from __future__ import annotations

import sys
from dataclasses import fields

import kopf

from notifications_operator import application, cli
from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.dispatch import channel
from notifications_operator.delivery.dispatch.health import breaker, evidence
from notifications_operator.handlers import resources, resync
from notifications_operator.kube import transport
from notifications_operator.processors.email import timeouts
from notifications_operator.processors.email.oauth2 import endpoint
from notifications_operator.settings import WatchSettings

from .observed import observe

SMTP_SECONDS = 1.5
"""Longest wait for a mail server in each phase; campaigns hang for longer."""

REQUEST_SECONDS = 5.0
"""Longest wait for the API server, watches aside."""

WATCH_SECONDS = 10
"""Longest life of a watch."""


def hurry() -> None:
    """Cut the times short."""
    for field in fields(timeouts.Timeouts):
        # The one instance is the default of every connection.
        object.__setattr__(timeouts.DEFAULT_TIMEOUTS, field.name, SMTP_SECONDS)
    endpoint.REQUEST_SECONDS = SMTP_SECONDS
    breaker._DEFAULT_DELAY = (0.2, 1.0)
    breaker._DELAYS = {Reason.AUTH_FAILED: (0.3, 1.5)}
    breaker._SLOWDOWN = (0.2, 1.0)
    evidence.FIRST_HOLD, evidence.LONGEST_HOLD = 0.2, 1.0
    channel.NOT_READY_POLL = 0.5
    resync.CATCH_UP_SECONDS = 2.0
    transport.REQUEST_TIMEOUT = REQUEST_SECONDS
    transport.WATCH_SECONDS = WATCH_SECONDS

    def impatient_settings(watch: WatchSettings) -> kopf.OperatorSettings:
        quick = watch.model_copy(update={"inactivity_timeout": WATCH_SECONDS})
        settings = resources.make_settings(quick)
        settings.watching.server_timeout = WATCH_SECONDS
        settings.watching.client_timeout = WATCH_SECONDS + REQUEST_SECONDS
        settings.networking.request_timeout = REQUEST_SECONDS
        return settings

    vars(application)["make_settings"] = impatient_settings


if __name__ == "__main__":
    observe()
    hurry()
    sys.exit(cli.main())
