"""The history must find what only the order of versions tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.chaos.evidence import Doubt, Key
from tests.chaos.history import History
from tests.chaos.stage import Stage
from tests.support.kubernetes import Object

ADA = Key("email", "n0001", "ada")


class Cluster:
    """Brings versions of one Notification, and of one slice, and then nothing more."""

    def __init__(self, *versions: Object, epoch: int) -> None:
        self._versions = versions
        self._epoch = epoch
        self.all_brought = asyncio.Event()

    async def get(self, kind: str, name: str, namespace: str) -> Object:
        return {"spec": {"holderIdentity": "pod-b_x", "leaseTransitions": self._epoch}}

    async def watch(self, kind: str, namespace: str) -> AsyncIterator[Object]:
        for version in self._versions:
            if version["kind"] == kind:
                yield {"type": "MODIFIED", "object": version}
        if self._versions[0]["kind"] == kind:
            self.all_brought.set()
        await asyncio.Event().wait()


def inline(state: str, holder: str | None = None) -> Object:
    row = {"processor": "email", "recipient": "user:default/ada", "state": state}
    return {
        "kind": "Notification",
        "metadata": {"name": "n0001", "uid": "1"},
        "status": {"deliveries": [row | ({"holder": holder} if holder else {})]},
    }


def sliced(state: str, holder: str | None = None) -> Object:
    return {
        "kind": "NotificationDeliverySlice",
        "metadata": {"uid": "2", "ownerReferences": [{"name": "n0001"}]},
        "processor": "email",
        "recipients": ["user:default/ada"],
        "states": state[0],
        "claims": [{"holder": holder, "rows": [0]}] if holder else [],
    }


async def follow(*versions: Object, epoch: int = 2, **changes: Any) -> Stage:
    cluster = Cluster(*versions, epoch=epoch)
    fields = {"orphans": [], "overruled": [], "editions": {}, "asked": [], "namespace": "n"}
    stage = cast(Stage, SimpleNamespace(kubernetes=cluster, **fields | changes))
    async with History(stage).followed():
        await cluster.all_brought.wait()
    return stage


@pytest.mark.parametrize("version", [inline, sliced])
async def test_a_claim_that_its_own_process_made_anew_when_it_led_again(version: Any) -> None:
    stage = await follow(version("Claimed", "1/a/1.1"), version("Claimed", "2/a/1.2"))
    assert (stage.orphans, stage.overruled) == ([], [])


@pytest.mark.parametrize("version", [inline, sliced])
async def test_a_claim_that_another_process_put_an_end_to(version: Any) -> None:
    for later in (version("Retrying"), version("Unknown"), version("Claimed", "2/b/1.1")):
        stage = await follow(version("Claimed", "1/a/1.1"), later)
        assert [orphan.key for orphan in stage.orphans] == [ADA]
        assert stage.overruled == []


@pytest.mark.parametrize("version", [inline, sliced])
async def test_a_claim_that_its_process_put_an_end_to(version: Any) -> None:
    for state in ("Sent", "Failed", "Pending"):
        stage = await follow(version("Claimed", "1/a/1.1"), version(state))
        assert (stage.orphans, stage.overruled) == ([], [])
    stage = await follow(version("Claimed", "2/a/1.1"), version("Retrying"))
    assert stage.orphans == []


async def test_two_processes_of_one_epoch() -> None:
    stage = await follow(inline("Claimed", "2/a/1.1"), inline("Claimed", "2/b/1.1"))
    assert "epoch 2 is of b and of a" in stage.overruled[0]


async def test_a_claim_of_an_epoch_that_ended() -> None:
    stage = await follow(inline("Claimed", "2/b/1.1"), inline("Claimed", "1/a/1.1"))
    assert "claimed under 1 after 2" in stage.overruled[0]


async def test_what_was_recorded_is_overwritten() -> None:
    versions = (inline("Sent"), inline("Retrying"))
    assert "recorded as sent and is Retrying" in (await follow(*versions)).overruled[0]
    assert (await follow(*versions, editions={"n0001": 1})).overruled == []
    asked = [cast(Doubt, SimpleNamespace(key=ADA))]
    assert (await follow(*versions, asked=asked)).overruled == []
