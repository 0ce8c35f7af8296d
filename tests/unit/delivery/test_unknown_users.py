"""Users whom the catalog does not know when it is their turn."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.reasons import Reason
from notifications_operator.api.slice import SliceRows
from notifications_operator.catalog import EntityRef
from notifications_operator.delivery.dispatch.channel import DEFAULT_POLICY
from notifications_operator.delivery.ledger.ledger import Ledger, is_ready
from notifications_operator.delivery.ledger.rows import awaits_user, claim, record
from notifications_operator.delivery.planning.unknown import Outlet, settle_unknown_users
from notifications_operator.delivery.storage.slices.codec import decode, encode
from tests.unit.delivery.builders import (
    ADA,
    BOB,
    CATALOG,
    EVE,
    NOW,
    directory,
    error,
    row,
    seconds,
    users_yaml,
)
from tests.unit.delivery.planning import Desk, desk
from tests.unit.delivery.scripted import Script

EVERYBODY, NOBODY = directory(CATALOG), directory()
GRACE = seconds(3600)


def reasons(d: Desk) -> dict[str, tuple[str, str | None]]:
    return {item.recipient.rpartition("/")[2]: (str(item.state), item.reason) for item in d.rows}


READY = Outlet(can_send=True, remembers=lambda user: False)
HELD = ("Pending", "UnknownEntities")
GIVEN_UP = ("Failed", "UnknownEntities")


async def test_they_wait_and_go_when_the_catalog_has_them_again() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.directory = NOBODY
        d.now += seconds(60)
        ledger = d.plan()
        assert reasons(d) == {"ada": HELD, "bob": HELD}
        (first, _) = d.rows
        assert first.next_attempt_time == d.now + GRACE
        assert (
            first.message == f"the catalog does not know {ADA}; waiting until 2030-01-31T13:01:00Z"
        )
        assert ledger.ready_rows("email", d.now + 2 * GRACE) == []
        assert (d.status.state, d.status.reason) == ("Pending", "UnknownEntities")
        d.directory = directory(users_yaml(["ada"]))
        d.now += GRACE - seconds(1)
        ledger = d.plan()
        assert reasons(d) == {"ada": ("Pending", None), "bob": HELD}
        assert [item.recipient for item in ledger.ready_rows("email", d.now)] == [ADA]


async def test_they_fail_after_the_grace() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.directory = directory(users_yaml(["bob"]))
        d.now += seconds(60)
        d.plan()
        d.now += GRACE
        d.plan()
        assert reasons(d) == {"ada": GIVEN_UP, "bob": ("Pending", None)}
        d.set_rows(bob="Sent")
        d.plan()
        assert (d.status.state, d.status.reason) == ("PartiallyDelivered", "UnknownEntities")
        d.directory = EVERYBODY
        d.plan()
        assert reasons(d)["ada"] == GIVEN_UP, "what is final is not opened by the catalog"


@pytest.mark.parametrize("value", ["again", "all:again"])
async def test_a_redelivery_gives_them_another_grace(value: str) -> None:
    async with desk("email") as d:
        d.write(to=[ADA])
        d.plan()
        d.directory = NOBODY
        d.plan()
        d.now += GRACE
        d.plan()
        assert reasons(d) == {"ada": GIVEN_UP}
        annotations = {"notifications.orchestrator.io/redeliver": value}
        d.write(to=[ADA], annotations=annotations)
        d.plan()
        assert reasons(d) == {"ada": HELD}
        d.directory = EVERYBODY
        d.plan()
        assert reasons(d) == {"ada": ("Pending", None)}


async def test_the_wait_begins_when_they_could_be_sent_to() -> None:
    async with desk("email") as d:
        d.write(to=[ADA])
        d.plan()
        d.write(to=[ADA], suspend=True)
        d.directory = NOBODY
        d.plan()
        assert reasons(d) == {"ada": ("Pending", None)}
        d.write(to=[ADA])
        d.plan()
        assert reasons(d) == {"ada": HELD}


async def test_a_retry_waits_for_its_own_time_first() -> None:
    async with desk("email") as d:
        d.write(to=[ADA])
        (item,) = d.plan().rows.values()
        greylisted = record(
            claim(item, holder="1/p", now=d.now),
            error(Reason.GREYLISTED),
            policy=DEFAULT_POLICY,
            now=d.now,
            jitter=1.0,
        )
        ledger = Ledger.load(d.status)
        ledger.put(greylisted)
        d.store(ledger)
        d.directory = NOBODY
        d.plan()
        assert reasons(d) == {"ada": ("Retrying", "Greylisted")}
        d.now += seconds(30)
        d.plan()
        assert reasons(d) == {"ada": HELD}
        assert d.rows[0].attempts == 1


async def test_processors_that_need_only_the_ref_do_not_wait() -> None:
    scripts = {"inbox": Script(reaches_strangers=True), "email": Script()}
    async with desk("inbox", "email", scripts=scripts) as d:
        d.write(to=[ADA])
        d.plan()
        d.directory = NOBODY
        ledger = d.plan()
        assert [item.recipient for item in ledger.ready_rows("inbox", d.now)] == [ADA]
        assert ledger.ready_rows("email", d.now) == []


async def test_processors_that_remember_a_user_do_not_wait() -> None:
    async with desk("email", scripts={"email": Script(remembered=[ADA])}) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.directory = NOBODY
        d.plan()
        assert reasons(d) == {"ada": ("Pending", None), "bob": HELD}


async def test_a_processor_that_fails_to_say_remembers_nobody() -> None:
    async with desk("email", scripts={"email": Script(remembered=5)}) as d:
        d.write(to=[ADA])
        d.plan()
        d.directory = NOBODY
        d.plan()
        assert reasons(d) == {"ada": HELD}


async def test_an_edit_of_the_recipients_waits_for_those_that_it_names() -> None:
    """A user who is named and unknown at the moment was not removed."""
    async with desk("email") as d:
        d.write(to=[ADA, BOB, EVE])
        d.plan()
        d.directory = directory(users_yaml(["bob"]))
        d.plan()
        d.write(to=[ADA, BOB])
        d.plan()
        assert reasons(d)["ada"] == HELD
        assert reasons(d)["eve"] == ("Skipped", "Cancelled")
        d.directory = EVERYBODY
        d.plan()
        assert reasons(d)["ada"] == ("Pending", None)


async def test_an_edit_of_the_recipients_asks_anew_for_whom_it_gave_up() -> None:
    async with desk("email") as d:
        d.write(to=[ADA])
        d.plan()
        d.directory = NOBODY
        d.plan()
        d.now += GRACE
        d.plan()
        assert reasons(d) == {"ada": GIVEN_UP}
        d.write(to=[ADA, BOB])
        d.plan()
        assert reasons(d) == {}
        assert d.status.state == "Pending"
        d.directory = EVERYBODY
        d.plan()
        assert reasons(d) == {"ada": ("Pending", None), "bob": ("Pending", None)}


async def test_an_edit_of_the_payload_opens_them_again() -> None:
    async with desk("email") as d:
        d.write(to=[ADA, BOB])
        d.plan()
        d.set_rows(bob="Sent")
        d.directory = NOBODY
        d.plan()
        d.now += GRACE
        d.plan()
        assert reasons(d)["ada"] == GIVEN_UP
        d.write(to=[ADA, BOB], title="Edited")
        d.plan()
        assert reasons(d) == {"ada": HELD, "bob": HELD}


def test_a_slice_keeps_the_wait() -> None:
    ledger = Ledger(rows={("email", ADA): row(), ("email", BOB): row(recipient=BOB)})
    settle_unknown_users(
        ledger, directory(users_yaml(["bob"])), {"email": READY}, grace=GRACE, now=NOW
    )
    rows = list(ledger.rows.values())
    stored = SliceRows.model_validate(encode(rows, "email"))
    assert decode(stored) == rows
    assert [awaits_user(item) for item in decode(stored)] == [True, False]


@given(ref=st.from_regex(r"(user|group|api):[a-z0-9]{1,4}/[a-z0-9.-]{1,6}", fullmatch=True))
def test_a_user_is_found_by_the_text_of_its_ref(ref: str) -> None:
    catalog = directory(CATALOG)
    assert catalog.user(ref) is None
    for user in catalog.users():
        assert catalog.user(str(user.ref)) is user
    for other in ("group:default/platform", "user:other/ada", "ada", "", "user:", "user:default"):
        assert catalog.user(other) is None
    assert EntityRef.parse("group:default/platform") in catalog


@given(
    looks=st.lists(
        st.tuples(st.integers(0, 2000), st.booleans(), st.booleans()), min_size=1, max_size=30
    )
)
def test_nobody_is_sent_to_unknown_and_nobody_waits_for_ever(
    looks: list[tuple[int, bool, bool]],
) -> None:
    """Each look: seconds since the last, whether the user is known, whether mail can be sent."""
    ledger = Ledger(rows={("email", ADA): row()})
    now, unknown_since = NOW, None
    for pause, known, can_send in looks:
        now += timedelta(seconds=pause)
        before = ledger.rows["email", ADA]
        catalog = EVERYBODY if known else NOBODY
        outlets = {"email": replace(READY, can_send=can_send)}
        settle_unknown_users(ledger, catalog, outlets, grace=GRACE, now=now)
        item = ledger.rows["email", ADA]
        assert item.attempts == 0
        if before.state.terminal:
            assert item == before
            continue
        assert is_ready(item, now) == (known or (not can_send and not awaits_user(before)))
        unknown_since = (unknown_since or now) if awaits_user(item) or item.state.terminal else None
        if item.state is DeliveryState.FAILED:
            assert unknown_since is not None
            assert now - unknown_since >= GRACE
        elif unknown_since is not None:
            assert now - unknown_since < GRACE
