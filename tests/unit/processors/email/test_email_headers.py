"""Header fields survive any Unicode, and every reader."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.utils import parseaddr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications_operator.processors.email import headers
from notifications_operator.processors.email.addresses import Mailbox
from notifications_operator.processors.email.text import one_line

ANY_TEXT = st.text(st.characters(), max_size=400)
WORDS = st.lists(
    st.sampled_from(["Build", "fehlgeschlagen", "für", "日本語", "=?utf-8?q?x?=", "—", "a" * 100]),
    max_size=30,
).map(" ".join)
ENCODED_WORD = re.compile(r"=\?utf-8\?b\?[A-Za-z0-9+/]*=*\?=")


def read_back(field: bytes) -> list[str]:
    """Read a field by both of the standard library's readers."""
    raw = field + b"\r\nbody"
    name = field.split(b":")[0].decode()
    modern = str(message_from_bytes(raw, policy=policy.default)[name])
    legacy = str(make_header(decode_header(message_from_bytes(raw)[name].replace("\r\n", ""))))
    return [modern, legacy]


@given(ANY_TEXT | WORDS)
@example("a" * 200)
@example(" ".join(["word"] * 40))
@example("two  spaces")
@example("=?utf-8?q?=42cc?=")
@example("ends with backslash \\")
@example("👩\u200d💻" * 40)
@example("ä" + "x" * 199)
def test_free_text_is_read_back_exactly(text: str) -> None:
    value = one_line(text, 200)

    field = headers.unstructured("Subject", value)

    assert read_back(field) == [value, value]


@given(ANY_TEXT | WORDS, st.sampled_from(["Subject", "X-Notification-Severity"]))
def test_free_text_keeps_the_limits_of_lines(text: str, name: str) -> None:
    field = headers.unstructured(name, one_line(text, 200))

    assert field.isascii()
    assert field.endswith(b"\r\n")
    for line in field.decode().removesuffix("\r\n").split("\r\n"):
        assert len(line) <= 998
        assert line.strip()
        assert "\n" not in line
        assert "\r" not in line
        for word in ENCODED_WORD.findall(line):
            assert len(word) <= 75
            assert len(line) <= 76


@given(ANY_TEXT)
def test_no_text_begins_another_field(text: str) -> None:
    field = headers.unstructured("Subject", one_line(text, 200))

    assert message_from_bytes(field + b"\r\n").keys() == ["Subject"]


@given(ANY_TEXT)
def test_a_mailbox_is_read_back(text: str) -> None:
    name = one_line(text, 60)
    field = headers.mailbox("From", Mailbox(display_name=name, address="a@example.com"))

    modern = message_from_bytes(field + b"\r\n", policy=policy.default)["From"]
    assert [address.addr_spec for address in modern.addresses] == ["a@example.com"]
    # In phrases this reader puts a blank between encoded words (against RFC 2047 6.2).
    legacy = str(message_from_bytes(field + b"\r\n")["From"]).replace("\r\n", "")
    decoded = str(make_header(decode_header(legacy)))
    if "=?utf-8?b?" in legacy:
        assert decoded == f"{name} <a@example.com>"
    else:
        assert parseaddr(decoded) == (name, "a@example.com")
    assert all(len(line) <= 78 for line in field.decode().split("\r\n"))


@pytest.mark.parametrize("length", [20, 76, 200, 290])
def test_tokens_are_never_broken_or_encoded(length: int) -> None:
    token = f"<{'x' * length}@example.com>"

    field = headers.structured("References", token)

    assert field == f"References: {token}\r\n".encode()


def test_tokens_fold_between_each_other() -> None:
    tokens = [f"<{'x' * 40}{number}@example.com>" for number in range(4)]

    field = headers.structured("References", *tokens)

    assert field.count(b"\r\n ") == 3
    assert field.decode().split()[1:] == tokens
