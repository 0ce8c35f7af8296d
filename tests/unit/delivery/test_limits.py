"""Bounds on recipients by namespace."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.delivery.planning.limits import RecipientLimits
from notifications_operator.settings import NamespaceLimitSettings
from tests.unit.delivery.builders import NOW, seconds


def limits(**settings: Any) -> RecipientLimits:
    return RecipientLimits(NamespaceLimitSettings.model_validate(settings))


@pytest.mark.parametrize(
    ("settings", "users", "denied"),
    [
        ({}, 10**6, False),
        ({"max_recipients": 5}, 5, False),
        ({"max_recipients": 5}, 6, True),
        ({"max_recipients": 0}, 1, True),
        ({"recipients_per_hour": 5}, 5, False),
        ({"recipients_per_hour": 5}, 6, True),
        ({"max_recipients": 5, "namespaces": {"team": {"max_recipients": 9}}}, 9, False),
        ({"max_recipients": 5, "namespaces": {"team": {"max_recipients": 0}}}, 1, True),
        ({"max_recipients": 5, "namespaces": {"team": {"recipients_per_hour": 99}}}, 6, True),
        ({"max_recipients": 5, "namespaces": {"other": {"max_recipients": 1}}}, 5, False),
    ],
)
def test_bounds_and_their_overrides(settings: dict[str, Any], users: int, denied: bool) -> None:
    assert (limits(**settings).check("team", "one", users, NOW) is not None) is denied


def test_message_says_what_was_asked_for_and_what_is_allowed() -> None:
    bound = limits(recipients_per_hour=10)
    bound.note("team", "one", 7, NOW)
    assert bound.check("team", "two", 4, NOW) == (
        "resolves to 4 users; limits.recipientsPerHour allows 10 in team, of which 7 are used"
    )
    assert limits(max_recipients=3).check("team", "two", 4, NOW) == (
        "resolves to 4 users; limits.maxRecipients allows 3 in team"
    )


def test_an_hour_is_an_hour() -> None:
    bound = limits(recipients_per_hour=10)
    bound.note("team", "one", 10, NOW)
    assert bound.check("team", "two", 1, NOW + seconds(3599)) is not None
    assert bound.check("team", "two", 1, NOW + seconds(3600)) is None


def test_namespaces_do_not_share() -> None:
    bound = limits(recipients_per_hour=10)
    bound.note("team", "one", 10, NOW)
    assert bound.check("other", "two", 10, NOW) is None


def test_planning_again_does_not_count_twice() -> None:
    bound = limits(recipients_per_hour=10)
    for _ in range(5):
        assert bound.check("team", "one", 6, NOW) is None
        bound.note("team", "one", 6, NOW)
    assert bound.check("team", "two", 4, NOW) is None


def test_edit_that_adds_recipients_is_remembered() -> None:
    bound = limits(recipients_per_hour=10)
    bound.note("team", "one", 1, NOW)
    bound.note("team", "one", 9, NOW + seconds(60))
    assert bound.check("team", "two", 2, NOW + seconds(61)) is not None
    assert bound.check("team", "two", 2, NOW + seconds(3601)) is not None, "from the edit on"
    assert bound.check("team", "two", 2, NOW + seconds(3660)) is None


def test_edit_that_takes_recipients_away_does_not_free_any() -> None:
    bound = limits(recipients_per_hour=10)
    bound.note("team", "one", 9, NOW)
    bound.note("team", "one", 1, NOW + seconds(60))
    assert bound.check("team", "two", 2, NOW + seconds(61)) is not None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2000)), max_size=40))
def test_within_any_hour_no_more_than_allowed(requests: list[tuple[int, int]]) -> None:
    """For Notifications that are not edited: what was let through fits into every hour."""
    bound = limits(recipients_per_hour=12)
    allowed: list[tuple[float, int]] = []
    clock = 0.0
    for number, (users, pause) in enumerate(requests):
        clock += pause
        moment = NOW + seconds(clock)
        if bound.check("team", str(number), users, moment) is None:
            bound.note("team", str(number), users, moment)
            allowed.append((clock, users))
    for start, _ in allowed:
        assert sum(users for at, users in allowed if start <= at < start + 3600) <= 12


def test_what_is_older_than_an_hour_is_forgotten_in_every_namespace() -> None:
    """Also in namespaces that are gone, and so never ask again."""
    bound = limits(recipients_per_hour=10)
    for number in range(50):
        bound.note(f"gone-{number}", f"uid-{number}", 1, NOW + seconds(number))
    bound.note("team", "one", 1, NOW + seconds(3700))
    assert list(bound._recent) == ["team"]
