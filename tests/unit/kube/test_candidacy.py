"""Who may take the Lease and who holds it: never two at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from notifications_operator.kube.candidacy import (
    INSTALL_ANNOTATION,
    POD_UID_ANNOTATION,
    Bid,
    Candidacy,
    Candidate,
    LeaseRecord,
)

DURATION = 15
METADATA = {"namespace": "operator", "resourceVersion": "7"}


@dataclass
class Clock:
    """Both clocks of one machine, in seconds."""

    boot: float = 1000.0
    monotonic: float = 500.0

    def advance(self, seconds: float) -> None:
        self.boot += seconds
        self.monotonic += seconds


class Desk:
    """One candidate with a clock of its own."""

    def __init__(
        self, identity: str = "a_1", *, pod_uid: str | None = None, create: bool = True
    ) -> None:
        self.clock = Clock()
        self.candidacy = Candidacy(
            Candidate(
                identity=identity,
                pod_name=identity.rpartition("_")[0],
                pod_uid=pod_uid,
                install="operator/notifications",
                duration=DURATION,
            ),
            create=create,
            monotonic=lambda: self.clock.monotonic,
            boottime=lambda: self.clock.boot,
        )

    def acquire(self) -> LeaseRecord:
        """Take a Lease that does not exist yet."""
        self.candidacy.observe(None)
        bid = self.bid()
        won = record(holder=self.candidacy.identity, transitions=bid.epoch)
        self.candidacy.won(bid, won)
        return won

    def bid(self) -> Bid:
        bid = self.candidacy.bid()
        assert bid is not None
        return bid


def record(**fields: Any) -> LeaseRecord:
    values: dict[str, Any] = {
        "namespace": "operator",
        "resource_version": "1",
        "holder": "b_1",
        "pod_uid": None,
        "install": None,
        "duration": DURATION,
        "transitions": 1,
    }
    return LeaseRecord(**{**values, **fields})


def test_renewals_that_take_nearly_a_third_of_the_duration_keep_the_lease() -> None:
    """The settings see to it that no request may take longer, nor the pause after it."""
    third = DURATION / 3
    desk = Desk()
    held = desk.acquire()
    for version in range(2, 12):
        desk.clock.advance(third)
        bid = desk.bid()
        assert (bid.renewal, bid.epoch) == (True, 1)
        desk.clock.advance(third - 0.01)
        held = replace(held, resource_version=str(version))
        desk.candidacy.won(bid, held)
        assert desk.candidacy.epoch == 1


class TestReading:
    def test_all_of_it(self) -> None:
        body = {
            "metadata": {
                "namespace": "operator",
                "resourceVersion": "7",
                "annotations": {POD_UID_ANNOTATION: "u", INSTALL_ANNOTATION: "a/b"},
            },
            "spec": {"holderIdentity": "a_1", "leaseDurationSeconds": 9, "leaseTransitions": 4},
        }
        found = LeaseRecord.read(body)
        assert found == LeaseRecord(
            namespace="operator",
            resource_version="7",
            holder="a_1",
            pod_uid="u",
            install="a/b",
            duration=9,
            transitions=4,
        )
        assert found.pod == "a"

    @pytest.mark.parametrize("spec", [{}, {"spec": None}, {"spec": {"holderIdentity": None}}])
    def test_what_may_be_missing(self, spec: dict[str, Any]) -> None:
        found = LeaseRecord.read({"metadata": METADATA, **spec})
        assert (found.holder, found.pod, found.pod_uid, found.install) == ("", "", None, None)
        assert (found.duration, found.transitions) == (None, 0)

    def test_a_holder_of_any_length_is_cut(self) -> None:
        annotations = {INSTALL_ANNOTATION: "x" * 2**18}
        body = {
            "metadata": {**METADATA, "annotations": annotations},
            "spec": {"holderIdentity": "x" * 2**20},
        }
        found = LeaseRecord.read(body)
        assert (len(found.holder), len(found.install or "")) == (256, 256)


class TestTaking:
    def test_one_that_does_not_exist(self) -> None:
        desk = Desk()
        desk.candidacy.observe(None)
        bid = desk.bid()
        assert (bid.replaces, bid.epoch, bid.renewal) == (None, 1, False)

    def test_one_that_was_released(self) -> None:
        desk = Desk()
        desk.candidacy.observe(record(holder="", transitions=4))
        bid = desk.bid()
        assert (bid.replaces, bid.epoch, bid.renewal) == ("1", 5, False)

    def test_anothers_only_after_it_was_seen_unchanged_for_its_duration(self) -> None:
        desk = Desk()
        desk.candidacy.observe(record(duration=20))
        desk.clock.advance(19.9)
        desk.candidacy.observe(record(duration=20))
        assert desk.candidacy.bid() is None
        assert desk.candidacy.remaining == pytest.approx(0.1)
        desk.clock.advance(0.1)
        assert desk.bid().epoch == 2

    def test_a_renewal_begins_the_wait_anew(self) -> None:
        desk = Desk()
        desk.candidacy.observe(record())
        desk.clock.advance(DURATION - 1)
        desk.candidacy.observe(record(resource_version="2"))
        desk.clock.advance(DURATION - 1)
        assert desk.candidacy.bid() is None

    def test_the_time_for_which_the_candidate_slept_does_not_count(self) -> None:
        desk = Desk()
        desk.candidacy.observe(record())
        desk.clock.boot += 3600
        assert desk.candidacy.bid() is None

    def test_one_that_was_deleted_only_after_its_holder_must_know(self) -> None:
        desk = Desk()
        desk.candidacy.observe(record(transitions=7))
        desk.candidacy.observe(None)
        assert desk.candidacy.bid() is None
        desk.clock.advance(DURATION)
        desk.candidacy.observe(None)
        bid = desk.bid()
        assert (bid.replaces, bid.epoch) == (None, 8), "an epoch is not used twice"

    @pytest.mark.parametrize(
        ("holder", "pod_uid", "waits"),
        [
            ("a_0", "uid-a", False),
            ("a_0", "uid-of-a-deleted-a", True),
            ("a_0", None, True),
            ("b_0", "uid-a", True),
        ],
    )
    def test_no_wait_for_an_earlier_process_of_the_same_pod(
        self, holder: str, pod_uid: str | None, waits: bool
    ) -> None:
        desk = Desk("a_1", pod_uid="uid-a")
        desk.candidacy.observe(record(holder=holder, pod_uid=pod_uid))
        assert (desk.candidacy.bid() is None) == waits

    def test_a_process_without_a_pod_waits_for_everybody(self) -> None:
        desk = Desk("local_1", pod_uid=None)
        desk.candidacy.observe(record(holder="local_0", pod_uid=None))
        assert desk.candidacy.bid() is None

    def test_its_own_that_it_did_not_know_of(self) -> None:
        """The answer to the acquisition was lost; another is an epoch of its own."""
        desk = Desk()
        desk.candidacy.observe(None)
        lost = desk.bid()
        desk.candidacy.observe(record(holder="a_1", transitions=lost.epoch))
        assert desk.candidacy.epoch is None
        bid = desk.bid()
        assert (bid.renewal, bid.epoch) == (False, lost.epoch + 1)


class TestOneThatIsNotCreated:
    """The Lease of earlier releases: taken if it is there."""

    def test_there_is_nothing_to_take(self) -> None:
        desk = Desk(create=False)
        desk.candidacy.observe(None)
        assert (desk.candidacy.bid(), desk.candidacy.is_open) == (None, False)
        desk.candidacy.observe(record(holder=""))
        assert (desk.bid().epoch, desk.candidacy.is_open) == (2, True)

    def test_it_is_not_held_once_it_was_deleted(self) -> None:
        desk = Desk(create=False)
        desk.candidacy.observe(record(holder=""))
        desk.candidacy.won(desk.bid(), record(holder="a_1", transitions=2))
        assert desk.candidacy.epoch == 2
        desk.candidacy.observe(None)
        assert desk.candidacy.bid() is None


def test_an_epoch_is_above_those_of_other_leases() -> None:
    desk = Desk()
    desk.candidacy.observe(record(holder="", transitions=3))
    desk.candidacy.outnumber(7)
    desk.candidacy.outnumber(5)
    assert desk.bid().epoch == 8
    desk.candidacy.observe(record(holder="", transitions=9))
    assert desk.bid().epoch == 10


class TestHolding:
    def test_from_before_the_request_was_sent(self) -> None:
        desk = Desk()
        desk.candidacy.observe(None)
        bid = desk.bid()
        desk.clock.advance(5)
        desk.candidacy.won(bid, record(holder="a_1"))
        assert desk.candidacy.epoch == 1
        assert desk.candidacy.remaining == DURATION - 5
        desk.clock.advance(DURATION - 5)
        assert desk.candidacy.epoch is None

    def test_an_answer_that_comes_too_late_is_none(self) -> None:
        desk = Desk()
        desk.candidacy.observe(None)
        bid = desk.bid()
        desk.clock.advance(DURATION)
        desk.candidacy.won(bid, record(holder="a_1"))
        assert desk.candidacy.epoch is None

    def test_not_while_the_process_was_stopped_or_the_machine_suspended(self) -> None:
        desk = Desk()
        desk.acquire()
        desk.clock.boot += DURATION
        assert desk.candidacy.epoch is None

    def test_a_renewal_keeps_the_epoch(self) -> None:
        desk = Desk()
        desk.acquire()
        desk.clock.advance(5)
        bid = desk.bid()
        assert (bid.renewal, bid.epoch) == (True, 1)
        assert "acquireTime" not in desk.candidacy.spec_of(bid)
        desk.candidacy.won(bid, record(holder="a_1", resource_version="2"))
        desk.clock.advance(DURATION - 1)
        assert desk.candidacy.epoch == 1

    def test_an_epoch_that_ended_never_comes_back(self) -> None:
        """Whoever asked in between has seen its end."""
        desk = Desk()
        desk.acquire()
        desk.clock.advance(DURATION - 1)
        bid = desk.bid()
        desk.clock.advance(2)
        desk.candidacy.won(bid, record(holder="a_1", resource_version="2"))
        assert desk.candidacy.epoch is None
        assert desk.bid().epoch == 2

    def test_not_once_another_holder_was_seen(self) -> None:
        desk = Desk()
        desk.acquire()
        desk.candidacy.observe(record(resource_version="2", transitions=2))
        assert desk.candidacy.epoch is None
        assert desk.candidacy.bid() is None

    def test_not_after_resigning(self) -> None:
        desk = Desk()
        desk.acquire()
        desk.candidacy.resign()
        assert desk.candidacy.epoch is None

    def test_what_is_written(self) -> None:
        desk = Desk("a_1", pod_uid="uid-a")
        desk.candidacy.observe(record(holder=""))
        bid = desk.bid()
        assert desk.candidacy.metadata_of(bid) == {
            "annotations": {
                POD_UID_ANNOTATION: "uid-a",
                INSTALL_ANNOTATION: "operator/notifications",
            },
            "resourceVersion": "1",
        }
        spec = desk.candidacy.spec_of(bid)
        assert spec["acquireTime"] == spec["renewTime"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("a_1", 2)
        assert spec["leaseDurationSeconds"] == DURATION


@dataclass(frozen=True)
class Request:
    """A bid on its way."""

    bid: Bid
    identity: str
    pod_uid: str


class Election(RuleBasedStateMachine):
    """Candidates, a store with compare-and-set, and requests that anything may happen to."""

    PODS = ("a", "b")
    pods = st.sampled_from(PODS)

    @initialize()
    def begin(self) -> None:
        self.store: LeaseRecord | None = None
        self.version = 0
        self.processes = 0
        self.desks = {pod: self._process(pod) for pod in self.PODS}
        self.read: dict[str, LeaseRecord | None] = {}
        self.sent: dict[str, Request] = {}
        self.answers: dict[str, tuple[Bid, LeaseRecord]] = {}
        self.adrift: list[Request] = []
        self.holders: dict[int, str] = {}

    def _process(self, pod: str) -> Desk:
        self.processes += 1
        desk = Desk(f"{pod}_{self.processes}", pod_uid=f"uid-{pod}")
        if self.processes > len(self.PODS):
            desk.clock = replace(self.desks[pod].clock)
        return desk

    @rule(pod=pods, steps=st.integers(1, 6))
    def go_on(self, pod: str, steps: int) -> None:
        """Do the next steps of a round: read, decide, let the bid arrive, hear the answer."""
        for _ in range(steps):
            if pod in self.answers:
                self.desks[pod].candidacy.won(*self.answers.pop(pod))
            elif pod in self.sent:
                request = self.sent.pop(pod)
                if (stored := self._apply(request)) is not None:
                    self.answers[pod] = (request.bid, stored)
            elif pod in self.read:
                self._decide(pod)
            else:
                self.read[pod] = self.store
            self.at_most_one_holds()

    def _decide(self, pod: str) -> None:
        candidacy = self.desks[pod].candidacy
        candidacy.observe(self.read.pop(pod))
        if (bid := candidacy.bid()) is not None:
            self.sent[pod] = Request(bid, candidacy.identity, f"uid-{pod}")

    @precondition(lambda self: self.adrift)
    @rule(data=st.data())
    def arrive_after_all(self, data: st.DataObject) -> None:
        """A request that its sender has given up takes effect."""
        request = data.draw(st.sampled_from(self.adrift))
        self.adrift.remove(request)
        self._apply(request)

    @rule(pod=pods)
    def give_up_waiting(self, pod: str) -> None:
        self._forget(pod)

    @rule(seconds=st.sampled_from([1.0, DURATION / 2, DURATION - 0.5, DURATION + 0.0]))
    def advance(self, seconds: float) -> None:
        for desk in self.desks.values():
            desk.clock.advance(seconds)

    @rule(pod=pods, seconds=st.sampled_from([1.0, DURATION / 2, DURATION * 2.0]))
    def suspend(self, pod: str, seconds: float) -> None:
        """One machine sleeps: its monotonic clock stands still."""
        self.advance(seconds)
        self.desks[pod].clock.monotonic -= seconds

    @rule(pod=pods)
    def restart(self, pod: str) -> None:
        """The process is killed, and its pod starts another; its requests may yet arrive."""
        self._forget(pod)
        self.read.pop(pod, None)
        self.desks[pod] = self._process(pod)

    @rule(pod=pods)
    def release(self, pod: str) -> None:
        candidacy = self.desks[pod].candidacy
        candidacy.resign()
        self._forget(pod)
        if self.store is not None and self.store.holder == candidacy.identity:
            self.version += 1
            self.store = replace(
                self.store, holder="", pod_uid=None, resource_version=str(self.version)
            )

    @invariant()
    def at_most_one_holds(self) -> None:
        holding = [
            (desk.candidacy.epoch, desk.candidacy.identity)
            for desk in self.desks.values()
            if desk.candidacy.epoch is not None
        ]
        assert len(holding) <= 1
        for epoch, identity in holding:
            assert epoch is not None
            if epoch not in self.holders:
                assert epoch > max(self.holders, default=0)
            assert self.holders.setdefault(epoch, identity) == identity

    def _forget(self, pod: str) -> None:
        self.answers.pop(pod, None)
        if (request := self.sent.pop(pod, None)) is not None:
            self.adrift.append(request)

    def _apply(self, request: Request) -> LeaseRecord | None:
        version = self.store.resource_version if self.store else None
        if request.bid.replaces != version:
            return None
        self.version += 1
        self.store = record(
            resource_version=str(self.version),
            holder=request.identity,
            pod_uid=request.pod_uid,
            transitions=request.bid.epoch,
        )
        return self.store


def test_two_never_hold_at_once() -> None:
    run_state_machine_as_test(
        Election, settings=settings(max_examples=250, stateful_step_count=40, deadline=None)
    )
