"""The judge of the campaigns must be able to condemn: each law, broken once."""

from __future__ import annotations

import os
import socket
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.evidence import Doubt, Evidence, Expectation, Key, Mail, Orphan, Row
from tests.chaos.judge import count_doubles, judge
from tests.chaos.leaks import holdings
from tests.chaos.workload import MOST_ROWS, SILENT, Workload, members

START = datetime(2026, 1, 1, tzinfo=UTC)
ADA = Key("email", "n0001", "ada")
BOB = Key("email", "n0001", "bob")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def mail(key: Key, seconds: float = 0, **changes: Any) -> Mail:
    return replace(Mail(key=key, message_id=f"<{key.recipient}>", moment=at(seconds)), **changes)


def row(key: Key, state: str = "Sent", attempts: int = 1, reason: str | None = None) -> Row:
    return Row(key=key, state=state, reason=reason, attempts=attempts)


def body(rows: list[Row], state: str = "Delivered", **status: Any) -> dict[str, Any]:
    states = Counter(item.state for item in rows)
    return {
        "metadata": {"name": "n0001", "generation": 1},
        "status": {
            "observedGeneration": 1,
            "state": state,
            "summary": f"{states['Sent']}/{len(rows) - states['Skipped']}",
            "completionTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Complete", "status": "True"}],
            "processors": [
                {"name": "email", **{name.lower(): count for name, count in states.items()}}
            ],
            **status,
        },
    }


def evidence(rows: list[Row], mails: list[Mail], **changes: Any) -> Evidence:
    state = changes.pop("state", "Delivered")
    made = Evidence(
        expected={item.key: Expectation.MAIL for item in rows},
        holding=frozenset(),
        mails=mails,
        doubts=[],
        rows=rows,
        bodies=[body(rows, state)],
    )
    return replace(made, **changes)


def good() -> Evidence:
    return evidence([row(ADA), row(BOB)], [mail(ADA), mail(BOB)])


def broken(made: Evidence) -> str:
    return "\n".join(judge(made))


def test_all_is_well() -> None:
    assert judge(good()) == []


def test_attempts_are_counted_anew_after_a_failure_that_was_opened_again() -> None:
    """The annotation that asks for what is held opens what has failed as well."""
    mails = [mail(ADA, answered=False), mail(ADA, 60)]
    assert "ada by email has 2 mails in 1 attempts" in broken(evidence([row(ADA)], mails))
    made = evidence([row(ADA)], mails, reopened=[Doubt(key=ADA, moment=at(50))])
    assert judge(made) == []


def test_a_lost_recipient() -> None:
    made = evidence([row(ADA)], [mail(ADA)])
    made.expected[BOB] = Expectation.MAIL
    assert "n0001 to bob by email has no row" in broken(made)


def test_a_recipient_that_is_none_and_one_that_is_there_twice() -> None:
    made = evidence(
        [row(ADA), row(ADA), row(BOB)], [mail(ADA), mail(BOB)], expected={ADA: Expectation.MAIL}
    )
    assert "bob by email has a row and is no recipient" in broken(made)
    assert "ada by email has 2 rows" in broken(made)


@pytest.mark.parametrize(
    ("made", "law"),
    [
        (evidence([row(ADA)], []), "no server said that it accepted it"),
        (evidence([row(ADA)], [mail(ADA, answered=False)]), "no server said that it accepted it"),
        (evidence([row(ADA)], [mail(ADA, accepted=False)]), "no server said that it accepted it"),
        (evidence([row(ADA, "Failed")], [], state="Failed"), "no server refused it for good"),
        (
            evidence(
                [row(ADA, "Failed")],
                [mail(ADA)],
                state="Failed",
                refused=Counter({("email", "ada"): 1}),
            ),
            "a server accepted it",
        ),
        (evidence([row(ADA, "Unknown")], [], state="Failed"), "its processor does not hold"),
        (
            evidence([row(ADA, "Unknown")], [], state="Failed", holding=frozenset({"email"})),
            "it never was in doubt",
        ),
        (evidence([row(ADA, "Skipped", 0)], []), "nothing was to be skipped"),
        (
            evidence([row(ADA)], [mail(ADA)], expected={ADA: Expectation.SKIP}),
            "it was to be skipped",
        ),
        (evidence([row(ADA, "Claimed")], [mail(ADA)]), "it did not end"),
        (evidence([row(ADA, attempts=0)], [mail(ADA)]), "1 mails in 0 attempts"),
    ],
)
def test_states_that_do_not_agree_with_the_mails(made: Evidence, law: str) -> None:
    assert law in broken(made)


def test_more_failures_than_refusals() -> None:
    other = Key("email", "n0002", "ada")
    rows = [row(ADA, "Failed"), row(other, "Failed")]
    made = evidence(rows, [], refused=Counter({("email", "ada"): 1}))
    assert "ada failed 2 times by email, and was refused 1 times" in broken(made)


def test_a_second_mail_without_doubt() -> None:
    made = evidence([row(ADA, attempts=2)], [mail(ADA, 0), mail(ADA, 9)])
    assert "was sent again without doubt" in broken(made)
    assert count_doubles(made.mails) == 1


@pytest.mark.parametrize("seconds", [-1, 10])
def test_a_doubt_at_another_time_is_no_excuse(seconds: float) -> None:
    doubts = [Doubt(key=ADA, moment=at(seconds))]
    made = evidence([row(ADA, attempts=2)], [mail(ADA, 0), mail(ADA, 9)], doubts=doubts)
    assert "was sent again without doubt" in broken(made)


def test_a_second_mail_in_doubt() -> None:
    rows, mails = [row(ADA, attempts=2)], [mail(ADA, 0), mail(ADA, 9)]
    assert judge(evidence(rows, mails, doubts=[Doubt(key=ADA, moment=at(5))])) == []
    assert judge(evidence(rows, [mail(ADA, 0, answered=False), mail(ADA, 9)])) == []


def test_one_doubt_is_no_excuse_for_two_copies() -> None:
    mails = [mail(ADA, 0), mail(ADA, 9), mail(ADA, 10)]
    doubts = [Doubt(key=ADA, moment=at(5))]
    assert "without doubt" in broken(evidence([row(ADA, attempts=3)], mails, doubts=doubts))


def test_holding_allows_no_second_mail_at_all() -> None:
    made = evidence(
        [row(ADA, attempts=2)],
        [mail(ADA, 0, answered=False), mail(ADA, 9)],
        holding=frozenset({"email"}),
    )
    assert "although its processor holds" in broken(made)


def test_message_ids() -> None:
    doubts = [Doubt(key=ADA, moment=at(5))]
    mails = [mail(ADA, 0), mail(ADA, 9, message_id="<other>")]
    assert "2 Message-IDs" in broken(evidence([row(ADA, attempts=2)], mails, doubts=doubts))
    mails = [mail(ADA, message_id="<same>"), mail(BOB, message_id="<same>")]
    assert "share the Message-ID <same>" in broken(evidence([row(ADA), row(BOB)], mails))


@pytest.mark.parametrize(
    ("status", "law"),
    [
        ({"conditions": [{"type": "Complete", "status": "False"}]}, "is stuck"),
        (
            {
                "conditions": [
                    {"type": "Complete", "status": "True"},
                    {"type": "Reconciling", "status": "True"},
                ]
            },
            "complete and reconciling",
        ),
        ({"observedGeneration": 0}, "not observed"),
        ({"state": "Failed"}, "should be Delivered"),
        ({"summary": "2/2"}, "and has 1/1"),
        ({"processors": [{"name": "email", "sent": 1, "failed": 1}]}, "says failed 1, not 0"),
    ],
)
def test_the_whole(status: dict[str, Any], law: str) -> None:
    made = evidence([row(ADA)], [mail(ADA)], bodies=[body([row(ADA)], **status)])
    assert law in broken(made)


@pytest.mark.parametrize("field", ["strangers", "violations", "leaks", "crashes", "overruled"])
def test_what_was_noted_on_the_way(field: str) -> None:
    changes: dict[str, Any] = {field: ["something"]}
    assert "something" in broken(replace(good(), **changes))


def test_the_same_seed_makes_the_same_work() -> None:
    one, other = (Workload(7, namespace="n", processors=["a", "b"]) for _ in range(2))
    assert one.jobs(30) == other.jobs(30)
    assert one.jobs(1) != Workload(8, namespace="n", processors=["a", "b"]).jobs(1)


def test_the_work_is_mixed_and_bounded() -> None:
    jobs = Workload(1, namespace="n", processors=["a", "b", "c"]).jobs(200)
    sizes = {len(job.expected) for job in jobs}
    assert 1 in sizes
    assert max(sizes) <= MOST_ROWS
    assert any(key.recipient == SILENT for job in jobs for key in job.expected)
    assert members("group:default/five") < members("group:default/dozen")


def test_holdings_see_a_file_and_a_connection() -> None:
    before = holdings(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            now = holdings(os.getpid())
    assert now.files == before.files + 2
    assert now.connections[port] == before.connections[port] + 1


def test_an_edit_is_another_delivery() -> None:
    mails = [mail(ADA, 0), mail(ADA, 9, edition=1, message_id="<update>")]
    assert judge(evidence([row(ADA)], mails, editions={"n0001": 1})) == []
    made = evidence([row(ADA)], [mail(ADA)], editions={"n0001": 1})
    assert "no server said that it accepted it" in broken(made)
    made = evidence([row(ADA)], [mail(ADA, 0), mail(ADA, 9, edition=1)], editions={"n0001": 1})
    assert "share the Message-ID" in broken(made)


def test_a_second_mail_that_was_asked_for() -> None:
    mails = [mail(ADA, 0, answered=False), mail(ADA, 9)]
    asked = [Doubt(key=ADA, moment=at(5))]
    holding = frozenset({"email"})
    assert judge(evidence([row(ADA)], mails, asked=asked, holding=holding)) == []
    late = [Doubt(key=ADA, moment=at(10))]
    made = evidence([row(ADA)], mails, asked=late, holding=holding)
    assert "although its processor holds" in broken(made)


def test_a_claim_in_doubt_that_was_sent_although_its_processor_holds() -> None:
    changes: dict[str, Any] = {
        "holding": frozenset({"email"}),
        "doubts": [Doubt(key=ADA, moment=at(5))],
    }
    assert "although it was in doubt" in broken(evidence([row(ADA)], [mail(ADA, 9)], **changes))
    assert judge(evidence([row(ADA)], [mail(ADA, 4)], **changes)) == []
    changes["asked"] = [Doubt(key=ADA, moment=at(7))]
    assert judge(evidence([row(ADA)], [mail(ADA, 9)], **changes)) == []


def orphan(key: Key, claimed: float, found: float) -> Orphan:
    return Orphan(key=key, claimed=at(claimed), found=at(found))


def test_a_copy_for_each_claim_that_was_given_up() -> None:
    rows, mails = [row(ADA, attempts=3)], [mail(ADA, 5), mail(ADA, 6), mail(ADA, 7)]
    orphans = [orphan(ADA, 1, 4), orphan(ADA, 4, 5)]
    assert judge(evidence(rows, mails, orphans=orphans)) == []
    assert "without doubt" in broken(evidence(rows, mails, orphans=orphans[:1]))
    of_another = [orphan(BOB, 1, 4), orphan(ADA, 1, 4)]
    assert "without doubt" in broken(evidence(rows, mails, orphans=of_another))
    too_late = [orphan(ADA, 1, 4), orphan(ADA, 8, 9)]
    assert "without doubt" in broken(evidence(rows, mails, orphans=too_late))


def test_a_former_leader_finishes_what_it_had_begun() -> None:
    changes: dict[str, Any] = {
        "holding": frozenset({"email"}),
        "orphans": [orphan(ADA, 1, 4)],
    }
    held = [row(ADA, "Unknown")]
    finished, begun = mail(ADA, 5, begun=at(3)), mail(ADA, 5, begun=at(4.5))
    assert judge(evidence(held, [finished], **changes | {"state": "Failed"})) == []
    made = evidence(held, [begun], **changes | {"state": "Failed"})
    assert "begun at 00:00:04.500000, after another had found it" in broken(made)
    changes["asked"] = [Doubt(key=ADA, moment=at(4.2))]
    assert judge(evidence([row(ADA, attempts=2)], [begun], **changes)) == []


def test_what_waits_for_anothers_fault_is_condemned() -> None:
    found = judge(evidence([row(ADA)], [mail(ADA)], held_up=["n0002 waits"]))
    assert found == ["by another's fault: n0002 waits"]


def test_a_message_refused_for_one_may_end_the_others_untried() -> None:
    rows = [row(ADA, "Failed"), row(BOB, "Failed", attempts=0)]
    refused = Counter({("email", "ada"): 1})
    of_message = evidence(
        rows, [], state="Failed", refused=refused, refused_messages=Counter(refused)
    )
    assert judge(of_message) == []
    of_recipient = evidence(rows, [], state="Failed", refused=refused)
    assert any("bob" in law and "no server refused it" in law for law in judge(of_recipient))
