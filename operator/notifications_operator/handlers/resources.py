"""The kopf handlers of our kinds: parse nothing, decide nothing, hand over."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import kopf

from ..api.references import NOTIFICATIONS, PROCESSORS
from ..api.resource import GROUP, VERSION
from ..delivery.engine import Engine
from ..settings import WatchSettings
from .login import Login, add_login
from .resync import WatchCheck

logger = logging.getLogger(__name__)

_BACKOFFS = (1, 1, 2, 3, 5, 8, 13, 21, *[30] * 5760)
"""Seconds between tries to reach the API server: two days, then the process ends."""


class NoDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing of an object: raw events are not compared with what was handled before.

    kopf would copy every object of every event for that comparison.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        """Nothing was stored."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


def make_registry(
    engine: Engine, checks: Mapping[str, WatchCheck], login: Login
) -> kopf.OperatorRegistry:
    """Return the handlers, bound to an engine, to the check of each kind's watch and to a login.

    What an engine could not take was not brought, as far as the check goes.
    Only raw events are used: kopf persists nothing, adds no finalizer and writes no annotation.
    """
    registry = kopf.OperatorRegistry()
    add_login(registry, login)

    @kopf.on.event(GROUP, VERSION, NOTIFICATIONS, registry=registry)
    async def notification(event: kopf.RawEvent, **_: Any) -> None:
        body: dict[str, Any] = dict(event["object"])
        if event["type"] == "DELETED":
            checks[NOTIFICATIONS].forget(body)
            engine.withdraw(body["metadata"]["uid"])
        else:
            engine.offer(body)
            checks[NOTIFICATIONS].saw(body)

    @kopf.on.event(GROUP, VERSION, PROCESSORS, registry=registry)
    async def processor(event: kopf.RawEvent, **_: Any) -> None:
        body: dict[str, Any] = dict(event["object"])
        if event["type"] == "DELETED":
            checks[PROCESSORS].forget(body)
            engine.withdraw_processor(body)
        else:
            engine.offer_processor(body)
            checks[PROCESSORS].saw(body)

    return registry


def make_settings(watch: WatchSettings) -> kopf.OperatorSettings:
    """Return kopf's settings: an informer that never gives up and never writes."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.queueing.idle_timeout = 1.0
    settings.watching.chunk_size = 500
    settings.watching.inactivity_timeout = watch.inactivity_timeout
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = _BACKOFFS
    return settings
