"""Secrets are hidden by their values, in any text."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.telemetry.redaction import (
    REDACTED,
    Redactor,
    redact,
    remember_secrets,
)

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
        (["hunter22"], "prefixhunter22suffix", "prefix***suffix"),
        (["abc1", "abc1efgh"], "abc1efgh and abc1", "*** and ***"),
        (["abc1d2", "d2xyz9"], "abc1d2xyz9", "***"),
        (["a.c+(d"], "a.c+(d, abc", "***, abc"),
        (["line\nbreak"], "a line\nbreak", "a ***"),
        (["two  blanks"], "of two blanks", "of ***"),
        (["pässwörd-1"], "pässwörd-1", "***"),
        (["kjhgfdsapoiuytre"], "as kjhgfdsapoiuytre", "as ***"),
        (["12345678"], "is 12345678", "is ***"),
        ([""], "nothing", "nothing"),
        ([" "], "not hing", "not hing"),
        ([], "nothing", "nothing"),
    ],
)
def test_values_are_hidden(secrets: list[str], text: str, expected: str) -> None:
    remember_secrets(OWNER, secrets)
    assert redact(text) == expected


ORDINARY = [
    "notifications", "user", "email", "smtp", "default", "password", "username", "Password",
    "TLS", "587", "2030", "abc", "a", "authentication",
]  # fmt: skip
"""Passwords that people have, and that our own texts are full of."""

OWN_TEXTS = [
    "user:default/barbara.liskov has no e-mail address in the catalog",
    "cannot connect to smtp.example.com:587: connection refused",
    "no NotificationProcessor 'email' in notifications-system; there: none",
    "Secret notifications-system/smtp has no key 'password' (or it is empty); its keys: username",
    "the server refused AUTH: 535 5.7.8 authentication failed",
    "expired at 2030-01-31T18:00:00Z",
]


@pytest.mark.parametrize("secret", ORDINARY)
@pytest.mark.parametrize("text", OWN_TEXTS)
def test_ordinary_words_are_left_alone(secret: str, text: str) -> None:
    remember_secrets(OWNER, [secret])
    assert redact(text) == text


@pytest.mark.parametrize("secret", ORDINARY)
def test_a_redactor_of_others_texts_hides_ordinary_words_too(secret: str) -> None:
    redactor = Redactor([secret])
    assert redactor.redact(f"535 <{secret}> is wrong") == "535 <***> is wrong"
    assert redactor.redact(f"un{secret}ed") == f"un{secret}ed"


def encodings(secret: str) -> list[str]:
    """Return the forms in which logs and servers show a secret."""
    data = secret.encode()
    return [
        secret,
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode().rstrip("="),
        base64.b64encode(b"\0joe@corp.example\0" + data).decode(),
        base64.b64encode(b"joe:" + data).decode(),
        base64.b64encode(b"user=joe\x01auth=Bearer " + data).decode(),
        quote(secret),
        re.sub("%[0-9A-F]{2}", lambda octet: octet[0].lower(), quote(secret, safe="")),
        quote_plus(secret),
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        html.escape(secret),
        repr(secret),
        repr(data),
    ]


@pytest.mark.parametrize(
    "secret",
    [
        "hunter22",
        "s3cret",
        'pa"ss\\wörd',
        "a&b<c>'d\"",
        "100% +/=?",
        "x" * 7 + "\t1",
        "Tr0ub4dor&3",
    ],
)
@pytest.mark.parametrize("form", range(len(encodings(""))))
def test_encodings_are_hidden(secret: str, form: int) -> None:
    shown = encodings(secret)[form]
    remember_secrets(OWNER, [secret])
    before, _, rest = redact(f"said {shown}.").partition(REDACTED)
    assert rest, "something is hidden"
    assert before.startswith("said ")
    # Quotes, padding, and the last character in base64, which bits behind the secret decide too.
    assert len(rest.rpartition(REDACTED)[2]) <= len('"==."')
    assert secret not in before


@given(
    st.text(st.characters(codec="utf-8"), min_size=6, max_size=40).filter(
        lambda text: bool(text.strip()) and not text.isalpha() and not text.isdecimal()
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="*"), max_size=20),
    st.text(st.characters(codec="utf-8", exclude_characters="*"), max_size=20),
)
def test_no_distinctive_secret_is_seen(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret], spare_words=True)
    shown = redactor.redact(before + secret + after)
    assert all(secret not in part for part in shown.split(REDACTED))
    blob = base64.b64encode((before + secret + after).encode()).decode()
    whole = base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
    assert whole not in redactor.redact(blob)


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_texts_without_secrets_stay(text: str) -> None:
    redactor = Redactor(["Tr0ub4dor&3", "correct-horse-battery"])
    if "Tr0ub" not in text:
        assert redactor.redact(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smtp://user:secret@host/", "smtp://user:***@host/"),
        ("https://a:b@example.com/x https://c:d@e", "https://a:***@example.com/x https://c:***@e"),
        ("redis://:secret@host", "redis://:***@host"),
        ("https://example.com:8080/a", "https://example.com:8080/a"),
        ("mail to a:b@example.com", "mail to a:b@example.com"),
        ("https://user@example.com", "https://user@example.com"),
    ],
)
def test_passwords_in_urls_are_hidden(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("form", [str, lambda text: base64.b64encode(text.encode()).decode()])
@pytest.mark.parametrize("shown", [24, 40, 63, 64])
def test_long_secrets_are_hidden_where_they_were_cut(
    form: Callable[[str], str], shown: int
) -> None:
    secret = "".join(f"{number:02x}-" for number in range(100, 122))
    said = form(secret)[:shown]
    assert Redactor([secret]).redact(f"535 {said}") == f"535 {REDACTED}"
    assert Redactor([secret]).redact(f"535 {said}... and so on") == f"535 {REDACTED}... and so on"


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
    st.lists(st.text(alphabet="ab.*\\(", min_size=16, max_size=20), min_size=1, max_size=4),
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
