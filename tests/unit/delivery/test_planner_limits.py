"""``limits.recipientsPerHour`` counts what is opened: revisions and redeliveries too."""

from __future__ import annotations

from typing import Any

import pytest

from notifications_operator.api.notification import REDELIVER_ANNOTATION
from notifications_operator.delivery.planning.limits import RecipientLimits
from notifications_operator.delivery.planning.openings import stored_openings
from notifications_operator.settings import NamespaceLimitSettings
from tests.unit.delivery.builders import ADA, BOB, EVE, NOW, directory, seconds, users_yaml
from tests.unit.delivery.planning import Desk, desk

FIVE = {"recipients_per_hour": 5}


def sent(d: Desk) -> None:
    d.set_rows(**{row.recipient.rpartition("/")[2]: "Sent" for row in d.rows})
    d.plan()


def waits(d: Desk) -> bool:
    return d.status.reason == "PolicyDenied" and not d.notification.finished


async def test_an_edit_beyond_the_limit_waits_for_the_hour() -> None:
    async with desk("email", limits=FIVE) as d:
        d.write(to=[ADA, BOB, EVE], title="one")
        d.plan()
        sent(d)
        d.write(to=[ADA, BOB, EVE], title="two")
        d.plan()
        assert waits(d)
        assert d.brief == {"ada": "Sent", "bob": "Sent", "eve": "Sent"}, "what was sent stays"
        assert "limits.recipientsPerHour allows 5 in team" in str(d.status.conditions)
        assert d.planner.deadlines.next_deadline(d.notification, d.ledger) is not None
        d.now = NOW + seconds(3599)
        d.write(to=[ADA, BOB, EVE], title="three")
        d.plan()
        assert waits(d)
        d.now = NOW + seconds(3601)
        d.plan()
        assert (d.status.revision, set(d.brief.values())) == (2, {"Pending"})


async def test_whoever_edits_in_a_loop_sends_no_more_than_allowed() -> None:
    async with desk("email", limits=FIVE) as d:
        opened = 0
        for number in range(50):
            d.write(to=[ADA, BOB], title=f"title {number}")
            d.plan()
            opened += list(d.brief.values()).count("Pending")
            sent(d)
            d.now += seconds(2)
        assert opened == 4


async def test_recipients_that_take_turns_count() -> None:
    names = [f"u{number}" for number in range(20)]
    async with desk("email", catalog=directory(users_yaml(names)), limits=FIVE) as d:
        reached: set[str] = set()
        for name in names:
            d.write(to=f"user:default/{name}")
            d.plan()
            reached |= {user for user, state in d.brief.items() if state == "Pending"}
            sent(d)
        assert len(reached) == 5


@pytest.mark.parametrize(("value", "allowed"), [("all:{}", 1), ("{}", 1)])
async def test_redeliveries_count(value: str, allowed: int) -> None:
    async with desk("email", limits=FIVE) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        opened = 0
        for number in range(4):
            d.set_rows(ada="Failed", bob="Failed")
            d.write(to=[ADA, BOB], annotations={REDELIVER_ANNOTATION: value.format(number)})
            d.plan()
            opened += list(d.brief.values()).count("Pending") == 2
        assert opened == allowed
        assert waits(d)
        d.now += seconds(3601)
        d.plan()
        assert d.status.last_redeliver == value.format(3)
        assert set(d.brief.values()) == {"Pending"}


async def test_an_edit_that_no_hour_allows_is_refused() -> None:
    async with desk("email", limits={"recipients_per_hour": 2}) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        sent(d)
        d.write(to=[ADA, BOB, EVE])
        d.plan()
        assert (d.status.state, d.status.reason) == ("Failed", "PolicyDenied")
        assert d.notification.finished
        assert d.brief == {"ada": "Sent", "bob": "Sent"}


async def test_a_redelivery_that_no_hour_allows_is_refused() -> None:
    async with desk("email", limits={"recipients_per_hour": 2}) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        sent(d)
        d.limits._settings.recipients_per_hour = 1
        d.write(to=[ADA, BOB], annotations={REDELIVER_ANNOTATION: "all:1"})
        d.plan()
        assert (d.status.state, d.status.reason) == ("Failed", "PolicyDenied")
        assert d.notification.finished
        assert d.brief == {"ada": "Sent", "bob": "Sent"}


@pytest.mark.parametrize(
    ("change", "used"),
    [
        ({}, 2),
        ({"title": "two"}, 4),
        ({"annotations": {REDELIVER_ANNOTATION: "all:1"}}, 4),
    ],
    ids=["first", "edit", "redelivery"],
)
async def test_a_restart_is_no_way_round(change: dict[str, Any], used: int) -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        sent(d)
        if change:
            d.write(to=[ADA, BOB], **change)
            d.plan()
        restored = RecipientLimits(NamespaceLimitSettings(recipients_per_hour=5))
        restored.restore("team", "n", stored_openings(d.status), replace=False)
        assert restored.check("team", "other", 5 - used, d.now) is None
        assert f"{used} are used" in (restored.check("team", "other", 6 - used, d.now) or "")
