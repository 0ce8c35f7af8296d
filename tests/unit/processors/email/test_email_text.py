"""What text from outside becomes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.processors.email.redaction import Redactor
from notifications_operator.processors.email.text import lines, one_line

BIDI_FORMATTING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("a\r\nBcc: b", "a Bcc: b"),
        ("a\r\n\r\n\r\nb", "a b"),
        ("\n a \t b \x00", "a b"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("\u2066عربي\u2069", "عربي"),
        ("العربية\u200f!", "العربية\u200f!"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("lone \ud83d surrogate", "lone \ufffd surrogate"),
        ("", ""),
        ("\r\n", ""),
    ],
)
def test_one_line(value: str, expected: str) -> None:
    assert one_line(value, 100) == expected


def test_a_long_line_is_cut_visibly() -> None:
    assert one_line("x" * 1_000_000, 200) == "x" * 199 + "…"
    assert one_line("x" * 200, 200) == "x" * 200


def test_a_megabyte_of_blanks_takes_no_time() -> None:
    assert one_line(" " * 1_000_000 + "\n" * 1_000_000, 10) == ""


@given(st.text(st.characters(), max_size=300), st.integers(1, 200))
def test_one_line_is_one_bounded_harmless_line(value: str, limit: int) -> None:
    result = one_line(value, limit)

    assert len(result) <= limit
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in result)
    assert len(result.splitlines()) <= 1
    assert not set(result) & set(BIDI_FORMATTING)
    result.encode()
    assert one_line(result, limit) == result


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", [""]),
        ("one", ["one"]),
        ("a\r\nb\rc\nd\u2028e\x85f", ["a", "b", "c", "d", "e", "f"]),
        ("\n\n  indented\n\nend\n\n", ["  indented", "", "end"]),
        ("tab\there", ["tab\there"]),
        ("nul\0 and esc\x1b[31m", ["nul\ufffd and esc\ufffd[31m"]),
        ("\u202eevil", ["evil"]),
    ],
)
def test_lines(value: str, expected: list[str]) -> None:
    assert lines(value, 1000) == expected


@given(st.text(st.characters(), max_size=300), st.integers(1, 100))
def test_lines_are_bounded_harmless_lines(value: str, limit: int) -> None:
    result = lines(value, limit)

    assert len("\n".join(result)) <= limit
    for line in result:
        assert len(line.splitlines()) <= 1
        line.encode()


@pytest.mark.parametrize(
    ("said", "cleaned"),
    [
        ("no s3cret here", "no *** here"),
        ("s3c\0ret", "s3c ret"),
        ("got czNjcmV0", "got ***"),
        ("user joe@corp and \0joe@corp\0s3cret", "user joe@corp and ***"),
        ("AGpvZUBjb3JwAHMzY3JldA==", "***=="),
        ("nothing", "nothing"),
    ],
)
def test_the_password_is_taken_out_and_nothing_else(said: str, cleaned: str) -> None:
    redactor = Redactor(("s3cret", "\0joe@corp\0s3cret"))

    assert redactor.cleaned(said, 100) == cleaned


@pytest.mark.parametrize("password", ["abc", "email", "4711"])
def test_a_password_that_is_an_ordinary_word_is_taken_out(password: str) -> None:
    redactor = Redactor((password, f"\0joe\0{password}"))
    plain = base64.b64encode(f"\0joe\0{password}".encode()).decode()

    assert redactor.cleaned(f"535 {password}, {plain}", 100).startswith("535 ***, ***")
    assert redactor.cleaned("535 authentication failed", 100) == "535 authentication failed"


def test_a_secret_is_not_cut_in_half() -> None:
    text = "x" * 95 + "s3cret"

    assert "s3" not in Redactor(("s3cret",)).cleaned(text, 98)


def test_a_secret_with_odd_blanks_is_found_after_cleaning() -> None:
    assert Redactor(("a  b\tc",)).cleaned("it is a b c!", 100) == "it is ***!"
