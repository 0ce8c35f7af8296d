"""Who is served next: severity, turns of namespaces and Notifications, and aging."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import Severity
from notifications_operator.delivery.dispatch.fair_queue import AGING_SECONDS, Applicant, FairQueue

_uids = count()


def applicant(
    namespace: str = "a",
    severity: Severity = Severity.NORMAL,
    *,
    wanted: int = 1,
    uid: str | None = None,
) -> Applicant:
    return Applicant(
        uid=uid or f"{namespace}-{severity}-{next(_uids)}",
        namespace=namespace,
        severity=severity,
        wanted=wanted,
        grant=lambda amount: None,
    )


def queue_of(*applicants: Applicant, now: float = 0) -> FairQueue:
    queue = FairQueue()
    for item in applicants:
        queue.put(item, now)
    return queue


def serve(queue: FairQueue, now: float = 0, *, urgent_only: bool = False) -> Applicant | None:
    found = queue.peek(now, urgent_only=urgent_only)
    if found is not None:
        queue.served(found, 1, now)
    return found


def drained(queue: FairQueue, now: float = 0) -> list[str]:
    served = []
    while (found := serve(queue, now)) is not None:
        served.append(found.uid)
    return served


def test_empty_queue_has_nobody() -> None:
    assert FairQueue().peek(0, urgent_only=False) is None
    assert len(FairQueue()) == 0


def test_severity_comes_first() -> None:
    queue = queue_of(*(applicant(severity=severity, uid=severity) for severity in Severity))
    assert drained(queue) == ["critical", "high", "normal", "low"]


def test_namespaces_take_turns() -> None:
    queue = queue_of(
        applicant("a", uid="a1", wanted=3),
        applicant("a", uid="a2", wanted=3),
        applicant("b", uid="b1", wanted=2),
    )
    assert drained(queue) == ["a1", "b1", "a2", "b1", "a1", "a2", "a1", "a2"]


def test_crowded_namespace_does_not_delay_a_quiet_one() -> None:
    queue = queue_of(*(applicant("crowd") for _ in range(100)))
    for now in range(0, 1000, 10):
        queue.put(applicant("crowd"), now)
        serve(queue, now)
    queue.put(applicant("quiet", uid="q"), 1000)
    first = [serve(queue, 1000), serve(queue, 1000)]
    assert "q" in [item.uid for item in first if item]


def test_large_one_does_not_hold_up_those_after_it() -> None:
    queue = queue_of(applicant("a", uid="broadcast", wanted=100_000))
    for now in range(0, 3600, 60):
        assert serve(queue, now) is not None
    late = [applicant(namespace, uid=f"{namespace}-late") for namespace in ("a", "b", "c")]
    for item in late:
        queue.put(item, 3600)
    first = [serve(queue, 3600) for _ in range(6)]
    assert {item.uid for item in first if item} >= {item.uid for item in late}


@pytest.mark.parametrize(
    ("severity", "waited", "first"),
    [
        (Severity.LOW, 3 * AGING_SECONDS, "fresh"),
        (Severity.LOW, 4 * AGING_SECONDS, "old"),
        (Severity.NORMAL, 3 * AGING_SECONDS - 1, "fresh"),
        (Severity.NORMAL, 3 * AGING_SECONDS, "old"),
        (Severity.HIGH, 2 * AGING_SECONDS, "old"),
        (Severity.CRITICAL, AGING_SECONDS, "old"),
    ],
)
def test_waiting_raises_by_one_step_a_minute(severity: Severity, waited: float, first: str) -> None:
    queue = queue_of(applicant("b", severity, uid="old"))
    queue.put(applicant("a", Severity.CRITICAL, uid="fresh"), waited)
    found = queue.peek(waited, urgent_only=False)
    assert found is not None
    assert found.uid == first


def test_equally_urgent_by_waiting_goes_after_equally_urgent_by_severity() -> None:
    queue = queue_of(applicant("b", Severity.NORMAL, uid="old"))
    queue.put(applicant("a", Severity.HIGH, uid="fresh"), AGING_SECONDS)
    assert drained(queue, AGING_SECONDS) == ["fresh", "old"]


def test_being_served_ends_the_waiting() -> None:
    queue = queue_of(applicant("a", Severity.LOW, uid="old", wanted=9))
    now = 10 * AGING_SECONDS
    serve(queue, now)
    queue.put(applicant("b", Severity.NORMAL, uid="fresh"), now)
    found = queue.peek(now, urgent_only=False)
    assert found is not None
    assert found.uid == "fresh"


def test_only_urgent_ones_when_asked() -> None:
    queue = queue_of(
        applicant(severity=Severity.NORMAL), applicant(severity=Severity.HIGH, uid="high")
    )
    found = serve(queue, urgent_only=True)
    assert found is not None
    assert found.uid == "high"
    assert queue.peek(0, urgent_only=True) is None
    assert queue.peek(100 * AGING_SECONDS, urgent_only=True) is None, "waiting does not make urgent"


def test_put_replaces_where_it_stands() -> None:
    queue = queue_of(applicant(uid="one"), applicant(uid="two"))
    queue.put(applicant(uid="one", wanted=5), 0)
    assert len(queue) == 2
    found = queue.peek(0, urgent_only=False)
    assert found is not None
    assert (found.uid, found.wanted) == ("one", 5)


def test_put_with_another_severity_moves() -> None:
    queue = queue_of(applicant(uid="one"), applicant(uid="two"))
    queue.put(applicant(uid="two", severity=Severity.CRITICAL), 0)
    assert drained(queue) == ["two", "one"]


def test_remove() -> None:
    queue = queue_of(applicant(uid="one"), applicant(uid="two"))
    queue.remove("one")
    queue.remove("one")
    queue.remove("never there")
    assert len(queue) == 1
    assert drained(queue) == ["two"]


SEVERITIES = st.sampled_from(Severity)
ARRIVALS = st.tuples(st.sampled_from("abc"), SEVERITIES, st.integers(1, 5))
SERVICE_SECONDS = 10.0
MOST_TURNS = 3 * len(Severity)
LONGEST = len(Severity) * AGING_SECONDS + (MOST_TURNS + 1) * SERVICE_SECONDS


@given(
    st.lists(st.lists(ARRIVALS, max_size=4), min_size=60, max_size=90),
)
def test_nobody_starves(arrivals: list[list[tuple[str, Severity, int]]]) -> None:
    """Whatever arrives, a namespace's turn of a severity comes within a bound.

    Served is one slot every ten seconds, while criticals may arrive faster than that.
    """
    queue = FairQueue()
    waiting_since: dict[tuple[str, Severity], float] = {}
    members: Counter[tuple[str, Severity]] = Counter()
    wanted: dict[str, int] = {}
    for step, batch in enumerate(arrivals):
        now = step * SERVICE_SECONDS
        for namespace, severity, amount in batch:
            item = applicant(namespace, severity, wanted=amount)
            wanted[item.uid] = amount
            queue.put(item, now)
            waiting_since.setdefault((namespace, severity), now)
            members[namespace, severity] += 1
        found = serve(queue, now)
        if found is None:
            continue
        turn = (found.namespace, found.severity)
        wanted[found.uid] -= 1
        if not wanted[found.uid]:
            members[turn] -= 1
        waiting_since.pop(turn)
        if members[turn]:
            waiting_since[turn] = now
        for other, since in waiting_since.items():
            assert now - since <= LONGEST, f"{other} has waited since {since}"


@given(st.lists(ARRIVALS, max_size=30), st.data())
def test_everything_wanted_is_granted_once(
    arrivals: list[tuple[str, Severity, int]], data: st.DataObject
) -> None:
    wanted: Counter[str] = Counter()
    queue = FairQueue()
    for number, (namespace, severity, amount) in enumerate(arrivals):
        item = applicant(namespace, severity, wanted=amount, uid=str(number))
        wanted[item.uid] = amount
        queue.put(item, 0)
    granted: Counter[str] = Counter()
    while (found := queue.peek(0, urgent_only=False)) is not None:
        amount = data.draw(st.integers(1, found.wanted))
        granted[found.uid] += amount
        queue.served(found, amount, 0)
    assert granted == wanted
    assert len(queue) == 0


def test_those_behind_and_the_last_come_after_all_others() -> None:
    first, second = applicant("a", Severity.CRITICAL), applicant("a", Severity.CRITICAL)
    third = applicant("b", Severity.LOW)
    first.last = True
    queue = queue_of(first, second, third)
    found = queue.peek(0, urgent_only=False, behind={second.uid})
    assert found is third
    assert queue.peek(0, urgent_only=False) is second
    assert queue.peek(0, urgent_only=True, behind={second.uid}) is None
    assert drained(queue) == [second.uid, third.uid, first.uid]


class SimpleQueue:
    """The same order, found by looking at everybody: what `FairQueue` must agree with."""

    def __init__(self) -> None:
        self.applicants: dict[str, Applicant] = {}
        self.since: dict[tuple[str, Severity, bool], float] = {}
        self.turns: dict[tuple[str, Severity, bool], int] = {}
        self.places: dict[str, int] = {}
        self._numbers = count()

    def put(self, item: Applicant, now: float) -> None:
        known = self.applicants.get(item.uid)
        if known is not None and self._turn(known) != self._turn(item):
            self.remove(item.uid)
        self.since.setdefault(self._turn(item), now)
        self.turns.setdefault(self._turn(item), next(self._numbers))
        self.places.setdefault(item.uid, next(self._numbers))
        self.applicants[item.uid] = item

    def remove(self, uid: str) -> None:
        item = self.applicants.pop(uid, None)
        self.places.pop(uid, None)
        if item and self._turn(item) not in map(self._turn, self.applicants.values()):
            del self.since[self._turn(item)], self.turns[self._turn(item)]

    def peek(self, now: float, *, urgent_only: bool, behind: set[str]) -> Applicant | None:
        late = [item for item in self.applicants.values() if item.last or item.uid in behind]
        others = [item for item in self.applicants.values() if item not in late]
        if urgent_only:
            others, late = [item for item in others if item.urgent], []

        def place(item: Applicant) -> tuple[int, int, bool, int, int]:
            waited = int((now - self.since[self._turn(item)]) // AGING_SECONDS)
            rank = item.severity.rank
            turn = self.turns[self._turn(item)]
            return rank - waited, rank, item.last, turn, self.places[item.uid]

        return min(others or late, key=place, default=None)

    def served(self, item: Applicant, now: float) -> None:
        self.since[self._turn(item)] = now
        self.turns[self._turn(item)] = next(self._numbers)
        self.places[item.uid] = next(self._numbers)
        if item.wanted <= 0:
            self.remove(item.uid)

    def _turn(self, item: Applicant) -> tuple[str, Severity, bool]:
        return item.namespace, item.severity, item.last


STEPS = st.one_of(
    st.tuples(
        st.just("put"),
        st.integers(0, 9),
        st.sampled_from("abc"),
        SEVERITIES,
        st.integers(1, 3),
        st.booleans(),
    ),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("serve"), st.booleans(), st.sets(st.integers(0, 9), max_size=3)),
    st.tuples(st.just("wait"), st.integers(0, 200)),
)


@given(st.lists(STEPS, max_size=60))
def test_order_is_that_of_looking_at_everybody(steps: list[tuple[Any, ...]]) -> None:
    queue, model, now = FairQueue(), SimpleQueue(), 0
    for step in steps:
        match step:
            case ("put", number, namespace, severity, wanted, last):
                # A Notification's namespace is for life.
                uid = f"{namespace}{number}"
                item = applicant(namespace, severity, uid=uid, wanted=wanted)
                item.last = last
                queue.put(item, now)
                model.put(item, now)
            case ("remove", number):
                for namespace in "abc":
                    queue.remove(f"{namespace}{number}")
                    model.remove(f"{namespace}{number}")
            case ("serve", urgent_only, numbers):
                behind = {f"{namespace}{number}" for number in numbers for namespace in "abc"}
                found = queue.peek(now, urgent_only=urgent_only, behind=behind)
                assert found is model.peek(now, urgent_only=urgent_only, behind=behind)
                if found is not None:
                    queue.served(found, 1, now)
                    model.served(found, now)
            case ("wait", seconds):
                now += seconds
        assert len(queue) == len(model.applicants)
