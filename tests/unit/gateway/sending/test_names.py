"""Names and digests: one for one request, another for another."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.gateway.errors import InputError
from notifications_operator.gateway.sending.names import (
    check_key,
    keyed_name,
    random_name,
    request_digest,
)

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=255)


@given(subject=VISIBLE, key=VISIBLE)
def test_a_keyed_name_is_a_dns_label(subject: str, key: str) -> None:
    name = keyed_name(subject, key)
    assert DNS_LABEL.fullmatch(name)
    assert name == keyed_name(subject, key)


def test_a_keyed_name_does_not_change_between_releases() -> None:
    """It is how a request is known again after an upgrade."""
    assert keyed_name("external:build", "key-1") == (
        "rest-4ysa5idvvxs2mratx4vsb73ml6ln6ghsso6vosrrx2fvzokifzbq"
    )


def test_subject_and_key_do_not_run_together() -> None:
    assert keyed_name("ab", "c") != keyed_name("a", "bc")


def test_random_names_are_labels_and_differ() -> None:
    names = {random_name() for _ in range(100)}
    assert len(names) == 100
    assert all(DNS_LABEL.fullmatch(name) for name in names)


@pytest.mark.parametrize("key", ["", "a b", "a\t", "x" * 256, "ä", "\x7f", "\r\n"])
def test_bad_keys(key: str) -> None:
    with pytest.raises(InputError, match="Idempotency-Key: must be 1 to 255 visible"):
        check_key(key)


def test_digest() -> None:
    spec: dict[str, Any] = {
        "recipients": {"type": "broadcast"},
        "payload": {"title": "T", "severity": "high"},
        "origin": "a",
        "ttlSecondsAfterFinished": 1,
    }
    turned = {
        "ttlSecondsAfterFinished": 2,
        "payload": {"severity": "high", "title": "T"},
        "recipients": {"type": "broadcast"},
        "origin": "a",
    }
    assert request_digest(spec) == request_digest(turned)
    assert request_digest(spec).startswith("v1:")
    other = {**spec, "payload": {"title": "T", "severity": "low"}}
    assert request_digest(other) != request_digest(spec)
