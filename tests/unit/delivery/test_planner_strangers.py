"""Users that the catalog does not know: the inbox reaches them at once, others wait for them."""

from __future__ import annotations

from collections.abc import Mapping

from notifications_operator.catalog import Directory
from notifications_operator.processors.preferences import Preferences
from tests.unit.delivery.builders import ADA, CATALOG, directory, seconds, users_yaml
from tests.unit.delivery.planning import Desk, desk
from tests.unit.delivery.scripted import Script

ZOE = "user:default/zoe"
NOBODY = directory()
GRACE = seconds(3600)


def with_zoe() -> Directory:
    return directory(CATALOG, users_yaml(["zoe"]))


def scripts() -> Mapping[str, Script]:
    return {"inbox": Script(reaches_strangers=True, channel="Web"), "email": Script()}


def states(d: Desk) -> dict[str, str]:
    return {f"{processor} {user}": state for processor, user, state in d.table}


async def test_the_inbox_does_not_wait_for_the_catalog() -> None:
    async with desk("inbox", scripts=scripts(), catalog=NOBODY) as d:
        d.write(to=[ZOE])
        d.plan()
        assert states(d) == {"inbox zoe": "Pending"}
        d.set_rows(zoe="Sent")
        d.plan()
        assert (d.status.state, d.status.summary) == ("Delivered", "1/1")
        assert d.status.recipients is not None
        assert d.status.recipients.unresolved is not None
        assert d.status.recipients.unresolved.refs == [ZOE]


async def test_it_stays_delivered_after_the_grace() -> None:
    async with desk("inbox", scripts=scripts(), catalog=NOBODY) as d:
        d.write(to=[ZOE])
        d.plan()
        d.set_rows(zoe="Sent")
        d.now += GRACE
        d.plan()
        assert states(d) == {"inbox zoe": "Sent"}
        assert d.status.state == "Delivered"


async def test_channels_that_need_the_entity_wait_for_it() -> None:
    async with desk("email", "inbox", scripts=scripts()) as d:
        d.write(to=[ADA, ZOE])
        d.plan()
        assert states(d) == {
            "email ada": "Pending",
            "inbox ada": "Pending",
            "inbox zoe": "Pending",
        }
        d.set_rows(ada="Sent", zoe="Sent")
        d.plan()
        assert (d.status.state, d.status.reason) == ("Delivering", "UnknownEntities")
        d.directory = with_zoe()
        d.plan()
        assert states(d)["email zoe"] == "Pending"
        assert states(d)["inbox zoe"] == "Sent"


async def test_only_what_needs_the_entity_fails_after_the_grace() -> None:
    async with desk("email", "inbox", scripts=scripts(), catalog=NOBODY) as d:
        d.write(to=[ZOE])
        d.plan()
        d.set_rows(zoe="Sent")
        d.plan()
        d.now += GRACE
        d.plan()
        assert states(d) == {"inbox zoe": "Sent", "email zoe": "Failed"}
        assert d.status.state == "PartiallyDelivered"
        d.plan()
        assert states(d) == {"inbox zoe": "Sent", "email zoe": "Failed"}


async def test_groups_that_are_unknown_are_waited_for_as_ever() -> None:
    async with desk("inbox", scripts=scripts(), catalog=NOBODY) as d:
        d.write(to=["group:default/platform"])
        d.plan()
        assert (d.status.state, d.status.reason, d.rows) == ("Pending", "UnknownEntities", [])
        d.write(to=["group:default/platform", ZOE])
        d.plan()
        assert states(d) == {"inbox zoe": "Pending"}
        d.now += GRACE
        d.plan()
        assert [row.reason for row in d.rows if row.state == "Failed"] == ["UnknownEntities"]


async def test_excluded_ones_are_not_reached() -> None:
    async with desk("inbox", scripts=scripts(), catalog=NOBODY) as d:
        d.write(to=[ZOE, "user:default/yan"])
        d.body["spec"]["recipients"]["excludeEntityRef"] = ZOE
        d.plan()
        assert states(d) == {"inbox yan": "Pending"}


async def test_an_inbox_that_takes_no_part_reaches_nobody() -> None:
    async with desk("email", scripts=scripts(), catalog=NOBODY) as d:
        await d.offer_processor("inbox", filter={"minSeverity": "critical"})
        d.write(to=[ZOE])
        d.plan()
        assert (d.status.reason, d.rows) == ("UnknownEntities", [])
    async with desk("email", "inbox", scripts=scripts(), catalog=NOBODY) as d:
        d.write(to=[ZOE], processors=["email"])
        d.plan()
        assert (d.status.reason, d.rows) == ("UnknownEntities", [])


async def test_an_edit_reaches_them_again() -> None:
    async with desk("inbox", scripts=scripts(), catalog=NOBODY) as d:
        d.write(to=[ZOE])
        d.plan()
        d.set_rows(zoe="Sent")
        d.write(to=[ZOE], title="Edited")
        d.plan()
        assert states(d) == {"inbox zoe": "Pending"}
        d.set_rows(zoe="Sent")
        d.write(to=["user:default/yan"], title="Edited")
        d.plan()
        assert states(d) == {"inbox zoe": "Sent", "inbox yan": "Pending"}


async def test_they_can_opt_out() -> None:
    answer = Preferences(differing={"Web": {ZOE}})
    async with desk("inbox", scripts=scripts(), catalog=NOBODY, answer=answer) as d:
        d.write(to=[ZOE, "user:default/yan"])
        d.plan()
        assert states(d) == {"inbox zoe": "Skipped", "inbox yan": "Pending"}


async def test_they_count_for_the_limits() -> None:
    limits = {"max_recipients": 1}
    async with desk("inbox", scripts=scripts(), catalog=NOBODY, limits=limits) as d:
        d.write(to=[ZOE, "user:default/yan"])
        d.plan()
        assert (d.status.state, d.status.reason) == ("Failed", "PolicyDenied")
