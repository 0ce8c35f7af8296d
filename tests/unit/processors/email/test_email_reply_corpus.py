"""Real replies of mail servers, each with what it means.

``corpus/*.yaml`` has one file for each product or provider. ``heldOut`` marks replies whose meaning
was written down before the rules had seen them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.redaction import Redactor
from notifications_operator.processors.email.replies import Envelope, Phase, Reply, refusal
from notifications_operator.processors.errors import DeliveryError, Scope

CORPUS = Path(__file__).parent / "corpus"
SENDER = "sender@mycompany.com"
RECIPIENT = "one@external.example"

FAMILIES = {
    "exchange",
    "exim",
    "gmail",
    "gmx",
    "haraka",
    "mailgun",
    "microsoft365",
    "opensmtpd",
    "postfix",
    "sendgrid",
    "ses",
    "stalwart",
    "yahoo",
    "zoho",
}
SLOWS_DOWN = {Reason.RATE_LIMITED, Reason.SERVER_BUSY}
"""Reasons of a whole processor after which it goes on, so that nobody has anything to do."""

ROWS: list[tuple[str, dict[str, Any]]] = [
    (file.stem, row)
    for file in sorted(CORPUS.glob("*.yaml"))
    for row in yaml.safe_load(file.read_text(encoding="utf-8"))
]


def verdict(row: dict[str, Any], *, recipient: str | None = None) -> DeliveryError:
    """Judge a reply as it comes over the wire, for the mail it was said of."""
    lines = row["reply"].split("\n")
    named = row.get("recipient", RECIPIENT)
    text = "\n".join(line[4:].strip() for line in lines)
    if recipient is not None:
        text = text.replace(named, recipient)
    envelope = Envelope(sender=row.get("sender", SENDER), recipient=recipient or named)
    return refusal(Phase[row["phase"]], Reply.parse(int(lines[0][:3]), text, Redactor()), envelope)


@pytest.mark.parametrize(
    "row",
    [row for _, row in ROWS],
    ids=[f"{family}-{row['phase']}-{row['reply'][:40]!r}" for family, row in ROWS],
)
def test_a_reply_is_judged_rightly(row: dict[str, Any]) -> None:
    error = verdict(row)

    assert (str(error.reason), str(error.scope), error.retryable, error.conclusive) == (
        row["reason"],
        row["scope"],
        row["retryable"],
        row.get("conclusive", True),
    )
    if error.scope is Scope.PROCESSOR and error.reason not in {*SLOWS_DOWN, Reason.CONNECT_FAILED}:
        assert "; " in error.message.removeprefix(f"the server refused {Phase[row['phase']]}: ")


def test_the_corpus_is_what_it_claims() -> None:
    held_out = Counter(family for family, row in ROWS if row.get("heldOut"))

    assert len(ROWS) >= 150
    assert max(Counter((family, row["phase"], row["reply"]) for family, row in ROWS).values()) == 1
    assert all(held_out[family] >= 5 for family in FAMILIES)
    assert all(row["source"] for _, row in ROWS)


@pytest.mark.parametrize(
    "row",
    [row for _, row in ROWS if not row.get("conclusive", True)],
    ids=[f"{row['phase']}-{row['reply'][:40]!r}" for _, row in ROWS if "conclusive" in row],
)
def test_what_is_said_of_two_recipients_is_known_for_the_same(row: dict[str, Any]) -> None:
    one = verdict(row, recipient="jane@example.com")
    other = verdict(row, recipient="john.doe@other.example")

    assert one.signature is not None
    assert one.signature == other.signature
    assert "jane" not in one.signature
