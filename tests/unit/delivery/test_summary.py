"""State, summary and conditions from any mixture of rows (DESIGN section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.conditions import Condition, ConditionType
from notifications_operator.api.notification import DeliveryState, NotificationState
from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.ledger.rows import Row
from notifications_operator.delivery.ledger.summary import (
    Obstacle,
    Progress,
    Verdict,
    conditions,
    judge,
    summarize_processor,
)
from notifications_operator.delivery.ledger.tally import Tally
from tests.unit.delivery.builders import NOW, row, seconds

S = DeliveryState
N = NotificationState

EXPIRED = Obstacle(reason=Reason.EXPIRED, message="too late")
DENIED = Obstacle(reason=Reason.POLICY_DENIED, message="too many")
WAITING = Obstacle(reason="CatalogEmpty", message="the catalog holds no user yet")


def rows(
    *states: DeliveryState, reason: Reason | None = None, skipped: Reason | None = None
) -> list[Row]:
    bad = (S.FAILED, S.UNKNOWN, S.RETRYING)
    return [
        row(
            state,
            recipient=f"user:default/u{number}",
            reason=(
                (reason or Reason.MAILBOX_FULL)
                if state in bad
                else skipped
                if state is S.SKIPPED
                else None
            ),
            message="said so" if state in bad else None,
            next_attempt_time=NOW + seconds(number) if state is S.RETRYING else None,
        )
        for number, state in enumerate(states)
    ]


def progress(
    items: Sequence[Row] = (), *, planned: bool = True, users: int = 5, **options: Any
) -> Progress:
    return Progress(tally=Tally.of(items), planned=planned, users=users, **options)


def derive(
    facts: Progress, *, old: Sequence[Condition] = (), now: datetime = NOW
) -> tuple[Verdict, dict[str, Condition]]:
    verdict = judge(facts)
    found = conditions(facts, verdict, old=old, generation=3, now=now)
    return verdict, {item.type: item for item in found}


T, F, U = "True", "False", "Unknown"


@pytest.mark.parametrize(
    ("facts", "state", "summary", "complete", "delivered", "ready", "reconciling", "stalled"),
    [
        # Under way.
        (progress(planned=False), N.PENDING, "0/0", F, U, F, T, F),
        (progress(rows(S.PENDING)), N.PENDING, "0/1", F, U, F, T, F),
        (progress(rows(S.PENDING, S.SKIPPED)), N.PENDING, "0/1", F, U, F, T, F),
        (progress(rows(S.CLAIMED)), N.DELIVERING, "0/1", F, U, F, T, F),
        (progress(rows(S.RETRYING)), N.DELIVERING, "0/1", F, U, F, T, F),
        (progress(rows(S.SENT, S.PENDING)), N.DELIVERING, "1/2", F, U, F, T, F),
        (progress(rows(S.FAILED, S.PENDING)), N.DELIVERING, "0/2", F, U, F, T, F),
        (progress(rows(S.UNKNOWN, S.RETRYING)), N.DELIVERING, "0/2", F, U, F, T, F),
        (progress(planned=False, waiting=WAITING), N.PENDING, "0/0", F, U, F, T, F),
        (progress(rows(S.SENT), waiting=WAITING), N.DELIVERING, "1/1", F, U, F, T, F),
        # Suspended.
        (progress(planned=False, suspended=True), N.SUSPENDED, "0/0", F, U, F, F, F),
        (progress(rows(S.SENT, S.PENDING), suspended=True), N.SUSPENDED, "1/2", F, U, F, F, F),
        (progress(rows(S.CLAIMED), suspended=True), N.SUSPENDED, "0/1", F, U, F, F, F),
        # All well.
        (progress(rows(S.SENT)), N.DELIVERED, "1/1", T, T, T, F, F),
        (progress(rows(S.SENT), suspended=True), N.DELIVERED, "1/1", T, T, T, F, F),
        (progress(rows(S.SENT, S.SENT, S.SKIPPED)), N.DELIVERED, "2/2", T, T, T, F, F),
        (progress(rows(S.SKIPPED)), N.DELIVERED, "0/0", T, T, T, F, F),
        (progress(), N.DELIVERED, "0/0", T, T, T, F, F),
        # Nobody was reached.
        (progress(users=0), N.NO_RECIPIENTS, "0/0", T, F, T, F, F),
        (
            progress(rows(S.SKIPPED, skipped=Reason.NO_ADDRESS)),
            N.NO_RECIPIENTS, "0/0", T, F, T, F, F,
        ),
        (
            progress(rows(S.SKIPPED, skipped=Reason.UNKNOWN_ENTITIES)),
            N.NO_RECIPIENTS, "0/0", T, F, T, F, F,
        ),
        (
            progress(
                rows(S.SKIPPED, skipped=Reason.OPTED_OUT)
                + rows(S.SKIPPED, skipped=Reason.INVALID_ADDRESS)
            ),
            N.NO_RECIPIENTS, "0/0", T, F, T, F, F,
        ),
        # Left out on purpose, or beside others who were reached.
        (progress(rows(S.SKIPPED, skipped=Reason.OPTED_OUT)), N.DELIVERED, "0/0", T, T, T, F, F),
        (progress(rows(S.SKIPPED, skipped=Reason.BLOCKED)), N.DELIVERED, "0/0", T, T, T, F, F),
        (progress(rows(S.SKIPPED, skipped=Reason.CANCELLED)), N.DELIVERED, "0/0", T, T, T, F, F),
        (
            progress(rows(S.SENT, S.SKIPPED, skipped=Reason.NO_ADDRESS)),
            N.DELIVERED, "1/1", T, T, T, F, F,
        ),
        (
            progress(rows(S.SKIPPED, S.FAILED, skipped=Reason.NO_ADDRESS)),
            N.FAILED, "0/1", T, F, F, F, T,
        ),
        # In part.
        (progress(rows(S.SENT, S.FAILED)), N.PARTIALLY_DELIVERED, "1/2", T, F, T, F, F),
        (progress(rows(S.SENT, S.UNKNOWN)), N.PARTIALLY_DELIVERED, "1/2", T, F, T, F, F),
        (
            progress(rows(S.SENT, S.SENT, S.SENT, S.FAILED, S.SKIPPED)),
            N.PARTIALLY_DELIVERED, "3/4", T, F, T, F, F,
        ),
        (
            progress(rows(S.SENT, S.FAILED, reason=Reason.EXPIRED)),
            N.PARTIALLY_DELIVERED, "1/2", T, F, T, F, F,
        ),
        # Failed.
        (progress(rows(S.FAILED)), N.FAILED, "0/1", T, F, F, F, T),
        (progress(rows(S.UNKNOWN)), N.FAILED, "0/1", T, F, F, F, T),
        (progress(rows(S.FAILED, S.SKIPPED)), N.FAILED, "0/1", T, F, F, F, T),
        (
            progress(rows(S.FAILED, reason=Reason.EXPIRED) + rows(S.UNKNOWN)),
            N.FAILED, "0/2", T, F, F, F, T,
        ),
        (progress(planned=False, verdict=DENIED), N.FAILED, "0/0", T, F, F, F, T),
        (progress(rows(S.FAILED), verdict=DENIED), N.FAILED, "0/1", T, F, F, F, T),
        (progress(rows(S.CLAIMED), verdict=DENIED), N.DELIVERING, "0/1", F, U, F, T, F),
        # Expired.
        (progress(planned=False, verdict=EXPIRED), N.EXPIRED, "0/0", T, F, T, F, F),
        (progress(rows(S.FAILED, reason=Reason.EXPIRED)), N.EXPIRED, "0/1", T, F, T, F, F),
        (
            progress(rows(S.FAILED, S.SKIPPED, reason=Reason.EXPIRED)),
            N.EXPIRED, "0/1", T, F, T, F, F,
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, NotificationState) else "",
)  # fmt: skip
def test_table(
    facts: Progress,
    state: NotificationState,
    summary: str,
    complete: str,
    delivered: str,
    ready: str,
    reconciling: str,
    stalled: str,
) -> None:
    verdict, found = derive(facts)
    assert (verdict.state, verdict.summary) == (state, summary)
    assert {kind: item.status for kind, item in found.items()} == {
        ConditionType.RECIPIENTS_RESOLVED: T if facts.planned else U,
        ConditionType.COMPLETE: complete,
        ConditionType.DELIVERED: delivered,
        ConditionType.READY: ready,
        ConditionType.RECONCILING: reconciling,
        ConditionType.STALLED: stalled,
    }
    assert {item.observed_generation for item in found.values()} == {3}


@pytest.mark.parametrize(
    ("facts", "reason", "fragment"),
    [
        (progress(rows(S.SENT)), None, "1 sent"),
        (progress(rows(S.SENT, S.PENDING)), None, "1 sent, 1 pending"),
        (progress(rows(S.FAILED)), "MailboxFull", "email to user:default/u0: MailboxFull"),
        (progress(rows(S.RETRYING)), "MailboxFull", "1 retrying"),
        (progress(planned=False, waiting=WAITING), "CatalogEmpty", "holds no user"),
        (progress(planned=False, verdict=DENIED), "PolicyDenied", "too many"),
        (progress(users=0), None, "resolved to no user"),
        (progress(rows(S.SENT), note="TTLIgnored: Helm"), None, "1 sent; TTLIgnored: Helm"),
        (
            progress(
                rows(S.FAILED, S.FAILED, reason=Reason.BLOCKED)
                + rows(S.FAILED, reason=Reason.TOO_LARGE)
                + [row(S.RETRYING, recipient="r", reason=Reason.GREYLISTED)] * 5
            ),
            "Blocked",
            "3 failed, 5 retrying",
        ),
    ],
)
def test_reason_and_message(facts: Progress, reason: str | None, fragment: str) -> None:
    verdict, found = derive(facts)
    assert verdict.reason == reason
    assert fragment in found[ConditionType.COMPLETE].message


@pytest.mark.parametrize(("users", "message"), [(1, "1 user"), (2, "2 users")])
def test_users_are_counted(users: int, message: str) -> None:
    _, found = derive(progress(rows(S.SENT), users=users, remarks=()))
    assert found[ConditionType.RECIPIENTS_RESOLVED].message == message


def test_stalled_says_why_and_only_then() -> None:
    _, failed = derive(progress(rows(S.FAILED)))
    assert failed[ConditionType.STALLED].reason == "MailboxFull"
    assert failed[ConditionType.STALLED].message
    _, fine = derive(progress(rows(S.SENT)))
    assert fine[ConditionType.STALLED].message == ""


def test_unknown_recipients_are_said_though_the_rest_was_sent() -> None:
    unknown = Obstacle(reason=Reason.UNKNOWN_ENTITIES, message="the catalog does not know x")
    _, found = derive(progress(rows(S.SENT), recipients=unknown))
    condition = found[ConditionType.RECIPIENTS_RESOLVED]
    assert (condition.status, condition.reason) == ("False", "UnknownEntities")
    assert condition.message == "the catalog does not know x"


def test_counters_of_a_processor() -> None:
    states = [S.PENDING, S.CLAIMED, S.SENT, S.SENT, S.RETRYING, S.RETRYING, S.FAILED, S.SKIPPED]
    items = rows(*states, S.UNKNOWN)
    found = summarize_processor("email", Tally.of(items), reason=None, message=None)
    assert found.model_dump(exclude={"name", "reason", "message", "next_attempt_time"}) == {
        "total": 9,
        "sent": 2,
        "failed": 1,
        "skipped": 1,
        "retrying": 2,
        "pending": 2,
        "unknown": 1,
    }
    assert found.next_attempt_time == NOW + seconds(4), "the next of them"


def test_filtered_processor_has_no_rows() -> None:
    found = summarize_processor("email", Tally.of([]), reason="Filtered", message="severity low")
    assert (found.total, found.reason, found.message) == (0, "Filtered", "severity low")
    assert found.next_attempt_time is None


MIXTURES = st.lists(st.sampled_from(S), max_size=6).map(lambda states: rows(*states))
OBSTACLES = st.sampled_from([None, None, WAITING, DENIED, EXPIRED])
PROGRESS = st.builds(
    Progress,
    tally=MIXTURES.map(Tally.of),
    planned=st.booleans(),
    users=st.integers(0, 2),
    suspended=st.booleans(),
    waiting=st.sampled_from([None, None, WAITING]),
    verdict=st.sampled_from([None, None, DENIED, EXPIRED]),
    recipients=st.sampled_from([None, WAITING]),
    note=st.sampled_from([None, "a note"]),
)
TERMINAL = frozenset({N.DELIVERED, N.PARTIALLY_DELIVERED, N.FAILED, N.EXPIRED, N.NO_RECIPIENTS})


@given(PROGRESS)
def test_what_kstatus_relies_on(facts: Progress) -> None:
    verdict, found = derive(facts)
    true = {kind for kind, item in found.items() if item.status == "True"}
    assert not {ConditionType.RECONCILING, ConditionType.STALLED} <= true
    assert not {ConditionType.READY, ConditionType.STALLED} <= true
    assert not {ConditionType.READY, ConditionType.RECONCILING} <= true
    assert set(found) == set(ConditionType) - {ConditionType.RECORDED}
    assert all(item.reason for item in found.values()), "metav1.Condition requires one"
    assert (ConditionType.COMPLETE in true) is (verdict.state in TERMINAL)
    if ConditionType.COMPLETE in true:
        assert ConditionType.RECONCILING not in true
        assert not facts.tally.states()[S.CLAIMED]
        assert ({ConditionType.READY, ConditionType.STALLED} & true) != set()
    if ConditionType.DELIVERED in true:
        assert not facts.tally.reasons(S.FAILED, S.UNKNOWN)


@given(PROGRESS)
def test_summary_counts_what_is_not_skipped(facts: Progress) -> None:
    states = facts.tally.states()
    sent, total = states[S.SENT], states.total() - states[S.SKIPPED]
    assert judge(facts).summary == f"{sent}/{total}"


@given(st.lists(PROGRESS, min_size=1, max_size=6))
def test_transition_time_moves_only_when_the_status_does(history: list[Progress]) -> None:
    old: list[Condition] = []
    for step, facts in enumerate(history):
        now = NOW + seconds(step)
        _, found = derive(facts, old=old, now=now)
        before = {item.type: item for item in old}
        for kind, item in found.items():
            previous = before.get(kind)
            kept = previous is not None and previous.status == item.status
            expected = previous.last_transition_time if kept and previous else now
            assert item.last_transition_time == expected
        old = list(found.values())


def test_what_is_refused_has_a_condition_of_its_own() -> None:
    obstacle = Obstacle(reason=Reason.POLICY_DENIED, message="403 quota", denied=True)
    _, found = derive(Progress(tally=Tally(), planned=False, waiting=obstacle))
    recorded = found[ConditionType.RECORDED]
    assert (recorded.status, recorded.reason) == ("False", "PolicyDenied")
    assert recorded.message == "403 quota"
