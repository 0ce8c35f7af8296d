"""Messages that were refused for good: what ends because of it, and when it is forgotten."""

from __future__ import annotations

import pytest

from notifications_operator.api.notification import DeliveryState
from notifications_operator.api.reasons import Reason
from notifications_operator.delivery.ledger.ledger import Ledger, Selection
from notifications_operator.delivery.ledger.refused_messages import (
    RefusedMessages,
    end_refused,
    forget_refused,
)
from notifications_operator.delivery.ledger.summary import summarize_processor
from notifications_operator.delivery.ledger.tally import Tally
from notifications_operator.processors.base import OutboundNotification
from notifications_operator.processors.errors import DeliveryError, Outcome, Receipt, Scope
from tests.unit.delivery.builders import ADA, BOB, EVE, NOW, error, notification, row


def outbound(revision: int = 1, redelivery: int = 0) -> OutboundNotification:
    """Return what is sent."""
    return OutboundNotification(
        uid="uid-n",
        namespace="team",
        name="n",
        revision=revision,
        redelivery=redelivery,
        origin="o",
        created=NOW,
        broadcast=False,
        payload=notification().spec.payload,
    )


def spam(**changes: object) -> DeliveryError:
    """Return a refusal of the message."""
    fields = {"scope": Scope.MESSAGE, "retryable": False, "code": 554, **changes}
    return error(Reason.CONTENT_REJECTED, "554 spam", **fields)  # type: ignore[arg-type]


def ledger(revision: int = 1) -> Ledger:
    """Return a ledger with rows in several states."""
    made = Ledger(
        revision=revision,
        processors={name: Selection(name=name) for name in ("email", "other")},
    )
    made.put_all(
        [
            row(recipient=ADA, revision=revision),
            row(DeliveryState.RETRYING, recipient=BOB, revision=revision),
            row(DeliveryState.CLAIMED, recipient=EVE, revision=revision),
            row(DeliveryState.SENT, recipient="sent", revision=revision),
            row(processor="other", revision=revision),
        ]
    )
    return made


def states(found: Ledger) -> list[str]:
    """Return the states of a ledger's rows."""
    return [str(item.state) for item in found.rows.values()]


def test_what_is_unsent_of_that_processor_ends() -> None:
    refused = RefusedMessages()
    refused.note("email", outbound(), spam())
    found = ledger()
    refused.mark(found)
    end_refused(found)
    assert states(found) == ["Failed", "Failed", "Claimed", "Sent", "Pending"]
    ended = found.rows["email", ADA]
    assert (ended.reason, ended.code, ended.attempts) == (Reason.CONTENT_REJECTED, 554, 0)
    assert ended.message is not None
    assert ended.message.startswith("not tried: the server refused this message for another")


def test_the_mark_is_stored_and_ends_rows_after_a_restart() -> None:
    refused = RefusedMessages()
    refused.note("email", outbound(), spam())
    found = ledger()
    refused.mark(found)
    stored = found.dump(generation=1, suspended=False, note=None, now=NOW)
    assert stored.processors[0].reason == "ContentRejected"
    again = Ledger.load(stored)
    end_refused(again)
    assert states(again) == ["Failed", "Failed", "Claimed", "Sent", "Pending"]


@pytest.mark.parametrize(
    "outcome",
    [
        Receipt(),
        spam(retryable=True),
        spam(conclusive=False),
        spam(scope=Scope.RECIPIENT),
        spam(scope=Scope.PROCESSOR),
    ],
)
def test_nothing_else_ends_anything(outcome: Outcome) -> None:
    refused = RefusedMessages()
    refused.note("email", outbound(), outcome)
    assert refused.verdict("email", outbound()) is None
    found = ledger()
    refused.mark(found)
    end_refused(found)
    assert states(found) == states(ledger())


def test_what_is_claimed_and_not_begun_need_not_begin() -> None:
    refused = RefusedMessages()
    refused.note("email", outbound(), spam())
    verdict = refused.verdict("email", outbound())
    assert verdict is not None
    assert verdict.code == 554
    refused.note("email", outbound(), verdict)
    assert refused.verdict("email", outbound()) is verdict, "it says nothing anew"
    assert refused.verdict("other", outbound()) is None
    assert refused.verdict("email", outbound(revision=2)) is None
    assert refused.verdict("email", outbound(redelivery=1)) is None


def test_a_refusal_of_an_older_revision_ends_nothing() -> None:
    refused = RefusedMessages()
    refused.note("email", outbound(), spam())
    found = ledger(revision=2)
    refused.mark(found)
    end_refused(found)
    assert states(found) == states(ledger())
    assert refused.verdict("email", outbound()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"revision": 2},
        {"redelivery": 1},
        {"last_redeliver": "1"},
        {"recipients_digest": "v1:other"},
    ],
)
def test_another_occasion_is_tried(change: dict[str, object]) -> None:
    refused = RefusedMessages()
    refused.note("email", outbound(), spam())
    found = ledger()
    refused.mark(found)
    for name, value in change.items():
        setattr(found, name, value)
    forget_refused(found)
    refused.mark(found)
    assert not found.processors["email"].message_refused
    assert refused.verdict("email", outbound()) is None


@pytest.mark.parametrize("reason", ["Filtered", "Cancelled"])
def test_a_processor_that_takes_no_part_stays_so(reason: str) -> None:
    refused = RefusedMessages()
    refused.note("email", outbound(), spam())
    found = ledger()
    found.processors["email"] = Selection(name="email", reason=reason)
    refused.mark(found)
    forget_refused(found)
    assert found.processors["email"].reason == reason


def test_a_reason_of_a_later_release_ends_nothing() -> None:
    found = ledger()
    found.processors["email"] = Selection(name="email", reason="SomethingNew")
    end_refused(found)
    assert states(found) == states(ledger())


def test_the_summary_says_it() -> None:
    refused = RefusedMessages()
    refused.note("email", outbound(), spam())
    found = ledger()
    refused.mark(found)
    end_refused(found)
    selection = found.processors["email"]
    summary = summarize_processor(
        "email", Tally.of(found.rows.values()), reason=selection.reason, message=selection.message
    )
    assert (summary.reason, summary.failed) == ("ContentRejected", 2)
