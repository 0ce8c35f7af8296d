"""The way of one Notification through the engine, when nothing goes wrong."""

from __future__ import annotations

from tests.unit.delivery.builders import ADA
from tests.unit.delivery.harness import world


async def test_single_recipient_takes_two_patches_and_one_event() -> None:
    async with world() as w:
        w.notify()
        done = await w.finished()
        await w.engine.drain()
        assert w.scripts["email"].recipients == [ADA]
        claim, record = w.patches()
        assert claim["deliveries"][0]["state"] == "Claimed"
        assert record["deliveries"][0]["state"] == "Sent"
        assert len(w.cluster.patches) - len(w.patches()) == len(
            [patch for patch in w.cluster.patches if patch.name == "email"]
        ), "no patch was in vain"
        (event,) = w.events()
        assert (event.warning, event.reason) == (False, "Delivered")
        assert done.status.state == "Delivered"
        assert done.status.summary == "1/1"
