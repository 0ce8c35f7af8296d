"""Signs in a raw status or slice that a newer release wrote it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.ledger_format import LEDGER_FORMAT
from notifications_operator.api.notification import (
    DeliveryState,
    NotificationState,
    NotificationStatus,
)
from notifications_operator.api.processor import NotificationProcessor
from notifications_operator.api.resource import ObjectMeta
from notifications_operator.delivery.ledger.rows import open_row
from notifications_operator.delivery.storage.newer_format import (
    is_over,
    left_alone_conditions,
    repaired_conditions,
    unknown_in_status,
    unreadable_status,
)
from notifications_operator.delivery.storage.slices.codec import encode, unreadable_slice
from tests.unit.delivery.builders import ADA, BOB, NOW

LATER = datetime(2031, 1, 1, tzinfo=UTC)

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
"""Any JSON value."""

CONDITION = {
    "type": "Complete",
    "status": "False",
    "reason": "Progressing",
    "message": "1 pending",
    "observedGeneration": 1,
    "lastTransitionTime": "2030-01-31T12:00:00Z",
}


def status(**fields: Any) -> dict[str, Any]:
    return {
        "observedGeneration": 1,
        "state": "Pending",
        "ledger": {"format": LEDGER_FORMAT, "type": "Inline", "revision": 1},
        "deliveries": [{"processor": "email", "recipient": ADA, "state": "Pending"}],
        "conditions": [CONDITION],
        **fields,
    }


def slice_body() -> dict[str, Any]:
    rows = [open_row("email", ref, skip=None, revision=1, now=NOW) for ref in (ADA, BOB)]
    return {"index": 0, "observedGeneration": 1, **encode(rows, "email")}


@pytest.mark.parametrize(
    "known", [{}, status(), status(ledger={}), status(ledger={"type": "Slices", "slices": 2})]
)
def test_what_this_release_and_the_first_one_wrote_is_read(known: dict[str, Any]) -> None:
    assert unreadable_status(known) is None


def test_what_cannot_be_read_is_named_with_what_is_known() -> None:
    assert unknown_in_status(status(ledger={"format": 99})) == (
        "status.ledger.format is 99, and this release knows 1"
    )
    assert unknown_in_status(status(ledger={"type": "Table"})) == (
        "status.ledger.type is 'Table', and this release knows Inline, Slices"
    )
    row = {"processor": "email", "recipient": BOB, "state": "Queued"}
    found = unknown_in_status(status(deliveries=[*status()["deliveries"], row]))
    assert found is not None
    assert found.startswith(
        "status.deliveries[1].state is 'Queued', and this release knows Pending"
    )
    long = unknown_in_status(status(state="x" * 1000))
    assert long is not None
    assert len(long) < 250


@given(value=VALUES)
def test_any_other_format_is_unknown(value: Any) -> None:
    known = value is None or (value == LEDGER_FORMAT and not isinstance(value, bool))
    assert (unknown_in_status(status(ledger={"format": value})) is None) == known
    assert (unreadable_slice({**slice_body(), "format": value}) is None) == known


@given(value=VALUES)
def test_any_other_type_and_state_is_unknown(value: Any) -> None:
    in_type = unknown_in_status(status(ledger={"type": value}))
    assert (in_type is None) == (value is None or value in ("Inline", "Slices"))
    in_state = unknown_in_status(status(state=value))
    assert (in_state is None) == (value is None or value in list(NotificationState))
    row = {"processor": "email", "recipient": ADA, "state": value}
    in_row = unreadable_status(status(deliveries=[row]))
    assert (in_row is None) == (value in list(DeliveryState))


@given(whole=st.dictionaries(st.sampled_from(list(status())), VALUES))
def test_no_status_fails_to_be_judged(whole: dict[str, Any]) -> None:
    """A status that is not called unreadable can be read."""
    stored = {**status(), **whole}
    if unreadable_status(stored) is None:
        NotificationStatus.model_validate(stored)
    is_over(ObjectMeta(name="n"), stored)
    assert left_alone_conditions(stored, "it is odd", 1, NOW)


@given(letters=st.text(min_size=2, max_size=2))
def test_any_other_letter_is_unknown(letters: str) -> None:
    found = unreadable_slice({**slice_body(), "states": letters})
    assert (found is None) == (set(letters) <= set("PCSRFKU"))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"states": "P"}, "states has 1 letters for 2 recipients"),
        ({"details": [{"row": 2}]}, "row 2 is beyond its 2 recipients"),
        ({"claims": [{"holder": "h", "rows": [0, -1]}]}, "row -1 is beyond its 2 recipients"),
    ],
)
def test_a_slice_that_contradicts_itself_is_not_read(fields: dict[str, Any], problem: str) -> None:
    assert unreadable_slice({**slice_body(), **fields}) == problem


def test_the_condition_takes_the_place_of_the_one_of_its_type() -> None:
    delivered = {**CONDITION, "type": "Delivered", "status": "Unknown"}
    theirs = {**CONDITION, "type": "Sealed", "sealedBy": "them"}
    stored = status(conditions=[delivered, theirs, CONDITION])
    before = copy.deepcopy(stored)
    first, *others = left_alone_conditions(stored, "it is odd", 3, LATER) or []
    assert stored == before
    assert others == [theirs, CONDITION]
    assert (first["status"], first["reason"]) == ("Unknown", "NewerFormat")
    assert first["lastTransitionTime"] == delivered["lastTransitionTime"]
    assert first["message"].startswith("it is odd; ")
    assert first["observedGeneration"] == 3
    told = status(conditions=[first, *others])
    assert left_alone_conditions(told, "it is odd", 3, LATER) is None
    assert left_alone_conditions(told, "it is odd", 4, LATER) is not None


def test_a_condition_that_was_another_has_changed_now() -> None:
    stored = status(conditions=[{**CONDITION, "type": "Delivered", "status": "True"}])
    (told,) = left_alone_conditions(stored, "it is odd", 1, LATER) or []
    assert told["lastTransitionTime"] == "2031-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("state", "word"),
    [("Delivered", "True"), ("NoRecipients", "True"), ("Failed", "False"), ("Expired", "False")],
)
def test_the_repaired_condition_says_what_complete_says(state: str, word: str) -> None:
    complete = {**CONDITION, "status": "True", "reason": state, "message": "3 sent"}
    stored = status(state=state, conditions=[complete])
    stored["conditions"] = left_alone_conditions(stored, "it is odd", 1, NOW)
    _, delivered = repaired_conditions(stored, 1, LATER) or []
    assert (delivered["status"], delivered["reason"]) == (word, state)
    assert delivered["message"] == "3 sent"
    stored["conditions"] = [complete, delivered]
    assert repaired_conditions(stored, 1, LATER) is None


def test_a_processor_is_read_whatever_its_conditions_say() -> None:
    read = NotificationProcessor.model_validate(
        {
            "metadata": {"name": "email"},
            "spec": {"type": "example.com/pager"},
            "status": {
                "observedGeneration": 1,
                "conditions": [{**CONDITION, "type": "Sealed", "reason": "ByThem"}],
                "invented": {"later": 1},
            },
        }
    )
    assert read.status.conditions[0].reason == "ByThem"
