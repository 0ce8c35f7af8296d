"""Secrets are hidden by their values, in any text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.telemetry.redaction import REDACTED, redact, remember_secrets

OWNER = "test_redaction"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    remember_secrets(OWNER, ())
    remember_secrets(f"{OWNER} 2", ())


@pytest.mark.parametrize(
    ("secrets", "text", "expected"),
    [
        (["hunter22"], "535 hunter22 refused", "535 *** refused"),
        (["hunter22"], "hunter22hunter22", "******"),
        (["abcd", "abcdefgh"], "abcdefgh and abcd", "*** and ***"),
        (["a.c+(d"], "a.c+(d, abc", "***, abc"),
        (["line\nbreak"], "a line\nbreak", "a ***"),
        (["pässwörd"], "pässwörd", "***"),
        (["abc"], "abc is too short to be hidden", "abc is too short to be hidden"),
        ([""], "nothing", "nothing"),
        ([], "nothing", "nothing"),
    ],
)
def test_values_are_hidden(secrets: list[str], text: str, expected: str) -> None:
    remember_secrets(OWNER, secrets)
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smtp://user:secret@host/", "smtp://***@host/"),
        ("https://a:b@example.com/x https://c:d@e", "https://***@example.com/x https://***@e"),
        ("https://example.com:8080/a", "https://example.com:8080/a"),
        ("mail to a:b@example.com", "mail to a:b@example.com"),
        ("https://user@example.com", "https://user@example.com"),
    ],
)
def test_user_info_in_urls_is_hidden(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_newest_secrets_of_an_owner_replace_its_older_ones() -> None:
    remember_secrets(OWNER, ["first-secret"])
    remember_secrets(OWNER, ["second-secret"])
    assert redact("first-secret second-secret") == "first-secret ***"


def test_owners_do_not_forget_for_each_other() -> None:
    remember_secrets(OWNER, ["shared-secret"])
    remember_secrets(f"{OWNER} 2", ["shared-secret", "another-secret"])
    remember_secrets(OWNER, ())
    assert redact("shared-secret another-secret") == "*** ***"


@given(
    st.lists(st.text(alphabet="ab.*\\(", min_size=4, max_size=8), min_size=1, max_size=4),
    st.text(alphabet="ab.*\\( ", max_size=40),
)
def test_no_secret_survives(secrets: list[str], text: str) -> None:
    remember_secrets(OWNER, secrets)
    mixed = text + secrets[0] + text
    shown = redact(mixed).split(REDACTED)
    # What is left between the asterisks holds no secret; asterisks themselves may look like one.
    assert not [secret for secret in secrets for part in shown if secret in part]


def test_large_texts_are_hidden_too() -> None:
    remember_secrets(OWNER, ["hunter22"])
    assert redact("x" * 1_000_000 + "hunter22").endswith("x***")
