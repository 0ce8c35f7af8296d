"""Which user of the catalog claims are about."""

from __future__ import annotations

from typing import Any

import pytest

from notifications_operator.gateway.identity.tokens import TokenError
from notifications_operator.gateway.identity.users import UserMapping

ADDRESSES = {"ada@example.com": "user:default/ada", "team@example.com": "group:default/team"}


def mapping(*, claim: str = "ref", match_email: bool = False) -> UserMapping:
    return UserMapping(claim=claim, match_email=match_email, find_user_by_email=ADDRESSES.get)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("user:default/ada", "user:default/ada"),
        ("User:Default/Ada.Lovelace", "user:default/ada.lovelace"),
        ("ada", "user:default/ada"),
        ("ADA", "user:default/ada"),
        ("tenant/ada", "user:tenant/ada"),
        ("user:ada", "user:default/ada"),
        ("248289761001", "user:default/248289761001"),
    ],
)
def test_claim(value: str, expected: str) -> None:
    assert mapping().entity_ref({"ref": value}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("group:default/admins", "names a group and no user: group:default/admins"),
        ("", "names no user"),
        ("ada@example.com", "names no user"),
        ("user:default/", "names no user"),
        ("user:default/a/b", "names no user"),
        ("user:default/ada\n", "names no user"),
        ("user:default/ada\u202e", "names no user"),
        ("x" * 100_000, "names no user"),
        (7, "is no string"),
        (["user:default/ada"], "is no string"),
        ({}, "is no string"),
        (False, "is no string"),
    ],
)
def test_claim_that_names_no_user(value: object, expected: str) -> None:
    with pytest.raises(TokenError, match=expected) as raised:
        mapping().entity_ref({"ref": value})
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500


def test_email_does_not_count_unless_asked_for() -> None:
    with pytest.raises(TokenError, match="it has no claim 'ref'"):
        mapping().entity_ref({"email": "ada@example.com", "email_verified": True})


def test_verified_email() -> None:
    claims = {"email": "ada@example.com", "email_verified": True}
    assert mapping(match_email=True).entity_ref(claims) == "user:default/ada"


def test_claim_goes_before_email() -> None:
    claims = {"ref": "bob", "email": "ada@example.com", "email_verified": True}
    assert mapping(match_email=True).entity_ref(claims) == "user:default/bob"


@pytest.mark.parametrize("verified", [False, None, "true", "True", 1, [True], {}])
def test_email_that_is_not_verified(verified: object) -> None:
    claims = {"email": "ada@example.com", "email_verified": verified}
    with pytest.raises(TokenError, match="not verified"):
        mapping(match_email=True).entity_ref(claims)


def test_email_without_a_word_on_verification() -> None:
    with pytest.raises(TokenError, match="not verified"):
        mapping(match_email=True).entity_ref({"email": "ada@example.com"})


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("nobody@example.com", "not that of exactly one user"),
        ("team@example.com", "names a group"),
        ("", "neither 'ref' nor 'email'"),
        (None, "neither 'ref' nor 'email'"),
        (7, "neither 'ref' nor 'email'"),
    ],
)
def test_email_of_no_user(email: Any, expected: str) -> None:
    with pytest.raises(TokenError, match=expected):
        mapping(match_email=True).entity_ref({"email": email, "email_verified": True})


@pytest.mark.parametrize(
    ("claims", "match_email", "expected"),
    [
        ({"ref": "ada"}, False, True),
        ({"ref": 7}, False, True),
        ({"email": "a@b"}, False, False),
        ({"email": "a@b"}, True, True),
        ({}, True, False),
    ],
)
def test_names_user(claims: dict[str, Any], match_email: bool, expected: bool) -> None:
    assert mapping(match_email=match_email).names_user(claims) is expected
