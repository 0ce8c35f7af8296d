"""What a Notification waits for, what bounds it, and what ends its waiting."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from notifications_operator.api.conditions import ConditionType, find_condition
from notifications_operator.api.reasons import Reason
from notifications_operator.catalog import Directory
from notifications_operator.delivery.ledger.ledger import LONGEST_WAIT, UNSENT, Ledger
from notifications_operator.delivery.planning import deadlines, planner
from notifications_operator.processors.errors import Scope
from tests.unit.delivery.builders import (
    ADA,
    BOB,
    CATALOG,
    EVE,
    NOW,
    directory,
    error,
    seconds,
    users_yaml,
)
from tests.unit.delivery.planning import Desk, desk
from tests.unit.delivery.scripted import Script

NOBODY = directory()
GRACE = seconds(3600)


def resolved(d: Desk) -> tuple[str, str]:
    found = find_condition(d.status.conditions, ConditionType.RECIPIENTS_RESOLVED)
    assert found is not None
    return found.status, found.reason


async def test_unknown_refs_alone_wait_and_go() -> None:
    async with desk("email", catalog=NOBODY) as d:
        d.write(to=[ADA, "group:default/platform"])
        d.plan()
        assert (d.status.state, d.status.reason) == ("Pending", "UnknownEntities")
        assert resolved(d) == ("False", "UnknownEntities")
        assert d.status.recipients is not None
        assert d.status.recipients.unresolved is not None
        assert d.status.recipients.unresolved.refs == [ADA, "group:default/platform"]
        d.directory = directory(CATALOG)
        d.plan()
        assert d.brief == {"ada": "Pending", "bob": "Pending"}
        assert resolved(d) == ("True", "Resolved")


async def test_unknown_refs_alone_fail_after_the_grace() -> None:
    async with desk("email", catalog=NOBODY) as d:
        d.write(to=[ADA])
        d.plan()
        assert d.deadline == NOW + GRACE
        d.now += GRACE
        d.plan()
        assert (d.status.state, d.status.reason) == ("Failed", "UnknownEntities")
        (row,) = d.rows
        assert (row.recipient, row.reason) == (ADA, "UnknownEntities")
        assert ADA in (row.message or "")


async def test_partly_unknown_goes_and_waits_for_the_rest() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, "user:default/zoe", "user:default/yan"])
        d.plan()
        assert d.brief == {"ada": "Pending"}
        assert resolved(d) == ("False", "UnknownEntities")
        d.set_rows(ada="Sent")
        d.plan()
        assert d.status.state == "Delivering", "it is not complete"
        d.directory = directory(CATALOG, users_yaml(["zoe"]))
        d.plan()
        assert d.brief == {"ada": "Sent", "zoe": "Pending"}
        d.set_rows(zoe="Sent")
        d.now += GRACE
        d.plan()
        assert d.brief == {"ada": "Sent", "zoe": "Sent", "yan": "Failed"}
        assert d.status.state == "PartiallyDelivered"
        assert d.status.reason == "UnknownEntities"


async def test_user_who_joins_later_gets_nothing_old() -> None:
    async with desk("email") as d:
        d.write(to=["group:default/platform", "user:default/zoe"])
        d.plan()
        joined = users_yaml(["new"]).replace("{profile", "{memberOf: [platform], profile")
        d.directory = directory(CATALOG, users_yaml(["zoe"]), joined)
        d.plan()
        assert sorted(d.brief) == ["ada", "bob", "zoe"]


async def test_what_was_resolved_once_stays_resolved() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.directory = NOBODY
        d.plan()
        assert d.brief == {"ada": "Pending", "bob": "Pending"}
        assert resolved(d) == ("True", "Resolved")


async def test_more_unknown_refs_than_are_named_are_all_waited_for() -> None:
    names = [f"u{number:03}" for number in range(150)]
    async with desk("email", catalog=NOBODY) as d:
        d.write(to=[f"user:default/{name}" for name in names])
        d.plan()
        assert d.status.recipients is not None
        assert d.status.recipients.unresolved is not None
        assert d.status.recipients.unresolved.count == 150
        assert len(d.status.recipients.unresolved.refs) == 100
        d.directory = directory(users_yaml(names[:1]))
        d.plan()
        assert list(d.brief) == names[:1]
        d.directory = directory(users_yaml(names))
        d.plan()
        assert sorted(d.brief) == names


async def test_more_unknown_refs_than_are_named_are_sent_when_unnamed_ones_appear() -> None:
    names = [f"u{number:03}" for number in range(150)]
    async with desk("email", catalog=directory(users_yaml(["ada"]))) as d:
        d.write(to=[ADA, *[f"user:default/{name}" for name in names]])
        d.plan()
        d.directory = directory(users_yaml(["ada", names[149]]))
        d.plan()
        assert sorted(d.brief) == ["ada", names[149]]


async def test_unknown_refs_that_are_given_up_fit_into_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "ROW_LIMIT", 1000)
    names = [f"u{number:04}" for number in range(900)]
    async with desk("email", "slack") as d:
        d.write(to=[ADA, *[f"user:default/{name}" for name in names]])
        d.plan()
        d.now += GRACE
        d.plan()
        assert len(d.rows) <= 1000, "as many as the ledger holds"
        d.set_rows(ada="Sent")
        d.plan()
        assert d.status.state == "PartiallyDelivered"


async def test_broadcast_waits_for_a_first_user() -> None:
    async with desk("email", catalog=NOBODY) as d:
        d.write(to=None)
        d.plan()
        assert (d.status.state, d.status.reason) == ("Pending", "CatalogEmpty")
        assert resolved(d) == ("False", "CatalogEmpty")
        d.directory = directory(CATALOG)
        d.plan()
        assert len(d.rows) == 3


async def test_broadcast_to_an_empty_catalog_fails_in_the_end() -> None:
    async with desk("email", catalog=NOBODY) as d:
        d.write(to=None)
        d.plan()
        d.now += LONGEST_WAIT
        d.plan()
        assert (d.status.state, d.status.reason) == ("Failed", "UnknownEntities")


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({"max_recipients": 2}, True),
        ({"max_recipients": 1}, False),
        ({"recipients_per_hour": 1}, False),
        ({"max_recipients": 1, "namespaces": {"team": {"max_recipients": 5}}}, True),
        ({"namespaces": {"team": {"max_recipients": 0}}}, False),
        ({"namespaces": {"other": {"max_recipients": 0}}}, True),
    ],
)
async def test_limits_are_checked_after_resolution(
    limits: dict[str, object], allowed: bool
) -> None:
    async with desk("email", limits=limits) as d:
        d.write(to="group:default/platform")
        d.plan()
        if allowed:
            assert len(d.rows) == 2
            return
        assert (d.status.state, d.status.reason) == ("Failed", "PolicyDenied")
        assert resolved(d) == ("False", "PolicyDenied")
        assert d.rows == []


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("x" * 65_500, True),
        ("x" * 65_600, False),
        ("é" * 32_700, True),
        ("é" * 32_800, False),
    ],
    ids=["ascii", "ascii too long", "utf-8", "utf-8 too long"],
)
async def test_metadata_is_bounded_in_bytes(value: str, fits: bool) -> None:
    async with desk("email") as d:
        d.write(payload={"metadata": {"a": value}})
        d.plan()
        if fits:
            assert d.brief == {"ada": "Pending"}
        else:
            assert (d.status.state, d.status.reason) == ("Failed", "TooLarge")
            assert "spec.payload.metadata" in str(d.status.conditions)


@pytest.mark.parametrize(("levels", "fits"), [(64, True), (65, False), (96, False)])
@pytest.mark.parametrize("kind", ["objects", "arrays"])
async def test_metadata_is_bounded_in_depth(levels: int, fits: bool, kind: str) -> None:
    value: Any = {} if kind == "objects" else []
    for _ in range(levels - 2):
        value = {"a": value} if kind == "objects" else [value, 1]
    async with desk("email") as d:
        d.write(payload={"metadata": {"a": value, "b": "flat"}})
        d.plan()
        if fits:
            assert d.brief == {"ada": "Pending"}
        else:
            assert (d.status.state, d.status.reason) == ("Failed", "TooLarge")
            assert "at most 64 levels" in str(d.status.conditions)


async def test_more_rows_than_the_ledger_holds_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "ROW_LIMIT", 1000)
    names = [f"u{number:04}" for number in range(1001)]
    async with desk("email", catalog=directory(users_yaml(names))) as d:
        d.write(to=None)
        d.plan()
        assert (d.status.state, d.status.reason) == ("Failed", "TooLarge")
        assert "1001" in str(d.status.conditions)
        d.write(to=["user:default/u0001"])
        d.plan()
        assert d.brief == {"u0001": "Pending"}
        assert d.status.revision == 1, "nothing was sent before"


async def test_created_after_it_expired_sends_nothing() -> None:
    async with desk("email") as d:
        d.write(expiresAt="2030-01-31T12:00:00Z")
        d.plan()
        assert (d.status.state, d.status.reason) == ("Expired", "Expired")
        assert d.rows == []
        assert d.notification.finished


async def test_what_is_not_sent_by_its_expiry_fails() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB, EVE], expiresAt="2030-01-31T12:00:10Z")
        d.plan()
        assert d.deadline == NOW + seconds(10)
        d.set_rows(ada="Sent", bob="Retrying")
        d.now += seconds(9)
        d.plan()
        assert d.brief == {"ada": "Sent", "bob": "Retrying", "eve": "Pending"}
        d.now += seconds(1)
        d.plan()
        assert d.brief == {"ada": "Sent", "bob": "Failed", "eve": "Failed"}
        assert {row.reason for row in d.rows[1:]} == {"Expired"}
        assert d.status.state == "PartiallyDelivered"


@pytest.mark.parametrize("catalog", [NOBODY, directory(CATALOG)], ids=["unknown", "no processor"])
async def test_expiry_ends_a_wait(catalog: Directory) -> None:
    processors = ["email"] if catalog is NOBODY else []
    async with desk(*processors, catalog=catalog) as d:
        d.write(expiresAt="2030-01-31T12:00:10Z")
        d.plan()
        assert d.status.state == "Pending"
        d.now += seconds(10)
        d.plan()
        assert d.status.state == "Expired"
        assert d.notification.finished


async def test_pending_row_that_is_too_old_fails() -> None:
    async with desk(scripts={"email": Script()}) as d:
        await d.offer_processor("email", retry={"maxAge": "1h"})
        d.write()
        d.plan()
        assert d.deadline == NOW + timedelta(hours=1)
        d.now += timedelta(hours=1)
        d.plan()
        assert d.brief == {"ada": "Failed"}


async def test_row_of_a_slice_that_is_too_old_ends_with_its_processors_reason() -> None:
    script = Script()
    script.verify_errors.extend([error(Reason.AUTH_FAILED, "535 no", scope=Scope.PROCESSOR)] * 1000)
    async with desk(scripts={"email": script}) as d:
        await d.offer_processor("email", retry={"maxAge": "1h"})
        d.write()
        d.plan()
        ledger = Ledger.load(d.status)
        ledger.slices = 1
        ledger.put_all(replace(row, reason=None, message=None) for row in ledger.in_state(*UNSENT))
        d.planner.deadlines.settle_rows(d.notification, ledger, d.directory, NOW)
        assert [row.reason for row in ledger.rows.values()] == [None], "not said while it waits"
        d.planner.deadlines.settle_rows(
            d.notification, ledger, d.directory, NOW + timedelta(hours=1)
        )
        (row,) = ledger.rows.values()
        assert (row.state, row.reason, row.message) == ("Failed", "AuthFailed", "535 no")
