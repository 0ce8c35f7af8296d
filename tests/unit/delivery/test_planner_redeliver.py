"""What the redeliver annotation does to a plan (DESIGN section 2.5)."""

from __future__ import annotations

from typing import Any

from notifications_operator.api.notification import REDELIVER_ANNOTATION
from tests.unit.delivery.builders import (
    ADA,
    BOB,
    CATALOG,
    EVE,
    directory,
    seconds,
    users_yaml,
)
from tests.unit.delivery.planning import desk

ZOE = "user:default/zoe"


def redeliver(value: str) -> dict[str, Any]:
    return {"annotations": {REDELIVER_ANNOTATION: value}}


async def test_redeliver_sends_to_the_failed_and_unknown_again() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB, EVE])
        d.plan()
        d.set_rows(ada="Sent", bob="Failed", eve="Unknown")
        d.write(to=[ADA, BOB, EVE], **redeliver("1"))
        d.plan()
        assert d.brief == {"ada": "Sent", "bob": "Pending", "eve": "Pending"}
        assert (d.status.last_redeliver, d.status.redelivery) == ("1", 0)
        d.set_rows(bob="Failed", eve="Sent")
        d.plan()
        assert d.brief["bob"] == "Failed", "one value counts once"


async def test_redeliver_to_all_is_another_delivery() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.set_rows(ada="Sent", bob="Failed")
        d.write(to=[ADA, BOB], **redeliver("all:1"))
        d.plan()
        assert d.brief == {"ada": "Pending", "bob": "Pending"}
        assert d.status.redelivery == 1
        ledger = d.plan()
        assert d.planner.outbound(d.notification, ledger).redelivery == 1
        assert d.status.redelivery == 1


async def test_redeliver_to_all_waits_for_claims() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.set_rows(ada="Sent", bob="Claimed")
        d.write(to=[ADA, BOB], **redeliver("all:1"))
        d.plan()
        assert (d.brief, d.status.redelivery) == ({"ada": "Sent", "bob": "Claimed"}, 0)
        assert not d.notification.finished
        d.set_rows(bob="Sent")
        d.plan()
        assert (d.brief, d.status.redelivery) == ({"ada": "Pending", "bob": "Pending"}, 1)


async def test_redeliver_that_is_there_at_first_sight_is_only_recorded() -> None:
    async with desk("email") as d:
        d.write(**redeliver("all:1"))
        d.plan()
        assert (d.status.last_redeliver, d.status.redelivery) == ("all:1", 0)
        d.set_rows(ada="Sent")
        d.plan()
        assert d.brief == {"ada": "Sent"}


async def test_redeliver_looks_for_given_up_refs_again() -> None:
    async with desk("email") as d:
        d.write(to=[ZOE])
        d.plan()
        d.now += seconds(3600)
        d.plan()
        assert d.brief == {"zoe": "Failed"}
        d.directory = directory(CATALOG, users_yaml(["zoe"]))
        d.write(to=[ZOE], **redeliver("1"))
        d.plan()
        assert d.brief == {"zoe": "Pending"}


async def test_redeliver_of_one_that_was_never_planned_starts_over() -> None:
    async with desk("email", limits={"max_recipients": 1}) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        assert d.status.reason == "PolicyDenied"
        assert d.notification.finished
        d.now += seconds(60)
        d.write(to=[ADA])
        d.plan()
        assert d.brief == {"ada": "Pending"}
        assert d.status.start_time == d.now


async def test_redeliver_to_all_leaves_out_who_was_removed() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.set_rows(ada="Sent", bob="Sent")
        d.write(to=[BOB])
        d.plan()
        d.write(to=[BOB], **redeliver("all:1"))
        d.plan()
        assert d.brief == {"ada": "Sent", "bob": "Pending"}
