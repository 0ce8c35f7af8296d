"""Members of groups who have no entity: the inbox reaches them, other channels say why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from notifications_operator.api.conditions import ConditionType, find_condition
from notifications_operator.api.notification import DeliveryState
from notifications_operator.delivery.ledger.ledger import Ledger
from notifications_operator.processors.preferences import Preferences
from tests.unit.delivery.builders import CATALOG, directory, seconds, users_yaml
from tests.unit.delivery.planning import Desk, desk
from tests.unit.delivery.scripted import Script

MAINTAINERS = "group:default/maintainers"
LOWER, MIXED = "user:default/lower", "user:default/mixedcase"
GROUP = """
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: maintainers}
spec: {type: team, children: [], members: [MixedCase, lower]}
"""
ONLY_MEMBERS = directory(GROUP)
GRACE = seconds(3600)


def with_ada(*more: str) -> str:
    """A maintainer who has an entity."""
    return users_yaml(["ada", *more]).replace("spec: {", "spec: {memberOf: [maintainers], ")


def scripts() -> Mapping[str, Script]:
    return {"inbox": Script(reaches_strangers=True, channel="Web"), "email": Script()}


def rows(d: Desk) -> dict[str, tuple[str, str | None]]:
    return {
        f"{row.processor} {row.recipient.rpartition('/')[2]}": (str(row.state), row.reason)
        for row in d.rows
    }


def deliver(d: Desk, processor: str) -> None:
    """Record that a processor sent all its deliveries."""
    ledger = Ledger.load(d.status)
    for row in ledger.rows_of(processor):
        ledger.put(replace(row, state=DeliveryState.SENT))
    d.store(ledger)


def said(d: Desk, kind: ConditionType) -> tuple[str, str, str]:
    found = find_condition(d.status.conditions, kind)
    assert found is not None
    return found.status, found.reason, found.message


def unresolved(d: Desk) -> list[str]:
    assert d.status.recipients is not None
    return list(d.status.recipients.unresolved.refs) if d.status.recipients.unresolved else []


async def test_each_has_a_row_in_the_inbox() -> None:
    async with desk("email", "inbox", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        assert rows(d) == {
            "inbox lower": ("Pending", None),
            "inbox mixedcase": ("Pending", None),
            "email lower": ("Skipped", "UnknownEntities"),
            "email mixedcase": ("Skipped", "UnknownEntities"),
        }
        status, _, message = said(d, ConditionType.RECIPIENTS_RESOLVED)
        assert (status, unresolved(d)) == ("True", [])
        assert message == f"2 users; the catalog has no entity of {LOWER}, {MIXED}"
        deliver(d, "inbox")
        d.plan()
        assert (d.status.state, d.status.summary) == ("Delivered", "2/2")


async def test_beside_others_they_are_skipped_at_once() -> None:
    async with desk("email", scripts=scripts(), catalog=directory(GROUP, with_ada())) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        assert rows(d) == {
            "email ada": ("Pending", None),
            "email lower": ("Skipped", "UnknownEntities"),
            "email mixedcase": ("Skipped", "UnknownEntities"),
        }
        assert d.status.recipients is not None
        assert d.status.recipients.users == 3
        d.set_rows(ada="Sent")
        d.plan()
        assert (d.status.state, d.status.summary) == ("Delivered", "1/1")


async def test_they_are_waited_for_if_nobody_else_is_reached() -> None:
    async with desk("email", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        assert (d.status.state, d.status.reason, rows(d)) == ("Pending", "UnknownEntities", {})
        assert said(d, ConditionType.RECIPIENTS_RESOLVED)[:2] == ("False", "UnknownEntities")
        assert unresolved(d) == [LOWER, MIXED]
        d.now += GRACE - seconds(1)
        d.directory = directory(GROUP, users_yaml(["lower"]))
        d.plan()
        assert rows(d) == {
            "email lower": ("Pending", None),
            "email mixedcase": ("Skipped", "UnknownEntities"),
        }


async def test_they_fail_when_nobody_else_came() -> None:
    async with desk("email", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        d.now += GRACE
        for _ in range(2):
            d.plan()
            assert (d.status.state, d.status.reason) == ("Failed", "UnknownEntities")
            assert said(d, ConditionType.READY)[0] == "False"
            assert rows(d) == {
                "email lower": ("Failed", "UnknownEntities"),
                "email mixedcase": ("Failed", "UnknownEntities"),
            }


async def test_many_of_them_all_end() -> None:
    names = [f"u{number:03}" for number in range(150)]
    text = GROUP.replace("[MixedCase, lower]", f"[{', '.join(names)}]")
    async with desk("email", scripts=scripts(), catalog=directory(text)) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        d.now += GRACE
        d.plan()
        d.plan()
        assert len(d.ledger.rows) == 150
        d.write(to=[MAINTAINERS], title="Edited")
        d.plan()
        d.now += GRACE
        d.plan()
        assert len(d.ledger.rows) == 150
        assert d.status.state == "Failed"


async def test_together_with_a_ref_that_is_unknown_all_are_waited_for() -> None:
    async with desk("email", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS, "user:default/zoe"])
        d.plan()
        assert unresolved(d) == ["user:default/zoe", LOWER, MIXED]
        d.directory = directory(GROUP, users_yaml(["zoe"]))
        d.plan()
        assert rows(d) == {
            "email zoe": ("Pending", None),
            "email lower": ("Skipped", "UnknownEntities"),
            "email mixedcase": ("Skipped", "UnknownEntities"),
        }


async def test_a_group_that_becomes_known_brings_them() -> None:
    async with desk("email", "inbox", scripts=scripts(), catalog=directory(CATALOG)) as d:
        d.write(to=["user:default/eve", MAINTAINERS])
        d.plan()
        assert sorted(rows(d)) == ["email eve", "inbox eve"]
        d.directory = directory(CATALOG, GROUP)
        for _ in range(2):
            d.plan()
            assert rows(d) == {
                "email eve": ("Pending", None),
                "inbox eve": ("Pending", None),
                "inbox lower": ("Pending", None),
                "inbox mixedcase": ("Pending", None),
                "email lower": ("Skipped", "UnknownEntities"),
                "email mixedcase": ("Skipped", "UnknownEntities"),
            }
            assert d.status.recipients is not None
            assert d.status.recipients.users == 3


async def test_who_joins_them_later_gets_no_edit() -> None:
    async with desk("inbox", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        d.directory = directory(GROUP, with_ada())
        d.write(to=[MAINTAINERS], title="Edited")
        d.plan()
        assert sorted(rows(d)) == ["inbox lower", "inbox mixedcase"]


async def test_an_inbox_that_takes_no_part_does_not_reach_them() -> None:
    async with desk("email", "inbox", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS], processors=["email"])
        d.plan()
        assert (d.status.state, rows(d)) == ("Pending", {})


async def test_who_is_excluded_is_not_among_them() -> None:
    async with desk("email", "inbox", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS])
        d.body["spec"]["recipients"]["excludeEntityRefs"] = ["user:default/Lower"]
        d.plan()
        assert sorted(rows(d)) == ["email mixedcase", "inbox mixedcase"]
    async with desk("inbox", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS])
        d.body["spec"]["recipients"]["excludeEntityRefs"] = [LOWER, MIXED]
        d.plan()
        assert (d.status.state, rows(d)) == ("NoRecipients", {})


async def test_they_can_opt_out() -> None:
    answer = Preferences(differing={"Web": {LOWER}})
    async with desk("inbox", scripts=scripts(), catalog=ONLY_MEMBERS, answer=answer) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        assert rows(d) == {
            "inbox lower": ("Skipped", "OptedOut"),
            "inbox mixedcase": ("Pending", None),
        }


async def test_they_count_for_the_limits() -> None:
    limits = {"max_recipients": 1}
    async with desk("inbox", scripts=scripts(), catalog=ONLY_MEMBERS, limits=limits) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        assert (d.status.state, d.status.reason) == ("Failed", "PolicyDenied")


async def test_an_edit_of_the_payload_reaches_the_same_ones() -> None:
    async with desk("email", "inbox", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        deliver(d, "inbox")
        d.directory = directory(GROUP.replace("lower]", "lower, new]"), users_yaml(["lower"]))
        d.write(to=[MAINTAINERS], title="Edited")
        d.plan()
        assert rows(d) == {
            "inbox lower": ("Pending", None),
            "inbox mixedcase": ("Pending", None),
            "email lower": ("Pending", None),
            "email mixedcase": ("Skipped", "UnknownEntities"),
        }


async def test_an_edit_of_the_recipients_looks_for_them_again() -> None:
    async with desk("email", "inbox", scripts=scripts(), catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        deliver(d, "inbox")
        d.directory = directory(GROUP, CATALOG, users_yaml(["lower"]))
        d.write(to=[MAINTAINERS, "user:default/eve"])
        d.plan()
        assert rows(d)["email lower"] == ("Pending", None)
        assert rows(d)["email mixedcase"] == ("Skipped", "UnknownEntities")
        assert rows(d)["inbox lower"] == ("Sent", None)
        d.write(to=["user:default/eve"])
        d.plan()
        assert rows(d)["inbox mixedcase"][1] == "Cancelled"


async def test_an_edit_that_leaves_only_them_waits_for_them() -> None:
    async with desk("email", scripts=scripts(), catalog=directory(CATALOG, GROUP)) as d:
        d.write(to=[MAINTAINERS, "user:default/eve"])
        d.plan()
        assert rows(d)["email lower"] == ("Skipped", "UnknownEntities")
        d.write(to=[MAINTAINERS])
        d.plan()
        assert rows(d) == {"email eve": ("Skipped", "Cancelled")}
        assert (d.status.state, unresolved(d)) == ("Pending", [LOWER, MIXED])
        d.directory = directory(CATALOG, GROUP, users_yaml(["lower", "mixedcase"]))
        d.plan()
        assert rows(d)["email lower"] == rows(d)["email mixedcase"] == ("Pending", None)


async def test_a_processor_that_is_ready_later_skips_them_too() -> None:
    late = {**scripts(), "email": Script(create_error=RuntimeError("not yet"))}
    async with desk("email", "inbox", scripts=late, catalog=ONLY_MEMBERS) as d:
        d.write(to=[MAINTAINERS])
        d.plan()
        assert rows(d)["email *"][0] == "Pending"
        late["email"].create_error = None
        d.withdraw_processor("email")
        await d.offer_processor("email")
        d.plan()
        assert rows(d)["email lower"] == ("Skipped", "UnknownEntities")
        assert "email *" not in rows(d)


async def test_an_empty_group_is_no_silent_success() -> None:
    async with desk("email", "inbox", scripts=scripts(), catalog=directory(CATALOG)) as d:
        d.write(to=["group:default/empty"])
        d.plan()
        assert d.status.state == "NoRecipients"
        assert said(d, ConditionType.COMPLETE)[0] == "True"
        assert said(d, ConditionType.DELIVERED) == (
            "False",
            "NoRecipients",
            "the recipients resolved to no user",
        )
