"""Merging wanted rows into a ledger: laws that hold for any ledger and any edit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.ledger.ledger import ANY_RECIPIENT, Ledger, Selection
from notifications_operator.delivery.ledger.rows import Row
from notifications_operator.delivery.planning.changes import Change
from notifications_operator.delivery.planning.merge import (
    Wanted,
    late_processors,
    merge,
    settle_edits,
)
from notifications_operator.processors.errors import Skip
from tests.unit.delivery.builders import NOW, row, seconds

S = DeliveryState
LATER = NOW + seconds(60)
PROCESSORS = ("email", "slack")
USERS = tuple(f"user:default/u{number}" for number in range(4))
REVISION = 2

SELECTIONS = st.fixed_dictionaries(
    {
        name: st.sampled_from([None, None, str(Reason.FILTERED), str(Reason.CANCELLED)])
        for name in PROCESSORS
    }
)
KEYS = st.tuples(st.sampled_from(PROCESSORS), st.sampled_from(USERS))
ROWS = st.dictionaries(KEYS, st.tuples(st.sampled_from(S), st.integers(1, REVISION)))
SKIPS = st.sampled_from([None, None, Skip(reason=Reason.NO_ADDRESS, message="none")])


@st.composite
def merges(draw: st.DrawFn) -> tuple[Ledger, Wanted, Change]:
    """A planned ledger, what is wanted of it, and the edit that made it so."""
    selections = draw(SELECTIONS)
    ledger = Ledger(
        revision=REVISION,
        processors={name: Selection(name=name, reason=why) for name, why in selections.items()},
    )
    for (processor, recipient), (state, revision) in draw(ROWS).items():
        cancelled = state is S.SKIPPED and draw(st.booleans())
        ledger.put(
            row(
                state,
                processor=processor,
                recipient=recipient,
                revision=revision,
                reason=Reason.CANCELLED if cancelled else None,
            )
        )
    active = [name for name, why in selections.items() if why is None]
    unable = [name for name in active if draw(st.booleans())]
    for name in active:
        if draw(st.booleans()):
            ledger.put(row(processor=name, recipient=ANY_RECIPIENT))
    targets = {
        key: skip
        for key, skip in draw(st.dictionaries(KEYS, SKIPS)).items()
        if key[0] in active and key[0] not in unable
    }
    change = Change(first=False, payload=draw(st.booleans()), recipients=draw(st.booleans()))
    cause = Skip(reason=Reason.PROCESSOR_NOT_FOUND, message="not there")
    return ledger, Wanted(targets=targets, unable=dict.fromkeys(unable, cause)), change


def merged(facts: tuple[Ledger, Wanted, Change]) -> tuple[dict[tuple[str, str], Row], Ledger]:
    ledger, wanted, change = facts
    before = dict(ledger.rows)
    merge(ledger, wanted, change, LATER)
    return before, ledger


@given(merges())
def test_claims_are_at_most_marked(facts: tuple[Ledger, Wanted, Change]) -> None:
    before, ledger = merged(facts)
    settle_edits(ledger, LATER)
    for key, old in before.items():
        if old.state is S.CLAIMED:
            found = ledger.rows[key]
            assert replace(found, reason=old.reason, message=old.message) == old
            assert found.reason in (old.reason, Reason.CANCELLED)


@given(merges())
def test_every_target_has_a_row(facts: tuple[Ledger, Wanted, Change]) -> None:
    _, ledger = merged(facts)
    assert set(facts[1].targets) <= set(ledger.rows)


@given(merges())
def test_no_row_of_a_user_is_ever_lost(facts: tuple[Ledger, Wanted, Change]) -> None:
    before, ledger = merged(facts)
    lost = {key for key in before if key not in ledger.rows}
    assert {recipient for _, recipient in lost} <= {ANY_RECIPIENT}


@given(merges())
def test_what_was_sent_under_this_revision_is_not_sent_again_without_an_edit_of_the_payload(
    facts: tuple[Ledger, Wanted, Change],
) -> None:
    if facts[2].payload:
        return
    before, ledger = merged(facts)
    settle_edits(ledger, LATER)
    for key, old in before.items():
        if old.state is S.SENT and old.revision == REVISION:
            assert ledger.rows[key].state is S.SENT


@given(merges())
def test_processor_that_takes_no_part_has_nothing_to_send(
    facts: tuple[Ledger, Wanted, Change],
) -> None:
    if not facts[2].any:
        return
    _, ledger = merged(facts)
    settle_edits(ledger, LATER)
    for name, selection in ledger.processors.items():
        if selection.reason is not None:
            assert not [
                item for item in ledger.rows_of(name) if item.state in (S.PENDING, S.RETRYING)
            ]


@given(merges())
def test_processor_that_cannot_say_has_a_row_or_a_placeholder(
    facts: tuple[Ledger, Wanted, Change],
) -> None:
    _, ledger = merged(facts)
    for name in facts[1].unable:
        assert ledger.rows_of(name)
        if facts[2].recipients:
            assert name in late_processors(ledger)
    for name in late_processors(ledger):
        assert name in facts[1].unable


@given(merges())
def test_after_an_edit_of_the_recipients_only_they_are_waited_for(
    facts: tuple[Ledger, Wanted, Change],
) -> None:
    ledger, wanted, change = facts
    if not change.recipients:
        return
    merged(facts)
    settle_edits(ledger, LATER)
    for item in ledger.in_state(S.PENDING, S.RETRYING):
        able = item.processor not in wanted.unable
        assert not able or item.key in wanted.targets


@given(merges())
def test_merging_the_same_again_changes_nothing(facts: tuple[Ledger, Wanted, Change]) -> None:
    _, ledger = merged(facts)
    once = dict(ledger.rows)
    merge(ledger, facts[1], Change(first=False, payload=False, recipients=False), LATER)
    assert ledger.rows == once


@given(merges())
def test_everything_that_takes_part_is_of_the_newest_revision(
    facts: tuple[Ledger, Wanted, Change],
) -> None:
    _, ledger = merged(facts)
    settle_edits(ledger, LATER)
    for item in ledger.rows.values():
        takes_part = ledger.processors[item.processor].reason is None
        if takes_part and item.state not in (S.CLAIMED, S.SKIPPED) and not item.reason:
            assert item.revision == REVISION
