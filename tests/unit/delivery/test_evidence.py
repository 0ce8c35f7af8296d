"""Evidence on refusals that do not say whose fault they are: laws, and the bounds as written."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.dispatch.health import evidence
from notifications_operator.delivery.dispatch.health.evidence import (
    Acceptances,
    Delivery,
    Evidence,
    Judgement,
    signature_of,
)
from tests.unit.delivery.builders import error


class Desk:
    """Evidence with a clock, and what is pending."""

    def __init__(self, *pending: Delivery) -> None:
        self.now = 0.0
        self.order = Acceptances()
        self.evidence = Evidence(self.order, clock=lambda: self.now)
        self.pending: list[Delivery] = list(pending)

    def listed(self) -> Iterable[tuple[str, Iterable[str]]]:
        """Return what is pending, by Notification."""
        for uid in dict.fromkeys(uid for uid, _ in self.pending):
            yield uid, (recipient for other, recipient in self.pending if other == uid)

    def refuse(self, delivery: Delivery, signature: str = "no") -> Judgement:
        """Refuse one delivery."""
        if delivery not in self.pending:
            self.pending.append(delivery)
        judgement = self.evidence.judge(
            delivery,
            signature,
            domain=lambda recipient: recipient.partition("@")[2],
            pending=self.listed,
        )
        if judgement is Judgement.RECIPIENT:
            self.pending.remove(delivery)
        return judgement

    def accept(self, began: int | None = None) -> None:
        """Let a send be accepted that began now, or before."""
        self.order.accepted(self.order.now if began is None else began)


MANY: list[Delivery] = [
    ("n1", "a@one"),
    ("n1", "b@one"),
    ("n1", "c@two"),
    ("n2", "d@two"),
    ("n2", "e@three"),
]
OTHERS: list[Delivery] = [
    (f"o{number}", f"o{number}@{domain}")
    for number, domain in enumerate(["four", "five", "six", "four", "five", "six"])
]


def test_a_lone_recipient_is_held_until_something_is_accepted() -> None:
    desk = Desk()
    assert [desk.refuse(("n1", "a@one")) for _ in range(9)] == [Judgement.OPEN] * 9
    assert desk.evidence.found is None
    desk.accept()
    assert desk.refuse(("n1", "a@one")) is Judgement.RECIPIENT


def test_other_notifications_of_the_same_recipient_are_no_pattern() -> None:
    desk = Desk(("n1", "a@one"), ("n2", "a@one"))
    assert desk.refuse(("n1", "a@one")) is Judgement.OPEN
    assert desk.refuse(("n2", "a@one")) is Judgement.OPEN


def test_five_recipients_of_three_domains_in_two_notifications_are_evidence() -> None:
    desk = Desk(*OTHERS)
    judgements = [desk.refuse(delivery) for delivery in MANY]
    assert judgements == [Judgement.OPEN] * 4 + [Judgement.PROCESSOR]
    found = desk.evidence.found
    assert found is not None
    assert found.recipients == 5
    assert found.notifications == {"n1", "n2"}


@pytest.mark.parametrize(
    "deliveries",
    [
        [("n1", "a@one")] * 9,
        [("n1", f"{name}@one") for name in "abcdefghi"],
        [("n1", f"{name}@{domain}") for name in "abc" for domain in ("one", "two", "three")],
        [(f"n{name}", f"{name}@one") for name in "abcdefghi"],
        [(f"n{name}", f"{name}@{domain}") for name in "abcde" for domain in ("one", "two")],
        [("n1", "a@one"), ("n1", "b@two"), ("n2", "c@three"), ("n2", "d@four")],
    ],
)
def test_less_is_none_while_others_are_pending(deliveries: list[Delivery]) -> None:
    desk = Desk(*OTHERS)
    assert {desk.refuse(delivery) for delivery in deliveries} == {Judgement.OPEN}


def test_different_replies_are_none() -> None:
    desk = Desk(*OTHERS)
    for number, delivery in enumerate(MANY * 2):
        assert desk.refuse(delivery, f"no {number}") is Judgement.OPEN


def test_all_that_is_pending_is_enough_from_two_recipients_on() -> None:
    desk = Desk(("n1", "a@one"), ("n1", "b@one"))
    assert desk.refuse(("n1", "a@one")) is Judgement.OPEN
    assert desk.refuse(("n1", "b@one")) is Judgement.PROCESSOR


def test_all_pending_domains_and_notifications_are_enough() -> None:
    desk = Desk(*(("n1", f"{name}@one") for name in "abcdefgh"))
    judgements = [desk.refuse(("n1", f"{name}@one")) for name in "abcde"]
    assert judgements == [Judgement.OPEN] * 4 + [Judgement.PROCESSOR]


def test_lone_ones_in_a_row_are_evidence_at_the_second() -> None:
    desk = Desk()
    assert desk.refuse(("na", "a@one")) is Judgement.OPEN
    assert desk.refuse(("nb", "b@one")) is Judgement.PROCESSOR


def test_an_acceptance_makes_the_next_refusal_final() -> None:
    desk = Desk(*OTHERS)
    for delivery in MANY[:3]:
        desk.refuse(delivery)
    desk.accept()
    assert [desk.refuse(delivery) for delivery in MANY[:3]] == [Judgement.RECIPIENT] * 3
    assert desk.refuse(MANY[3]) is Judgement.OPEN


def test_another_reply_is_judged_anew() -> None:
    desk = Desk(*OTHERS)
    desk.refuse(MANY[0])
    desk.accept()
    assert desk.refuse(MANY[0], "another") is Judgement.OPEN


def test_a_send_that_began_before_the_refusal_says_nothing() -> None:
    desk = Desk(*OTHERS)
    began = desk.order.now
    desk.refuse(MANY[0])
    desk.accept(began)
    assert desk.refuse(MANY[0]) is Judgement.OPEN


def test_what_was_refuted_is_no_evidence_again() -> None:
    desk = Desk(*OTHERS)
    for delivery in MANY:
        desk.refuse(delivery)
    desk.accept()
    assert desk.evidence.found is None
    assert {desk.refuse(delivery) for delivery in MANY} == {Judgement.RECIPIENT}
    assert desk.evidence.found is None


def test_holds_grow_longer() -> None:
    desk = Desk(*OTHERS)
    seconds = []
    for _ in range(12):
        desk.refuse(MANY[0])
        seconds.append(desk.evidence.hold_seconds(MANY[0]))
    assert seconds[:4] == [2, 4, 8, 16]
    assert seconds[-1] == evidence.LONGEST_HOLD


def test_memory_is_bounded_and_what_found_no_room_is_held_all_the_same() -> None:
    desk = Desk(*OTHERS)
    for number in range(3000):
        assert desk.refuse(("n1", f"u{number}@one"), f"no {number % 100}") is Judgement.OPEN
    found = desk.evidence
    assert len(found._held) <= evidence.HELD_LIMIT
    assert len(found._patterns) <= evidence.PATTERNS_LIMIT
    assert all(len(item.refused) <= evidence.PATTERN_LIMIT for item in found._patterns.values())
    assert not found.holds(("n1", "u2999@one"))
    assert found.hold_seconds(("n1", "u2999@one")) == evidence.LONGEST_HOLD
    desk.now += evidence.FORGET_SECONDS
    desk.refuse(("n1", "u2999@one"))
    assert found.holds(("n1", "u2999@one")), "who did not come again gives way"


def test_settled_ones_leave_the_memory() -> None:
    desk = Desk(*OTHERS)
    dead: list[Delivery] = [("n1", f"u{number}@one") for number in range(1000)]
    for delivery in dead:
        desk.refuse(delivery)
    desk.accept()
    assert {desk.refuse(delivery) for delivery in dead} == {Judgement.RECIPIENT}
    assert len(desk.evidence._held) == 0


def test_a_long_look_at_what_is_pending_makes_the_next_wait() -> None:
    desk = Desk(*OTHERS)
    for delivery in MANY[:4]:
        desk.refuse(delivery)
    looks = 0

    def slow() -> Iterable[tuple[str, Iterable[str]]]:
        nonlocal looks
        looks += 1
        desk.now += 0.02
        return desk.listed()

    def judge() -> Judgement:
        return desk.evidence.judge(MANY[0], "no", domain=str, pending=slow)

    judge()
    before = looks
    judge()
    assert looks == before
    desk.now += 10
    judge()
    assert looks > before


def test_signature_is_what_the_processor_says_or_reason_and_codes() -> None:
    plain = error(Reason.RECIPIENT_REJECTED, "550 ada", code=550, enhanced_code="5.0.0")
    same = error(Reason.RECIPIENT_REJECTED, "550 bob", code=550, enhanced_code="5.0.0")
    assert signature_of(plain) == signature_of(same) != signature_of(error(code=550))
    assert signature_of(error(signature="no")) == "no"


RECIPIENTS = [f"{name}@{domain}" for name in "abcd" for domain in ("one", "two", "three")]
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["n1", "n2", "n3"]),
            st.sampled_from(RECIPIENTS),
            st.sampled_from(["no", "never"]),
        ),
        st.none(),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_refusal_is_final_only_after_an_acceptance(
    steps: list[tuple[str, str, str] | None],
) -> None:
    desk = Desk(*OTHERS)
    last: dict[Delivery, tuple[int, str]] = {}
    accepted = -1
    for at, step in enumerate(steps):
        if step is None:
            desk.accept()
            accepted = at
            continue
        uid, recipient, signature = step
        judgement = desk.refuse((uid, recipient), signature)
        before = last.pop((uid, recipient), None)
        settled = before is not None and before[1] == signature and before[0] < accepted
        assert (judgement is Judgement.RECIPIENT) == settled
        if judgement is not Judgement.RECIPIENT:
            last[uid, recipient] = (at, signature)


@given(STEPS)
def test_evidence_is_never_less_than_its_bounds_while_others_are_pending(
    steps: list[tuple[str, str, str] | None],
) -> None:
    desk = Desk(*OTHERS)
    since: list[tuple[str, str, str]] = []
    for step in steps:
        if step is None:
            desk.accept()
            since.clear()
            continue
        since.append(step)
        if desk.refuse(step[:2], step[2]) is Judgement.PROCESSOR:
            alike = [item for item in since if item[2] == step[2]]
            recipients = {recipient for _, recipient, _ in alike}
            assert len(recipients) >= 5
            assert len({recipient.partition("@")[2] for recipient in recipients}) >= 3
            assert len({uid for uid, _, _ in alike}) >= 2
