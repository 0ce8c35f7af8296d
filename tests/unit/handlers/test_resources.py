"""What kopf is told, and what it makes of an event."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, cast

import kopf
import pytest
from kopf._cogs.clients import patching
from kopf._cogs.structs.ephemera import Memo
from kopf._cogs.structs.references import Resource
from kopf._core.actions import lifecycles
from kopf._core.engines.indexing import OperatorIndexers
from kopf._core.reactor.inventory import ResourceMemories
from kopf._core.reactor.processing import process_resource_event

from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS
from notifications_operator.api.resource import GROUP, VERSION
from notifications_operator.handlers.login import Login
from notifications_operator.handlers.resources import make_registry, make_settings
from notifications_operator.settings import WatchSettings

BODY = {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "Notification",
    "metadata": {
        "name": "n",
        "namespace": "team",
        "uid": "1",
        "resourceVersion": "7",
        "labels": {"a": "b"},
        "annotations": {"kopf.zalando.org/last-handled-configuration": "{}", "c": "d"},
    },
    "spec": {"payload": {"title": "Hello"}},
    "status": {"state": "Pending"},
}


class Heard:
    """An engine and a watch check that note what they are handed."""

    def __init__(self) -> None:
        self.offered: list[dict[str, Any]] = []
        self.withdrawn: list[str] = []

    def offer(self, body: dict[str, Any]) -> None:
        self.offered.append(body)

    def withdraw(self, uid: str) -> None:
        self.withdrawn.append(uid)

    def saw(self, body: dict[str, Any]) -> None:
        """Nothing of it matters here."""

    def forget(self, uid: str) -> None:
        """Nothing of it matters here."""


@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED", "DELETED"])
async def test_an_event_is_handed_over_whole_and_nothing_is_written(
    kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def written(**_: Any) -> None:
        raise AssertionError("kopf wrote to the cluster")

    monkeypatch.setattr(patching, "patch_obj", written)
    heard = Heard()
    version = await process_resource_event(
        lifecycle=lifecycles.all_at_once,
        indexers=OperatorIndexers(),
        registry=make_registry(
            cast(Any, heard), dict.fromkeys((NOTIFICATIONS, PROCESSORS), cast(Any, heard)), Login()
        ),
        settings=make_settings(WatchSettings()),
        memories=ResourceMemories(),
        memobase=cast(Any, Memo()),
        resource=Resource(
            group=GROUP, version=VERSION, plural=NOTIFICATIONS, kind="Notification", namespaced=True
        ),
        raw_event=cast(Any, {"type": kind, "object": copy.deepcopy(BODY)}),
        event_queue=asyncio.Queue(),
    )

    assert version is None
    if kind == "DELETED":
        assert (heard.offered, heard.withdrawn) == ([], ["1"])
    else:
        assert (heard.offered, heard.withdrawn) == ([BODY], [])


def test_settings_of_kopf_keep_it_quiet() -> None:
    settings = make_settings(WatchSettings())

    assert isinstance(settings.persistence.diffbase_storage, kopf.DiffBaseStorage)
    assert not settings.posting.enabled
    assert settings.peering.standalone
