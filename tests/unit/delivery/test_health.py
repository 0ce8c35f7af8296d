"""Health of a processor: what refusals and accepted sends mean for all that it sends."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.processor import ProcessorReason
from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.dispatch.health.evidence import Delivery
from notifications_operator.delivery.dispatch.health.health import Health, Stage
from notifications_operator.delivery.dispatch.health.readiness import Readiness
from notifications_operator.delivery.ledger.outcomes import Held
from notifications_operator.processors.errors import DeliveryError, LeaseLost, Scope
from tests.unit.delivery.builders import error, row

DENIED = error(Reason.POLICY_DENIED, "553 not yours", scope=Scope.PROCESSOR, code=553)
AWAY = error(Reason.CONNECT_FAILED, "refused", scope=Scope.PROCESSOR)
LOGIN = error(Reason.AUTH_FAILED, "535 no", scope=Scope.PROCESSOR, code=535)
BUSY = error(Reason.RATE_LIMITED, "454 slow down", scope=Scope.PROCESSOR, code=454)
UNCLEAR = error(
    Reason.RECIPIENT_REJECTED, "550 no", retryable=False, conclusive=False, signature="no"
)
UNASKED = error(
    Reason.AUTH_FAILED, "530 log in", retryable=True, conclusive=False, signature="login"
)

ADA = ("n1", "ada")
BOB = ("n2", "bob")


class Desk:
    """A health with a clock, which was verified once."""

    def __init__(self, *pending: Delivery) -> None:
        self.now = 100.0
        self.pending = list(pending)
        self.health = Health("email", pending=self.listed, clock=lambda: self.now)
        self.health.verified(self.health.now)

    def listed(self) -> Iterable[tuple[str, Iterable[str]]]:
        """Return what is pending, by Notification."""
        for uid in dict.fromkeys(uid for uid, _ in self.pending):
            yield uid, [recipient for other, recipient in self.pending if other == uid]

    def send(
        self, delivery: Delivery, outcome: DeliveryError | None = None
    ) -> DeliveryError | None:
        """Send one delivery; return what is to be recorded, ``None`` for a receipt."""
        hindrance = self.health.hindrance(delivery[0])
        if hindrance is not None:
            return hindrance
        began = self.health.begin()
        recorded = self.end(began, delivery, outcome)
        self.health.ended(began)
        return recorded

    def end(
        self, began: int, delivery: Delivery, outcome: DeliveryError | None
    ) -> DeliveryError | None:
        """Let a send end that began before."""
        if outcome is None:
            self.health.accepted(began, *delivery)
            return None
        return self.health.refused(began, delivery, outcome, lambda name: name, alone=True)

    def wait(self, error: DeliveryError | None = None) -> float:
        """Let the pause pass and try the processor; return how long it was."""
        waited = self.health.next_trial - self.now
        self.now = self.health.next_trial
        assert self.health.trial_due
        if not self.health.needs_trial:
            self.health.resume()
        elif error is None:
            self.health.verified(self.health.now)
        else:
            self.health.failed(error)
        return waited

    @property
    def state(self) -> tuple[Stage, bool]:
        """The stage, and whether the processor is ready."""
        return self.health.stage, self.health.readiness.ready


def test_nothing_is_sent_before_the_first_trial() -> None:
    health = Health("email", pending=lambda: ())
    assert health.stage is Stage.PAUSED
    assert health.readiness.reason is ProcessorReason.CONNECTING
    assert health.trial_due
    assert health.needs_trial


def test_a_refused_send_is_over_when_one_is_accepted() -> None:
    desk = Desk()
    assert desk.send(ADA, DENIED) is DENIED
    assert desk.state == (Stage.PAUSED, False)
    assert desk.health.readiness.message == "553 not yours"
    assert desk.health.hindrance("n2") is DENIED
    assert desk.wait() == 2
    assert desk.state == (Stage.PROBING, False)
    assert desk.send(BOB) is None
    assert desk.state == (Stage.OPEN, True)
    assert not desk.health.breaker_open


def test_pauses_grow_while_probes_are_refused_and_begin_anew_after_an_accepted_one() -> None:
    desk = Desk()
    waited = []
    for number in range(8):
        desk.send((f"n{number}", "x"), DENIED)
        waited.append(desk.wait())
    assert waited == [2, 4, 8, 16, 32, 64, 120, 120]
    desk.send(ADA)
    desk.send(BOB, DENIED)
    assert desk.wait() == 2


def test_only_one_probe_is_under_way() -> None:
    desk = Desk()
    desk.send(ADA, DENIED)
    desk.wait()
    assert desk.health.hindrance("n2") is None
    began = desk.health.begin()
    assert desk.health.hindrance("n3") is DENIED
    desk.health.ended(began)
    assert desk.health.hindrance("n3") is None


def test_sends_that_began_before_a_refusal_change_nothing() -> None:
    desk = Desk()
    first, second = desk.health.begin(), desk.health.begin()
    desk.send(ADA, DENIED)
    desk.end(first, BOB, None)
    assert desk.state == (Stage.PAUSED, False)
    due = desk.health.next_trial
    assert desk.end(second, BOB, DENIED) is DENIED
    assert desk.health.next_trial == due


def test_a_trial_that_began_before_a_refusal_says_nothing_about_it() -> None:
    desk = Desk()
    began = desk.health.now
    desk.send(ADA, DENIED)
    desk.health.verified(began)
    assert desk.state == (Stage.PAUSED, False)


@pytest.mark.parametrize("failure", [AWAY, LOGIN])
def test_what_a_trial_shows_to_be_over_is_over_but_once_only(failure: DeliveryError) -> None:
    desk = Desk()
    desk.send(ADA, failure)
    first = desk.wait()
    assert desk.state == (Stage.OPEN, True)
    desk.send(ADA, failure)
    assert desk.wait() == 2 * first
    assert desk.state == (Stage.PROBING, False), "the trial cannot tell"
    desk.send(BOB)
    assert desk.state == (Stage.OPEN, True)


def test_a_failed_trial_says_why_unless_a_refused_send_does() -> None:
    desk = Desk()
    desk.health.failed(AWAY)
    assert desk.health.readiness == Readiness.of(AWAY)
    desk.wait()
    desk.send(ADA, DENIED)
    desk.wait(AWAY)
    assert desk.state == (Stage.PAUSED, False)
    assert desk.health.readiness == Readiness.of(DENIED)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (Reason.AUTH_FAILED, ProcessorReason.AUTH_FAILED),
        (Reason.INVALID_CONFIG, ProcessorReason.INVALID_CONFIG),
        (Reason.POLICY_DENIED, ProcessorReason.POLICY_DENIED),
        (Reason.CONTENT_REJECTED, ProcessorReason.POLICY_DENIED),
        (Reason.MAILBOX_FULL, ProcessorReason.POLICY_DENIED),
        (Reason.UNKNOWN, ProcessorReason.CONNECT_FAILED),
    ],
)
def test_reason_of_readiness(reason: Reason, shown: ProcessorReason) -> None:
    desk = Desk()
    desk.send(ADA, error(reason, scope=Scope.PROCESSOR, code=550))
    assert desk.health.readiness.reason is shown


def test_a_quota_that_is_no_matter_of_speed_is_said() -> None:
    desk = Desk()
    quota = error(Reason.RATE_LIMITED, "550 quota", scope=Scope.PROCESSOR, retryable=False)
    desk.send(ADA, quota)
    assert desk.state == (Stage.PAUSED, False)


def test_too_much_load_slows_down_and_stays_ready() -> None:
    desk = Desk()
    assert desk.send(ADA, BUSY) is BUSY
    assert desk.state == (Stage.PAUSED, True)
    assert not desk.health.breaker_open
    assert not desk.health.needs_trial
    assert desk.wait() == 1
    assert desk.state == (Stage.OPEN, True)
    desk.send(BOB, BUSY)
    assert desk.health.needs_trial, "it may be more than load"
    assert desk.wait() == 2
    desk.send(("n3", "x"))
    desk.send(("n4", "x"))
    desk.send(("n5", "x"), BUSY)
    assert desk.wait() == 1


def test_load_honours_what_the_other_side_asks() -> None:
    desk = Desk()
    asked = error(Reason.SERVER_BUSY, scope=Scope.PROCESSOR, retry_after=30)
    desk.send(ADA, asked)
    assert desk.wait() == 30


def test_a_lost_lease_says_nothing() -> None:
    desk = Desk()
    desk.send(ADA, LeaseLost())
    assert desk.state == (Stage.OPEN, True)


def test_what_a_recipient_meets_with_changes_nothing() -> None:
    desk = Desk()
    refusal = error(Reason.RECIPIENT_REJECTED, retryable=False)
    assert desk.send(ADA, refusal) is refusal
    assert desk.state == (Stage.OPEN, True)


class TestSuspect:
    def test_it_is_charged_and_then_not_paused_for(self) -> None:
        desk = Desk()
        assert desk.send(ADA, DENIED) is DENIED
        desk.wait()
        desk.send(BOB)
        second = desk.send(ADA, DENIED)
        assert second is not None
        assert (second.scope, second.retryable) == (Scope.RECIPIENT, True)
        assert desk.state == (Stage.PROBING_OTHERS, False), "others need not wait"
        assert desk.health.hindrance("n1") is DENIED
        desk.send(BOB)
        assert desk.state == (Stage.OPEN, True)
        third = desk.send(ADA, DENIED)
        assert third is not None
        assert third.scope is Scope.RECIPIENT
        assert desk.state == (Stage.OPEN, True)

    def test_alone_it_is_not_charged(self) -> None:
        desk = Desk()
        for _ in range(20):
            assert desk.send(ADA, DENIED) is DENIED
            desk.wait()

    def test_a_server_that_said_nothing_blames_nobody(self) -> None:
        desk = Desk()
        for _ in range(9):
            assert desk.send(ADA, AWAY) is AWAY
            desk.wait()
            desk.send(BOB)

    def test_a_batch_blames_nobody(self) -> None:
        desk = Desk()
        for _ in range(9):
            began = desk.health.begin()
            refused = desk.health.refused(began, ADA, DENIED, str, alone=False)
            assert refused is DENIED
            desk.health.ended(began)
            desk.wait()
            desk.send(BOB)

    def test_its_rows_go_last(self) -> None:
        desk = Desk()
        rows = [row(recipient=name) for name in ("ada", "bob", "eve")]
        assert desk.health.choose("n1", rows) == (rows, False)
        desk.send(ADA, DENIED)
        desk.wait()
        desk.send(BOB)
        assert desk.health.choose("n1", rows) == (rows[1:], False)
        assert desk.health.choose("n1", rows[:1]) == (rows[:1], True)
        assert desk.health.choose("n2", rows) == (rows, False)


class TestEvidence:
    def refused(self) -> Desk:
        """Return a desk whose processor pauses by evidence."""
        desk = Desk(ADA, ("n1", "eve"))
        for delivery in desk.pending:
            assert isinstance(desk.send(delivery, UNCLEAR), Held)
        return desk

    def test_it_pauses_and_probes_others_at_once(self) -> None:
        desk = self.refused()
        assert desk.state == (Stage.PROBING_OTHERS, False)
        assert desk.health.readiness.reason is ProcessorReason.POLICY_DENIED
        assert "550 no" in desk.health.readiness.message
        assert desk.health.behind == {"n1"}
        assert desk.health.hindrance("n1") is not None
        desk.send(BOB)
        assert desk.state == (Stage.OPEN, True)
        assert desk.send(ADA, UNCLEAR) is UNCLEAR, "final"

    def test_a_refused_probe_makes_the_pause_longer_and_the_next_wait(self) -> None:
        desk = self.refused()
        assert isinstance(desk.send(BOB, UNCLEAR), Held)
        assert desk.state == (Stage.PAUSED, False)
        assert desk.wait() == 4
        assert desk.state == (Stage.PROBING, False)
        assert isinstance(desk.send(ADA, UNCLEAR), Held)
        assert desk.state == (Stage.PROBING_OTHERS, False), "one more may be tried meanwhile"
        assert desk.wait() == 8

    def test_a_probe_that_meets_with_something_else_lets_the_next_try(self) -> None:
        desk = self.refused()
        greylisted = error(Reason.GREYLISTED)
        assert desk.send(BOB, greylisted) is greylisted
        assert desk.state == (Stage.PROBING_OTHERS, False)
        assert desk.health.hindrance("n3") is None

    def test_a_login_that_everybody_is_asked_for_pauses(self) -> None:
        desk = Desk(ADA, ("n1", "eve"))
        assert desk.send(ADA, UNASKED) is UNASKED, "of one recipient, who is charged"
        assert desk.state == (Stage.OPEN, True)
        assert isinstance(desk.send(("n1", "eve"), UNASKED), Held)
        assert desk.state == (Stage.PROBING_OTHERS, False)
        assert "530 log in" in desk.health.readiness.message
        desk.wait()
        assert isinstance(desk.send(ADA, UNASKED), Held), "nobody is charged meanwhile"

    def test_a_login_that_some_are_asked_for_is_theirs_from_then_on(self) -> None:
        desk = Desk(ADA, ("n1", "eve"))
        desk.send(ADA, UNASKED)
        desk.send(BOB)
        for _ in range(5):
            assert desk.send(ADA, UNASKED) is UNASKED
            assert desk.send(("n3", "zoe"), UNASKED) is UNASKED
            assert desk.state == (Stage.OPEN, True)
            desk.send(BOB)

    def test_a_failed_trial_stops_probing(self) -> None:
        desk = self.refused()
        desk.wait(AWAY)
        assert desk.state == (Stage.PAUSED, False)


KINDS = st.sampled_from(["sent", "denied", "away", "busy", "unclear", "rejected", "wait"])


@given(st.lists(st.tuples(KINDS, st.integers(0, 3), st.integers(0, 2)), max_size=60))
def test_it_is_ready_just_if_no_refusal_stands_and_always_finds_back(
    steps: list[tuple[str, int, int]],
) -> None:
    desk = Desk(*((f"n{uid}", f"r{name}") for uid in range(4) for name in range(3)))
    answers = {
        "sent": None,
        "denied": DENIED,
        "away": AWAY,
        "busy": BUSY,
        "unclear": UNCLEAR,
        "rejected": error(Reason.RECIPIENT_REJECTED, retryable=False),
    }
    for kind, uid, name in steps:
        if kind == "wait":
            if desk.health.paused:
                desk.wait()
            continue
        free = desk.health.hindrance(f"n{uid}") is None
        recorded = desk.send((f"n{uid}", f"r{name}"), answers[kind])
        assert not (free and kind == "sent") or desk.state == (Stage.OPEN, True)
        if kind in ("denied", "away", "busy") and recorded is not None:
            assert recorded.retryable, "nobody fails for the processor"
        assert desk.health.readiness.ready is not desk.health.breaker_open
        assert desk.health.paused or desk.health.stage is not Stage.PAUSED
    while desk.state != (Stage.OPEN, True):
        if desk.health.paused:
            desk.wait()
        desk.send(("n9", "r9"))


def test_what_was_accepted_since_is_no_repeated_refusal() -> None:
    """One that is sent again, for an edit, is judged anew."""
    desk = Desk()
    assert isinstance(desk.send(ADA, UNCLEAR), Held)
    assert desk.send(ADA) is None
    assert isinstance(desk.send(ADA, UNCLEAR), Held)


def test_a_refusal_from_before_another_process_led_does_not_stand() -> None:
    desk = Desk()
    desk.send(ADA, DENIED)
    desk.wait()
    assert desk.state == (Stage.PROBING, False)
    desk.health.take_over()
    assert desk.state == (Stage.OPEN, True)


def test_a_pause_goes_on_where_another_process_led() -> None:
    desk = Desk()
    desk.send(ADA, LOGIN)
    desk.health.take_over()
    assert desk.state == (Stage.PAUSED, False)
    assert not desk.health.trial_due
    assert desk.wait() == 30
    assert desk.state == (Stage.OPEN, True)
