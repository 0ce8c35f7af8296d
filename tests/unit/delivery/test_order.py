"""Who is served next: severity, turns of namespaces and Notifications, and aging."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import Severity
from notifications_operator.delivery import order
from notifications_operator.delivery.order import AGING_SECONDS, Applicant, FairQueue

_uids = count()


def applicant(
    namespace: str = "a",
    severity: Severity = Severity.NORMAL,
    *,
    wanted: int = 1,
    uid: str | None = None,
    last: bool = False,
) -> Applicant:
    return Applicant(
        uid=uid or f"{namespace}-{severity}-{next(_uids)}",
        namespace=namespace,
        severity=severity,
        wanted=wanted,
        grant=lambda amount: None,
        last=last,
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
    """The order by its definition: everybody is compared with everybody each time."""

    def __init__(self) -> None:
        self.waiting: list[Applicant] = []
        self.since: dict[tuple[bool, Severity, str], tuple[float, int]] = {}
        self.ticks = count()

    def put(self, item: Applicant, now: float) -> None:
        for place, known in enumerate(self.waiting):
            if known.uid == item.uid and turn_of(known) == turn_of(item):
                self.waiting[place] = item
                return
        self.remove(item.uid)
        self.since.setdefault(turn_of(item), (now, next(self.ticks)))
        self.waiting.append(item)

    def remove(self, uid: str) -> None:
        self.waiting = [item for item in self.waiting if item.uid != uid]
        turns = {turn_of(item) for item in self.waiting}
        self.since = {turn: since for turn, since in self.since.items() if turn in turns}

    def peek(self, now: float, *, urgent_only: bool, behind: Collection[str]) -> Applicant | None:
        def place(item: Applicant) -> tuple[bool, int, int, bool, int]:
            since, tick = self.since[turn_of(item)]
            waited = int((now - since) // AGING_SECONDS)
            late = item.last or item.uid in behind
            return (late, item.severity.rank - waited, item.severity.rank, item.last, tick)

        chosen = [
            item
            for item in self.waiting
            if not urgent_only or (item.urgent and item.uid not in behind)
        ]
        return min(chosen, key=place, default=None)

    def served(self, item: Applicant, now: float) -> None:
        self.since[turn_of(item)] = (now, next(self.ticks))
        self.waiting.remove(item)
        if item.wanted > 0:
            self.waiting.append(item)
        else:
            self.remove(item.uid)


def turn_of(item: Applicant) -> tuple[bool, Severity, str]:
    return (item.last, item.severity, item.namespace)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9), SEVERITIES, st.booleans(), st.integers(1, 3)),
        st.tuples(st.just("remove"), st.integers(0, 9)),
        st.tuples(st.just("serve"), st.booleans(), st.frozensets(st.integers(0, 9), max_size=4)),
        st.tuples(st.just("wait"), st.floats(0, 2 * AGING_SECONDS)),
    ),
    max_size=60,
)


@given(STEPS)
def test_order_is_that_of_the_definition(steps: list[tuple[Any, ...]]) -> None:
    queue, simple, now = FairQueue(), SimpleQueue(), 0.0
    for step in steps:
        match step:
            case ("put", int(number), Severity() as severity, bool(last), int(wanted)):
                item = applicant(
                    "abc"[number % 3], severity, wanted=wanted, uid=f"n{number}", last=last
                )
                queue.put(item, now)
                simple.put(item, now)
            case ("remove", int(number)):
                queue.remove(f"n{number}")
                simple.remove(f"n{number}")
            case ("wait", float(seconds)):
                now += seconds
            case ("serve", bool(urgent_only), frozenset() as numbers):
                behind = {f"n{number}" for number in numbers}
                found = queue.peek(now, urgent_only=urgent_only, behind=behind)
                assert found is simple.peek(now, urgent_only=urgent_only, behind=behind)
                if found is not None:
                    queue.served(found, 1, now)
                    simple.served(found, now)
        assert len(queue) == len(simple.waiting)


def test_choosing_looks_at_few_turns_however_many_namespaces_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[str] = []
    head = order._Turn.head

    def counted(turn: order._Turn, behind: Collection[str]) -> Applicant | None:
        looks.append("look")
        return head(turn, behind)

    monkeypatch.setattr(order._Turn, "head", counted)
    queue = queue_of(*(applicant(f"ns{n}", last=n % 2 == 0) for n in range(1000)))
    assert len(drained(queue)) == 1000
    assert len(looks) <= 2 * len(Severity) * 1001
