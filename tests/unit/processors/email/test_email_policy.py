"""The order of the address lists is upstream's (backstage.md 5.5)."""

from __future__ import annotations

from typing import Any

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.policy import AddressPolicy
from tests.unit.processors.email.email_builders import spec


def policy(**lists: Any) -> AddressPolicy:
    email = spec(None, **lists).email
    assert email is not None
    return AddressPolicy(email)


DOMAINS = {"allowedEmailDomains": ["Example.com"]}
ALLOWED = {"allowlistEmailAddresses": [" Friend@Partner.example "]}
DENIED = {"denylistEmailAddresses": ["Bad@Example.com", "friend@partner.example"]}


@pytest.mark.parametrize(
    ("lists", "address", "blocked_by"),
    [
        ({}, "anybody@anywhere.example", None),
        # Domains: exact, without case, without sub-domains.
        (DOMAINS, "jane@EXAMPLE.com", None),
        (DOMAINS, "jane@sub.example.com", "allowedEmailDomains"),
        (DOMAINS, "jane@notexample.com", "allowedEmailDomains"),
        ({"allowedEmailDomains": []}, "jane@example.com", "allowedEmailDomains"),
        # The allow list opens beside the domains, and closes without them.
        (DOMAINS | ALLOWED, "friend@PARTNER.example", None),
        (DOMAINS | ALLOWED, "jane@example.com", None),
        (DOMAINS | ALLOWED, "foe@partner.example", "allowedEmailDomains"),
        (ALLOWED, "friend@partner.example", None),
        (ALLOWED, "jane@example.com", "allowlistEmailAddresses"),
        ({"allowlistEmailAddresses": []}, "jane@example.com", "allowlistEmailAddresses"),
        # The deny list always wins.
        (DENIED, "BAD@example.com", "denylistEmailAddresses"),
        (DENIED, "good@example.com", None),
        (DOMAINS | DENIED, "bad@example.com", "denylistEmailAddresses"),
        (ALLOWED | DENIED, "friend@partner.example", "denylistEmailAddresses"),
        (DOMAINS | ALLOWED | DENIED, "bad@elsewhere.example", "allowedEmailDomains"),
        ({"denylistEmailAddresses": []}, "jane@example.com", None),
        # Domains outside ASCII are compared as DNS has them.
        ({"allowedEmailDomains": ["München.example"]}, "jane@xn--mnchen-3ya.example", None),
        ({"allowedEmailDomains": ["XN--mnchen-3ya.example"]}, "jane@münchen.example", None),
        (
            {"allowedEmailDomains": ["munchen.example"]},
            "jane@münchen.example",
            "allowedEmailDomains",
        ),
        ({"allowlistEmailAddresses": ["Jane@münchen.example"]}, "jane@MÜNCHEN.example", None),
        (
            {"denylistEmailAddresses": ["jane@xn--mnchen-3ya.example"]},
            "jane@münchen.example",
            "denylistEmailAddresses",
        ),
    ],
)
def test_who_may_get_mail(lists: dict[str, Any], address: str, blocked_by: str | None) -> None:
    skip = policy(**lists).objection(address)

    if blocked_by is None:
        assert skip is None
    else:
        assert skip is not None
        assert skip.reason is Reason.BLOCKED
        assert blocked_by in skip.message
        assert ascii(address)[1:-1] in skip.message


def test_the_format_is_checked_before_all_lists() -> None:
    skip = policy(allowlistEmailAddresses=["double..dot@example.com"]).objection(
        "double..dot@example.com"
    )

    assert skip is not None
    assert skip.reason is Reason.INVALID_ADDRESS


def test_a_domain_that_cannot_be_written_in_ascii_is_explained() -> None:
    skip = policy().objection("jane@" + "ü" * 60 + ".example")

    assert skip is not None
    assert skip.reason is Reason.INVALID_ADDRESS
    assert "its domain has no form in ASCII: a part of it has 66 characters" in skip.message


@pytest.mark.parametrize("hostile", ["a\r\nb", "\u202eevil", "\ud800", "\0", "x" * 1_000_000])
def test_a_hostile_address_is_escaped_and_cut_in_the_message(hostile: str) -> None:
    skip = policy().objection(hostile)

    assert skip is not None
    assert skip.message.isascii()
    assert skip.message.isprintable()
    assert len(skip.message) < 600
