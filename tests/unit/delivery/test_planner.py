"""The first plan: whom a Notification reaches, through which processors, and what it waits for."""

from __future__ import annotations

import pytest

from notifications_operator.api.conditions import ConditionType, find_condition
from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.ledger.ledger import LONGEST_WAIT
from notifications_operator.processors.errors import InvalidProcessorConfig, Skip
from tests.unit.delivery.builders import (
    ADA,
    BOB,
    NOW,
    directory,
    seconds,
)
from tests.unit.delivery.planning import Desk, desk
from tests.unit.delivery.scripted import Script

NOBODY = directory()
GRACE = seconds(3600)


def resolved(d: Desk) -> tuple[str, str]:
    found = find_condition(d.status.conditions, ConditionType.RECIPIENTS_RESOLVED)
    assert found is not None
    return found.status, found.reason


async def test_first_plan_of_a_group_with_two_processors() -> None:
    async with desk("email", "slack") as d:
        d.write(to="group:default/platform")
        d.plan()
        assert d.table == [
            ("email", "ada", "Pending"),
            ("email", "bob", "Pending"),
            ("slack", "ada", "Pending"),
            ("slack", "bob", "Pending"),
        ]
        assert d.status.revision == 1
        assert d.status.origin == "namespace:team"
        assert d.status.recipients is not None
        assert d.status.recipients.users == 2
        assert resolved(d) == ("True", "Resolved")
        assert {row.revision for row in d.rows} == {1}
        assert {row.opened_time for row in d.rows} == {NOW}


async def test_planning_again_changes_nothing() -> None:
    async with desk("email") as d:
        d.write(to="group:default/platform")
        d.plan()
        before = d.status
        d.now += seconds(600)
        d.plan()
        assert d.status == before


async def test_broadcast_reaches_every_user_of_the_catalog() -> None:
    async with desk("email") as d:
        d.write(to=None)
        d.plan()
        assert d.brief == dict.fromkeys(["ada", "bob", "eve"], "Pending")


async def test_processor_may_name_its_own_targets() -> None:
    script = Script(only=["ops@example.com", "ops@example.com"])
    async with desk("email", scripts={"email": script}) as d:
        d.write()
        d.plan()
        assert d.table == [("email", "ops@example.com", "Pending")]


async def test_target_that_is_skipped_is_skipped_from_the_start() -> None:
    script = Script(skips={BOB: Skip(reason=Reason.NO_ADDRESS, message="has no address")})
    async with desk("email", scripts={"email": script}) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        assert d.brief == {"ada": "Pending", "bob": "Skipped"}
        assert d.rows[1].reason == Reason.NO_ADDRESS


async def test_empty_group_is_no_recipients() -> None:
    async with desk("email") as d:
        d.write(to="group:default/empty")
        d.plan()
        assert d.status.state == "NoRecipients"


@pytest.mark.parametrize(
    ("severity", "topic", "filters", "excluded"),
    [
        ("low", None, {"minSeverity": "normal"}, True),
        ("normal", None, {"minSeverity": "normal"}, False),
        ("normal", "a", {"includedTopics": ["b"]}, True),
        ("normal", "a", {"excludedTopics": ["a"]}, True),
        ("normal", "b", {"excludedTopics": ["a"]}, False),
    ],
)
async def test_filter_leaves_a_processor_out(
    severity: str, topic: str | None, filters: dict[str, object], excluded: bool
) -> None:
    async with desk("email", scripts={"slack": Script()}) as d:
        await d.offer_processor("slack", filter=filters)
        d.write(payload={"severity": severity, **({"topic": topic} if topic else {})})
        d.plan()
        assert {row.processor for row in d.rows} == ({"email"} if excluded else {"email", "slack"})
        summary = {item.name: item for item in d.status.processors}["slack"]
        assert (summary.reason == "Filtered") is excluded
        assert summary.total == (0 if excluded else 1)


async def test_processors_decorate_in_their_order() -> None:
    scripts = {name: Script(suffix=f" {name}") for name in ("one", "two", "out")}
    async with desk(scripts=scripts) as d:
        await d.offer_processor("one", order=2)
        await d.offer_processor("two", order=1)
        await d.offer_processor("out", order=0, filter={"minSeverity": "critical"})
        d.write(title="Hello")
        ledger = d.plan()
        outbound = d.planner.outbound(d.notification, ledger)
        assert outbound.payload.title == "Hello two one"
        assert [item.name for item in d.status.processors] == ["out", "two", "one"]


async def test_named_processors_only() -> None:
    async with desk("email", "slack") as d:
        d.write(processors=["slack"])
        d.plan()
        assert d.table == [("slack", "ada", "Pending")]


async def test_named_processor_that_is_missing_has_a_placeholder_until_it_comes() -> None:
    async with desk("slack", scripts={"email": Script()}) as d:
        d.write(processors=["email"])
        d.plan()
        (row,) = d.rows
        assert (row.recipient, row.reason) == ("*", "ProcessorNotFound")
        assert "there: slack" in (row.message or "")
        await d.offer_processor("email")
        d.plan()
        assert d.table == [("email", "ada", "Pending")]


async def test_named_processor_that_stays_missing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk("slack") as d:
        monkeypatch.setattr(d.supervisor, "missing_seconds", lambda name: 86_400.0)
        d.write(processors=["email", "slack"])
        d.plan()
        assert d.brief == {"*": "Pending", "ada": "Pending"}, "it may be created just after"
        assert d.deadline == NOW + seconds(300)
        d.now += seconds(299)
        d.plan()
        assert d.brief["*"] == "Pending"
        d.now += seconds(1)
        d.plan()
        assert d.brief == {"*": "Failed", "ada": "Pending"}
        assert [row.reason for row in d.rows if row.recipient == "*"] == ["ProcessorNotFound"]


async def test_deleted_processor_has_its_grace_from_its_deletion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with desk("email") as d:
        d.write()
        d.plan()
        d.now += seconds(1000)
        d.withdraw_processor()
        monkeypatch.setattr(d.supervisor, "missing_seconds", lambda name: 299.0)
        d.plan()
        assert d.brief == {"ada": "Pending"}
        monkeypatch.setattr(d.supervisor, "missing_seconds", lambda name: 300.0)
        d.plan()
        assert d.brief == {"ada": "Failed"}


async def test_processor_that_cannot_be_made_has_a_placeholder_that_says_why() -> None:
    script = Script(create_error=InvalidProcessorConfig("spec.config.url is missing"))
    async with desk("email", scripts={"email": script}) as d:
        d.write()
        d.plan()
        (row,) = d.rows
        assert (row.recipient, row.reason) == ("*", "InvalidConfig")
        assert "spec.config.url is missing" in (row.message or "")


async def test_processor_that_comes_to_name_nobody_is_not_waited_for() -> None:
    async with desk("slack", scripts={"email": Script(only=[])}) as d:
        d.write(processors=["email", "slack"])
        d.plan()
        assert ("email", "*", "Pending") in d.table
        await d.offer_processor("email")
        d.plan()
        assert d.table == [("slack", "ada", "Pending")]


async def test_without_processors_it_waits_and_goes() -> None:
    async with desk(scripts={"email": Script()}) as d:
        d.write()
        d.plan()
        assert (d.status.state, d.status.reason) == ("Pending", "ProcessorNotFound")
        assert d.status.revision == 0
        await d.offer_processor("email")
        d.plan()
        assert d.brief == {"ada": "Pending"}


async def test_without_processors_for_too_long_it_fails() -> None:
    async with desk() as d:
        d.write()
        d.plan()
        assert d.deadline == NOW + LONGEST_WAIT
        d.now += LONGEST_WAIT
        d.plan()
        assert (d.status.state, d.status.reason) == ("Failed", "ProcessorNotFound")


async def test_later_processor_gets_nothing_old() -> None:
    async with desk("email", scripts={"slack": Script()}) as d:
        d.write()
        d.plan()
        await d.offer_processor("slack")
        d.plan()
        assert {row.processor for row in d.rows} == {"email"}


@pytest.mark.parametrize(
    ("namespace", "origin", "cluster", "expected"),
    [
        ("team", None, None, "namespace:team"),
        ("team", None, "eu-1", "namespace:eu-1/team"),
        ("team", "plugin:fake", None, "namespace:team"),
        ("gateway", "plugin:scaffolder", None, "plugin:scaffolder"),
        ("gateway", "plugin:scaffolder", "eu-1", "plugin:scaffolder"),
        ("gateway", None, None, "namespace:gateway"),
    ],
)
async def test_origin_is_believed_where_it_is_trusted(
    namespace: str, origin: str | None, cluster: str | None, expected: str
) -> None:
    async with desk(
        "email", cluster_name=cluster, origins={"trusted_namespaces": ["gateway"]}
    ) as d:
        d.write(namespace=namespace, **({"origin": origin} if origin else {}))
        ledger = d.plan()
        assert d.status.origin == expected
        assert d.planner.outbound(d.notification, ledger).origin == expected


async def test_suspended_from_the_start_is_not_even_resolved() -> None:
    async with desk("email") as d:
        d.write(suspend=True)
        d.plan()
        assert (d.status.state, d.status.revision, d.rows) == ("Suspended", 0, [])
        d.write(suspend=False)
        d.plan()
        assert d.brief == {"ada": "Pending"}
