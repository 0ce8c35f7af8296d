"""Users who do not want something do not get it; without the answer planning waits."""

from __future__ import annotations

import pytest

from notifications_operator.api.conditions import ConditionType, find_condition
from notifications_operator.api.reasons import Reason
from notifications_operator.catalog import Directory
from notifications_operator.delivery.ledger.ledger import LONGEST_WAIT
from notifications_operator.delivery.planning.optouts import Unavailable
from notifications_operator.processors.errors import Skip
from notifications_operator.processors.preferences import Preferences, Question
from tests.unit.delivery.builders import ADA, BOB, CATALOG, EVE, directory, seconds, users_yaml
from tests.unit.delivery.planning import Desk, desk
from tests.unit.delivery.scripted import Script

EVERYTHING = Preferences()
NOT_ADA = Preferences(differing={"Email": {ADA}})
AWAY = Unavailable(message="users' settings are not known: the gateway is away")


def mailer(**options: object) -> Script:
    return Script(channel="Email", **options)  # type: ignore[arg-type]


def reasons(d: Desk) -> dict[str, str | None]:
    return {f"{row.processor} {row.recipient.rpartition('/')[2]}": row.reason for row in d.rows}


async def test_who_opted_out_is_skipped_with_the_reason() -> None:
    async with desk("email", scripts={"email": mailer()}, answer=NOT_ADA) as d:
        d.write(to=[ADA, BOB], payload={"topic": "builds"})
        d.plan()
        assert d.brief == {"ada": "Skipped", "bob": "Pending"}
        ada, _ = d.rows
        assert (ada.reason, "Email" in (ada.message or "")) == ("OptedOut", True)
        assert d.questions == [
            Question(origin="namespace:team", topic="builds", channels=("Email",))
        ]


async def test_one_question_for_each_snapshot() -> None:
    async with desk("email", scripts={"email": mailer()}, answer=EVERYTHING) as d:
        d.write(to=[ADA])
        for _ in range(3):
            d.plan()
        assert len(d.questions) == 1
        d.set_rows(ada="Sent")
        d.plan()
        assert len(d.questions) == 1
        d.write(to=[ADA], title="Edited")
        d.answer = NOT_ADA
        d.plan()
        assert len(d.questions) == 2
        assert d.brief == {"ada": "Skipped"}


async def test_only_the_channel_that_is_not_wanted_is_left_out() -> None:
    scripts = {"email": mailer(), "inbox": Script(channel="Web"), "plain": Script()}
    async with desk("email", "inbox", "plain", scripts=scripts, answer=NOT_ADA) as d:
        d.write(to=[ADA])
        d.plan()
        assert reasons(d) == {"email ada": "OptedOut", "inbox ada": None, "plain ada": None}
        assert d.questions[0].channels == ("Email", "Web")


async def test_the_channel_of_a_processor_can_be_another() -> None:
    async with desk(scripts={"email": mailer()}, answer=NOT_ADA) as d:
        await d.offer_processor("email", channel="Urgent")
        d.write(to=[ADA])
        d.plan()
        assert d.brief == {"ada": "Pending"}
        assert d.questions[0].channels == ("Urgent",)


async def test_a_broadcast_honours_it_too() -> None:
    async with desk("email", scripts={"email": mailer()}, answer=NOT_ADA) as d:
        d.write(to=None)
        d.plan()
        assert d.brief == {"ada": "Skipped", "bob": "Pending", "eve": "Pending"}


async def test_a_default_of_no_has_its_exceptions() -> None:
    opt_in = Preferences(defaults={"Email": False}, differing={"Email": {BOB}})
    async with desk("email", scripts={"email": mailer()}, answer=opt_in) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        assert d.brief == {"ada": "Skipped", "bob": "Pending"}


async def test_what_is_no_user_has_no_settings() -> None:
    opt_in = Preferences(defaults={"Email": False})
    scripts = {"email": mailer(only=["list@example.com", "broadcast"])}
    async with desk("email", scripts=scripts, answer=opt_in) as d:
        d.write(to=None)
        d.plan()
        assert [row.state for row in d.rows] == ["Pending", "Pending"]


async def test_another_cause_to_skip_a_user_who_wants_it_stays() -> None:
    no_address = Skip(reason=Reason.NO_ADDRESS, message="none")
    scripts = {"email": mailer(skips={BOB: no_address})}
    async with desk("email", scripts=scripts, answer=NOT_ADA) as d:
        d.write(to=[ADA, BOB])
        d.plan()
        assert reasons(d) == {"email ada": "OptedOut", "email bob": "NoAddress"}


async def test_processors_without_channel_need_no_answer() -> None:
    async with desk("plain", answer=AWAY) as d:
        d.write(to=[ADA])
        d.plan()
        assert d.questions == []
        assert d.brief == {"ada": "Pending"}


async def test_without_a_gateway_nobody_is_asked() -> None:
    async with desk("email", scripts={"email": mailer()}) as d:
        d.write(to=[ADA])
        d.plan()
        assert d.questions == []


async def test_without_the_answer_it_waits_and_says_so() -> None:
    async with desk("email", scripts={"email": mailer()}, answer=AWAY) as d:
        d.write(to=[ADA])
        ledger = d.plan()
        assert (d.status.state, d.status.reason) == ("Pending", "PreferencesUnavailable")
        assert d.rows == []
        found = find_condition(d.status.conditions, ConditionType.COMPLETE)
        assert found is not None
        assert (found.status, "the gateway is away" in found.message) == ("False", True)
        again = d.planner.deadlines.next_deadline(d.notification, ledger)
        assert again is not None
        d.answer = NOT_ADA
        d.plan()
        assert d.brief == {"ada": "Skipped"}


async def test_what_is_critical_does_not_wait() -> None:
    async with desk("email", scripts={"email": mailer()}, answer=AWAY) as d:
        d.write(to=[ADA], payload={"severity": "critical"})
        d.plan()
        assert d.brief == {"ada": "Pending"}


async def test_it_does_not_wait_for_ever() -> None:
    async with desk("email", scripts={"email": mailer()}, answer=AWAY) as d:
        d.write(to=[ADA])
        d.plan()
        d.now += LONGEST_WAIT
        d.plan()
        assert (d.status.state, d.status.reason) == ("Failed", "ConnectFailed")


async def test_an_expiry_ends_the_wait() -> None:
    async with desk("email", scripts={"email": mailer()}, answer=AWAY) as d:
        d.write(to=[ADA], expiresAt="2030-01-31T12:10:00Z")
        d.plan()
        d.now += seconds(600)
        d.plan()
        assert (d.status.state, d.status.reason) == ("Expired", "Expired")


async def test_an_edit_waits_however_old_the_notification_is() -> None:
    async with desk("email", scripts={"email": mailer()}, answer=EVERYTHING) as d:
        d.write(to=[ADA])
        d.plan()
        d.set_rows(ada="Sent")
        d.now += LONGEST_WAIT * 2
        d.answer = AWAY
        d.write(to=[ADA, BOB], title="Edited")
        d.plan()
        assert (d.status.reason, d.status.revision) == ("PreferencesUnavailable", 1)
        assert d.brief == {"ada": "Sent"}
        d.answer = NOT_ADA
        d.plan()
        assert d.status.revision == 2
        assert d.brief == {"ada": "Skipped", "bob": "Pending"}


@pytest.mark.parametrize("more", [directory(CATALOG, users_yaml(["zoe"]))])
async def test_a_ref_that_becomes_known_meanwhile_is_not_forgotten(more: Directory) -> None:
    async with desk("email", scripts={"email": mailer()}, answer=EVERYTHING) as d:
        d.write(to=[ADA, "user:default/zoe"])
        d.plan()
        assert d.brief == {"ada": "Pending"}
        d.directory, d.answer = more, AWAY
        d.plan()
        assert d.brief == {"ada": "Pending"}
        d.answer = Preferences(differing={"Email": {"user:default/zoe"}})
        d.plan()
        assert d.brief == {"ada": "Pending", "zoe": "Skipped"}


async def test_what_stands_in_for_others_is_left_to_them() -> None:
    """Of two users with one address the first gets the mail, unless it does not want it."""

    async with desk("email", scripts={"email": mailer()}, answer=NOT_ADA) as d:
        script = d.scripts["email"]
        script.first_only = True
        d.write(to=[ADA, BOB, EVE])
        d.plan()
        assert reasons(d) == {
            "email ada": "OptedOut",
            "email bob": None,
            "email eve": "DuplicateAddress",
        }
