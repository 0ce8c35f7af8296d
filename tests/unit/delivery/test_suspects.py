"""Deliveries whose refusals made their processor pause."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.delivery.dispatch.health import suspects as module
from notifications_operator.delivery.dispatch.health.evidence import Acceptances
from notifications_operator.delivery.dispatch.health.suspects import Suspects, Suspicion

ONE = ("n1", "a")
TWO = ("n1", "b")


def test_suspicion_grows_only_with_acceptances_in_between() -> None:
    order = Acceptances()
    suspects = Suspects(order)
    found = []
    for accepted in (False, False, True, False, True, False, True):
        if accepted:
            order.accepted(order.now)
        found.append(suspects.note(ONE))
    none, strong, certain = Suspicion
    assert found == [none, none, strong, none, certain, certain, certain]


def test_an_accepted_delivery_is_no_suspect() -> None:
    order = Acceptances()
    suspects = Suspects(order)
    suspects.note(ONE)
    suspects.note(TWO)
    suspects.clear(ONE)
    assert ONE not in suspects
    assert suspects.concerns("n1")
    suspects.clear(TWO)
    assert not suspects.concerns("n1")
    assert not suspects
    suspects.clear(TWO)
    order.accepted(order.now)
    assert suspects.note(ONE) is Suspicion.NONE


def test_what_began_before_says_nothing() -> None:
    order = Acceptances()
    suspects = Suspects(order)
    began = order.now
    suspects.note(ONE)
    order.accepted(began)
    assert suspects.note(ONE) is Suspicion.NONE


@given(st.lists(st.integers(0, 9), max_size=80))
def test_memory_is_bounded(numbers: list[int]) -> None:
    limit, module.SUSPECTS_LIMIT = module.SUSPECTS_LIMIT, 4
    try:
        suspects = Suspects(Acceptances())
        for number in numbers:
            suspects.note((f"n{number % 3}", str(number)))
            assert len(suspects) <= 4
            assert (f"n{number % 3}", str(number)) in suspects
        assert sum(suspects._notifications.values()) == len(suspects)
    finally:
        module.SUSPECTS_LIMIT = limit
