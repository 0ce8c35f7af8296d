"""Grudges: whom they refuse, and what they find that was not to happen."""

from __future__ import annotations

from random import Random

import pytest

from tests.chaos.evidence import Expectation, Key, Row
from tests.chaos.grudges import REFUSALS, Culprit, Grudge, bear_grudges, held_up, wrongly_ended
from tests.chaos.servers import MailServer
from tests.chaos.workload import USERS, address_of
from tests.support.smtp import Reply


def grudge_against(culprit: Culprit, seed: int = 1) -> Grudge:
    server = MailServer(processor="email")
    return Grudge(server, culprit, Random(seed))


@pytest.mark.parametrize("culprit", [*Culprit])
def test_a_grudge_is_against_its_culprit_alone_until_it_is_lifted(culprit: Culprit) -> None:
    grudge = grudge_against(culprit)
    step = grudge.refusal.step
    met = {user: grudge.next(step, address_of(user)) for user in USERS}
    refused = {user for user, fault in met.items() if fault is not None}
    match culprit:
        case Culprit.RECIPIENT:
            assert len(refused) == len(USERS) // 10
        case Culprit.DOMAIN:
            assert len({address_of(user).partition("@")[2] for user in refused}) == 1
        case _:
            assert refused == {*USERS}
    assert grudge.times == len(refused)
    for fault in filter(None, met.values()):
        assert isinstance(fault.action, Reply)
        assert "{" not in fault.action.text
    grudge.lift()
    assert not any(grudge.next(step, address_of(user)) for user in USERS)


def test_servers_bear_a_grudge_against_each_culprit() -> None:
    servers = [MailServer(processor=f"p{number}") for number in range(4)]
    grudges = bear_grudges(servers, Random(1))
    assert {grudge.culprit for grudge in grudges} == {*Culprit} == {*REFUSALS}
    assert [grudge.processor for grudge in grudges] == ["p0", "p1", "p2", "p3"]


def test_whom_nothing_stands_in_the_way_of_must_be_sent() -> None:
    grudge = grudge_against(Culprit.DOMAIN)
    against = next(user for user in USERS if grudge.is_against(user))
    innocent = next(user for user in USERS if not grudge.is_against(user))
    keys = [Key("email", "n0001", user) for user in (against, innocent)]
    expected = dict.fromkeys(keys, Expectation.MAIL)

    def rows(state: str) -> list[Row]:
        return [Row(key=key, state=state, reason=None, attempts=1) for key in keys]

    assert list(held_up(expected, rows("Sent"), [grudge])) == []
    assert list(held_up(expected, rows("Pending"), [grudge])) == [
        f"n0001 to {innocent} by email is Pending"
    ]
    assert len(list(held_up(expected, [], [grudge]))) == 1


@pytest.mark.parametrize(
    ("culprit", "wrong"),
    [
        (Culprit.RECIPIENT, 0),
        (Culprit.DOMAIN, 0),
        (Culprit.SENDER, 1),
        (Culprit.EVERYBODY, 1),
    ],
)
def test_nobody_may_fail_by_what_no_recipient_is_to_blame_for(culprit: Culprit, wrong: int) -> None:
    failed = Row(key=Key("email", "n0001", USERS[0]), state="Failed", reason=None, attempts=1)
    waiting = Row(key=Key("email", "n0001", USERS[1]), state="Retrying", reason=None, attempts=1)
    assert len(list(wrongly_ended([failed, waiting], [grudge_against(culprit)]))) == wrong
