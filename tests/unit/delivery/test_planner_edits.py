"""What edits and redeliveries do to a plan (DESIGN section 2.3 to 2.5)."""

from __future__ import annotations

from typing import Any

import pytest

from notifications_operator.delivery.planning import planner
from notifications_operator.processors.errors import InvalidProcessorConfig
from tests.unit.delivery.builders import (
    ADA,
    BOB,
    CATALOG,
    EVE,
    directory,
    seconds,
    users_yaml,
)
from tests.unit.delivery.planning import Desk, desk
from tests.unit.delivery.scripted import Script

ZOE = "user:default/zoe"


def revisions(d: Desk) -> dict[str, int]:
    return {row.recipient.rpartition("/")[2]: row.revision for row in d.rows}


async def test_reapply_and_relabel_send_nothing() -> None:
    async with desk("email") as d:
        d.write()
        d.plan()
        d.set_rows(ada="Sent")
        d.write()
        d.body["metadata"]["labels"] = {"a": "b"}
        d.plan()
        assert (d.brief, d.status.revision) == ({"ada": "Sent"}, 1)


@pytest.mark.parametrize("edit", [{"suspend": True}, {"ttlSecondsAfterFinished": 5}])
async def test_other_edits_of_the_spec_send_nothing(edit: dict[str, Any]) -> None:
    async with desk("email") as d:
        d.write()
        d.plan()
        d.set_rows(ada="Sent")
        d.write(**edit)
        d.plan()
        assert (d.brief, d.status.revision) == ({"ada": "Sent"}, 1)
        assert d.status.observed_generation == 2


async def test_new_default_of_the_definition_sends_nothing() -> None:
    """It changes the served specification without moving the generation."""
    async with desk("email") as d:
        d.write()
        d.plan()
        d.set_rows(ada="Sent")
        d.body["spec"]["payload"]["icon"] = "a new default"
        d.plan()
        assert (d.brief, d.status.revision) == ({"ada": "Sent"}, 1)


async def test_edit_of_the_payload_opens_everything_again() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB, EVE], title="one")
        d.plan()
        d.set_rows(ada="Sent", bob="Failed")
        d.now += seconds(10)
        d.write(to=[ADA, BOB, EVE], title="two")
        d.plan()
        assert d.brief == dict.fromkeys(["ada", "bob", "eve"], "Pending")
        assert revisions(d) == dict.fromkeys(["ada", "bob", "eve"], 2)
        assert {(row.attempts, row.opened_time) for row in d.rows} == {(0, d.now)}


async def test_there_and_back_again_sends_three_times() -> None:
    async with desk("email") as d:
        for revision, title in enumerate(("A", "B", "A"), start=1):
            d.write(title=title)
            d.plan()
            assert (d.brief, revisions(d)) == ({"ada": "Pending"}, {"ada": revision})
            d.set_rows(ada="Sent")


async def test_edit_of_the_payload_finishes_what_is_claimed_first() -> None:
    async with desk("email") as d:
        d.write(title="one")
        d.plan()
        d.set_rows(ada="Claimed")
        d.write(title="two")
        d.plan()
        assert (d.brief, revisions(d)) == ({"ada": "Claimed"}, {"ada": 1})
        d.set_rows(ada="Sent")
        d.plan()
        assert (d.brief, revisions(d)) == ({"ada": "Pending"}, {"ada": 2})


async def test_edit_of_the_payload_keeps_its_recipients() -> None:
    async with desk("email") as d:
        d.write(to="group:default/platform", title="one")
        d.plan()
        joined = users_yaml(["zoe"]).replace("{profile", "{memberOf: [platform], profile")
        d.directory = directory(CATALOG, joined)
        d.write(to="group:default/platform", title="two")
        d.plan()
        assert sorted(d.brief) == ["ada", "bob"]


async def test_edit_of_the_payload_selects_processors_again() -> None:
    async with desk("email", scripts={"slack": Script()}) as d:
        await d.offer_processor("slack", filter={"minSeverity": "high"})
        d.write(title="one")
        d.plan()
        assert d.table == [("email", "ada", "Pending")]
        d.set_rows(ada="Sent")
        d.write(title="two", payload={"severity": "high"})
        d.plan()
        assert d.table == [("email", "ada", "Pending"), ("slack", "ada", "Pending")]
        d.set_rows(ada="Sent")
        d.write(title="three")
        d.plan()
        assert d.table == [("email", "ada", "Pending"), ("slack", "ada", "Sent")]


async def test_edit_that_filters_a_processor_skips_what_it_had_not_sent() -> None:
    async with desk(scripts={"slack": Script()}) as d:
        await d.offer_processor("slack", filter={"minSeverity": "high"})
        d.write(title="one", payload={"severity": "high"})
        d.plan()
        d.write(title="two")
        d.plan()
        (row,) = d.rows
        assert (row.state, row.reason) == ("Skipped", "Filtered")
        assert d.status.state == "Delivered"


async def test_edit_of_the_recipients_adds_removes_and_keeps() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.set_rows(ada="Sent")
        d.write(to=[EVE])
        d.plan()
        assert d.brief == {"ada": "Sent", "bob": "Skipped", "eve": "Pending"}
        assert d.rows[1].reason == "Cancelled"
        assert d.status.revision == 1


async def test_edit_of_the_recipients_leaves_claims_alone() -> None:
    async with desk("email") as d:
        d.write(to=[ADA])
        d.plan()
        d.set_rows(ada="Claimed")
        d.write(to=[BOB])
        d.plan()
        assert d.brief == {"ada": "Claimed", "bob": "Pending"}


async def test_removed_while_claimed_gets_no_update() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB], title="one")
        d.plan()
        d.set_rows(ada="Claimed", bob="Sent")
        d.write(to=[BOB], title="two")
        d.plan()
        assert d.brief == {"ada": "Claimed", "bob": "Pending"}
        assert [row.reason for row in d.status.deliveries] == ["Cancelled", None]


async def test_removed_and_added_again() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.set_rows(ada="Sent")
        d.write(to=[EVE])
        d.plan()
        d.write(to=[ADA, BOB, EVE])
        d.plan()
        assert d.brief == {"ada": "Sent", "bob": "Pending", "eve": "Pending"}
        d.write(to=[ADA, BOB, EVE], title="two")
        d.plan()
        assert d.brief == dict.fromkeys(["ada", "bob", "eve"], "Pending")


async def test_removed_recipient_gets_no_later_update() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB, EVE], title="one")
        d.plan()
        d.set_rows(ada="Sent", bob="Sent", eve="Failed")
        d.write(to=[ADA], title="one")
        d.plan()
        assert d.brief == {"ada": "Sent", "bob": "Sent", "eve": "Skipped"}
        assert d.status.state == "Delivered"
        for _ in range(2):
            d.write(to=[ADA], title="two")
            d.plan()
            assert d.brief == {"ada": "Pending", "bob": "Sent", "eve": "Skipped"}


async def test_edit_of_both_at_once() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB], title="one")
        d.plan()
        d.set_rows(ada="Sent", bob="Sent")
        d.write(to=[BOB, EVE], title="two")
        d.plan()
        assert d.brief == {"ada": "Sent", "bob": "Pending", "eve": "Pending"}
        assert revisions(d) == {"ada": 1, "bob": 2, "eve": 2}


async def test_misspelt_processor_can_be_put_right() -> None:
    async with desk("email") as d:
        d.write(processors=["emial"])
        d.plan()
        assert d.table == [("emial", "*", "Pending")]
        d.write(processors=["email"])
        d.plan()
        assert d.table == [("email", "ada", "Pending")]
        d.set_rows(ada="Sent")
        assert d.status.state == "Delivered"


async def test_deselected_processor_sends_nothing_more() -> None:
    async with desk("email", "slack") as d:
        d.write()
        d.plan()
        d.write(processors=["slack"])
        d.plan()
        assert d.table == [("email", "ada", "Skipped"), ("slack", "ada", "Pending")]


async def test_processor_that_is_selected_again_sends_what_it_had_not() -> None:
    async with desk("email", "slack") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.set_rows(ada="Sent")
        d.write(to=[ADA, BOB], processors=["slack"])
        d.plan()
        d.write(to=[ADA, BOB])
        d.plan()
        assert [item for item in d.table if item[0] == "email"] == [
            ("email", "ada", "Sent"),
            ("email", "bob", "Pending"),
        ]


async def test_recipients_edited_while_the_processor_cannot_name_them() -> None:
    """As after a restart, before its Secrets were read."""
    script = Script()
    async with desk("email", scripts={"email": script}) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.set_rows(ada="Sent")
        d.withdraw_processor()
        d.write(to=[ADA, EVE])
        d.plan()
        await d.offer_processor("email")
        d.plan()
        assert d.brief == {"ada": "Sent", "bob": "Skipped", "eve": "Pending"}


async def test_payload_edited_while_the_processor_cannot_name_its_targets() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB], title="one")
        d.plan()
        d.set_rows(ada="Sent")
        d.withdraw_processor()
        d.write(to=[ADA, BOB], title="two")
        d.plan()
        await d.offer_processor("email")
        d.plan()
        assert d.brief == {"ada": "Pending", "bob": "Pending"}
        assert revisions(d) == {"ada": 2, "bob": 2}


async def test_processor_that_cannot_be_made_does_not_delay_anothers_edit() -> None:
    scripts = {"email": Script(), "slack": Script()}
    async with desk("email", "slack", scripts=scripts) as d:
        d.write(to=[ADA])
        d.plan()
        d.withdraw_processor("slack")
        scripts["slack"].create_error = InvalidProcessorConfig("no")
        await d.offer_processor("slack")
        d.write(to=[BOB])
        d.plan()
        assert ("email", "bob", "Pending") in d.table


async def test_edit_is_not_lost_while_there_is_nothing_to_plan_it_with() -> None:
    async with desk("email") as d:
        d.write(to=[ADA], title="one")
        d.plan()
        d.set_rows(ada="Sent")
        d.withdraw_processor()
        d.write(to=[ADA, BOB], title="two")
        d.plan()
        assert d.status.state != "Delivered"
        d.plan()
        await d.offer_processor("email")
        d.plan()
        assert d.brief == {"ada": "Pending", "bob": "Pending"}
        assert d.status.revision == 2
        d.plan()
        assert d.status.revision == 2


async def test_edit_while_suspended_takes_effect_afterwards() -> None:
    async with desk("email") as d:
        d.write(title="one")
        d.plan()
        d.set_rows(ada="Sent")
        d.write(title="two", suspend=True)
        d.plan()
        assert d.brief == {"ada": "Sent"}
        d.write(title="two")
        d.plan()
        assert (d.brief, d.status.revision) == ({"ada": "Pending"}, 2)


async def test_ledger_never_outgrows_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "ROW_LIMIT", 1000)
    names = [f"u{number:04}" for number in range(1200)]
    refs = [f"user:default/{name}" for name in names]
    async with desk("email", catalog=directory(users_yaml(names))) as d:
        d.write(to=refs[:700])
        d.plan()
        d.set_rows(**dict.fromkeys(names[:700], "Sent"))
        d.write(to=refs[600:1200])
        d.plan()
        assert len(d.rows) <= 1000
        assert (d.status.state, d.status.reason) == ("Failed", "TooLarge")


async def test_payload_edit_resolves_given_up_refs_again() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, ZOE], title="one")
        d.plan()
        d.set_rows(ada="Sent")
        d.now += seconds(3600)
        d.plan()
        assert d.brief == {"ada": "Sent", "zoe": "Failed"}
        d.write(to=[ADA, ZOE], title="two")
        d.plan()
        assert d.brief["ada"] == "Pending"
        assert d.brief.get("zoe", "Failed") == "Failed", "nobody sends to an unknown ref"
        d.directory = directory(CATALOG, users_yaml(["zoe"]))
        d.write(to=[ADA, ZOE], title="three")
        d.plan()
        assert d.brief == {"ada": "Pending", "zoe": "Pending"}


async def test_edit_beyond_the_limits_ends_what_is_not_sent() -> None:
    async with desk("email", limits={"max_recipients": 2}) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.set_rows(ada="Claimed")
        d.write(to=[ADA, BOB, EVE])
        d.plan()
        assert d.brief == {"ada": "Claimed", "bob": "Failed"}
        assert d.rows[1].reason == "PolicyDenied"
        assert not d.notification.finished, "a delivery is under way"
        d.set_rows(ada="Sent")
        d.plan()
        assert d.notification.finished


async def test_deleted_processor_is_not_deselected_by_an_edit_within_its_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Helm replaces a processor while a Notification is edited."""
    async with desk("email", "slack") as d:
        d.write(title="one")
        d.plan()
        d.withdraw_processor("email")
        d.write(title="two")
        d.plan()
        await d.offer_processor("email")
        d.plan()
        assert sorted(d.table) == [("email", "ada", "Pending"), ("slack", "ada", "Pending")]
        assert revisions(d) == {"ada": 2}
