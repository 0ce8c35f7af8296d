"""Which notifications a processor takes, as upstream judges them."""

from __future__ import annotations

from typing import Any

import pytest

from notifications_operator.api.email import ProcessorFilter
from notifications_operator.api.notification import Payload, Severity


def test_severities_are_upstreams_the_most_severe_first() -> None:
    assert list(Severity) == ["critical", "high", "normal", "low"]
    assert [severity.rank for severity in Severity] == [0, 1, 2, 3]
    assert Payload(title="Hello").severity is Severity.NORMAL


@pytest.mark.parametrize(
    ("bounds", "passing"),
    [
        ({}, ["critical", "high", "normal", "low"]),
        ({"minSeverity": "high"}, ["critical", "high"]),
        ({"minSeverity": "low"}, ["critical", "high", "normal", "low"]),
        ({"maxSeverity": "high"}, ["high", "normal", "low"]),
        ({"maxSeverity": "critical"}, ["critical", "high", "normal", "low"]),
        ({"minSeverity": "normal", "maxSeverity": "high"}, ["high", "normal"]),
        ({"minSeverity": "high", "maxSeverity": "normal"}, []),
    ],
)
def test_severities_that_pass(bounds: dict[str, Any], passing: list[str]) -> None:
    chosen = ProcessorFilter.model_validate(bounds)

    assert [s for s in Severity if chosen.excludes(s, None) is None] == passing


@pytest.mark.parametrize(
    ("lists", "passing"),
    [
        ({"includedTopics": ["a"]}, {"a"}),
        ({"includedTopics": []}, set()),
        ({"excludedTopics": ["a"]}, {"A", "b", None}),
        ({"excludedTopics": []}, {"a", "A", "b", None}),
        ({"includedTopics": ["a", "b"], "excludedTopics": ["a"]}, {"b"}),
    ],
)
def test_topics_that_pass_are_compared_exactly(
    lists: dict[str, Any], passing: set[str | None]
) -> None:
    chosen = ProcessorFilter.model_validate(lists)
    topics = ["a", "A", "b", None]

    assert {t for t in topics if chosen.excludes(Severity.NORMAL, t) is None} == passing
