"""Which addresses are accepted, and how long one is remembered."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.processors.email.addresses import (
    AddressBook,
    Mailbox,
    is_address,
    normalized,
    wire_address,
)

GOOD = [
    "jane@example.com",
    "Jane.Doe+tag@Example.COM",
    "o'brien@example.com",
    "-dash@example.com",
    "root@localhost",
    "a@b.c.d.e",
    "üser@example.com",
    "user@bücher.example",
    "用户@例子.公司",
    "jane@例子。公司",
    "jane@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com",
    "jane@" + "x" * 63 + ".example",
    "x" * 64 + "@example.com",
]

BAD = [
    "",
    " ",
    "jane",
    "@example.com",
    "jane@",
    "jane@@example.com",
    "a@b@c",
    " jane@example.com",
    "jane@example.com ",
    "jane doe@example.com",
    "jane@exa mple.com",
    "jane@example.com\r\nBcc: all@example.com",
    "jane@example.com\n",
    "jane\r@example.com",
    "jane\0@example.com",
    "jane\t@example.com",
    "jane\x7f@example.com",
    "jane\u2028@example.com",
    "jane\u00a0doe@example.com",
    "jane\u202e@example.com",
    "jane\u200b@example.com",
    "jane\ud800@example.com",
    "jane\ue000@example.com",
    '"jane doe"@example.com',
    "Jane <jane@example.com>",
    "<jane@example.com>",
    "jane@example.com,joe@example.com",
    "jane@example.com;joe@example.com",
    "jane:joe@example.com",
    "jane(comment)@example.com",
    "jane\\@example.com",
    ".jane@example.com",
    "jane.@example.com",
    "ja..ne@example.com",
    "jane@.example.com",
    "jane@example.com.",
    "jane@example..com",
    "jane@-example.com",
    "jane@[127.0.0.1]",
    "jane@bücher.example.",
    "jane@-bücher.-example",
    "jane@bü..cher.example",
    "jane@exam\u200bple.com",
    "jane@exam\u00adple.com",
    "ja\u200cne@example.com",
    "jane@x\u200cü.example",
    "jane@\u0301x.example",
    "jane@evil\uff20ü.example",
    "jane@℀.ü",
    "jane@" + "x" * 64 + ".example",
    "jane@" + "ü" * 60 + ".example",
    "jane@" + ".".join(["ü" * 20] * 10),
    "</script>@example.com",
    "x" * 65 + "@example.com",
    "ü" * 33 + "@example.com",
    "jane@" + "x" * 250,
    "jane@" + "ü" * 130,
    "x" * 1_000_000 + "@example.com",
]

UPSTREAM_FORBIDS = ' \t\r\n",;<>:'


@pytest.mark.parametrize("text", GOOD)
def test_is_an_address(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:40])
def test_is_no_address(text: str) -> None:
    assert not is_address(text)


@given(st.text(max_size=40) | st.from_regex(r"[^\n]{0,8}@[^\n]{0,8}", fullmatch=True))
def test_what_passes_can_stand_on_a_command_line_and_in_a_header(text: str) -> None:
    if is_address(text):
        assert text.count("@") == 1
        assert text[0] != "@" != text[-1]
        assert not set(text) & set(UPSTREAM_FORBIDS)
        assert text.replace("\u200c", "").replace("\u200d", "").isprintable()
        address = wire_address(text)
        assert len(address.encode()) <= 254
        assert wire_address(address) == address
        assert address.rpartition("@")[0] == text.rpartition("@")[0]
        assert address.rpartition("@")[2].isascii()
        assert normalized(address) == normalized(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Jane.Doe@Example.COM", "Jane.Doe@Example.COM"),
        ("Jürgen@BÜCHER.example", "Jürgen@xn--bcher-kva.example"),
        ("juergen@bücher.example", "juergen@xn--bcher-kva.example"),
        ("juergen@xn--bcher-kva.example", "juergen@xn--bcher-kva.example"),
        ("jane@mail\uff0eexample。com", "jane@mail.example.com"),
    ],
)
def test_only_the_domain_is_written_in_ascii(text: str, address: str) -> None:
    assert wire_address(text) == address


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("jane@" + "ü" * 60 + ".example", "at most 63"),
        ("jane@אa.example", "right-to-left"),
        ("jane@exa mple.com", "valid: name@example.com"),
        ("x" * 65 + "@example.com", "64 octets before its @"),
        ("x" * 300, "254 characters"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        wire_address(text)

    assert str(caught.value).isascii()


def test_addresses_are_compared_with_their_domains_in_ascii() -> None:
    forms = ("Ada@münchen.example", "ada@XN--mnchen-3ya.example", " ada@MÜNCHEN。example")

    assert {normalized(form) for form in forms} == {"ada@xn--mnchen-3ya.example"}


def test_addresses_are_compared_without_case_and_surrounding_space() -> None:
    assert normalized(" Jane@Example.COM ") == normalized("jane@example.com")


@pytest.mark.parametrize(
    ("text", "display_name", "address"),
    [
        ("a@b.c", "", "a@b.c"),
        ("<a@b.c>", "", "a@b.c"),
        ("Platform Team <a@b.c>", "Platform Team", "a@b.c"),
        ('"Platform, Team" <a@b.c>', "Platform, Team", "a@b.c"),
        ('"Say \\"hi\\"" <a@b.c>', 'Say "hi"', "a@b.c"),
        ("Plätförm <ü@b.c>", "Plätförm", "ü@b.c"),
        ("\u202eEvil <a@b.c>", "Evil", "a@b.c"),
        ("x" * 1000 + " <a@b.c>", "x" * 127 + "…", "a@b.c"),
    ],
)
def test_a_mailbox_may_have_a_name(text: str, display_name: str, address: str) -> None:
    assert Mailbox.parse(text) == Mailbox(display_name=display_name, address=address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "a@b@c",
        "Name",
        "Name <>",
        "a@b.c\r\nBcc: x@y.z",
        "Na\nme <a@b.c>",
        "Nul\0 <a@b.c>",
        "a@b.c, d@e.f",
        "Two <a@b.c> <d@e.f>",
        "a@b.c d@e.f",
    ],
)
def test_a_mailbox_is_one_valid_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"name@example\.com"):
        Mailbox.parse(text)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_is_used_until_its_time_is_over() -> None:
    clock = Clock()
    book = AddressBook(timedelta(hours=1), clock)

    assert book.address_of("user:default/jane", "old@example.com") == "old@example.com"
    clock.now += 3599
    assert book.address_of("user:default/jane", "new@example.com") == "old@example.com"
    assert book.address_of("user:default/jane", None) == "old@example.com"
    clock.now += 1
    assert book.address_of("user:default/jane", "new@example.com") == "new@example.com"


def test_use_does_not_prolong_it() -> None:
    clock = Clock()
    book = AddressBook(timedelta(seconds=10), clock)

    book.address_of("user:default/jane", "old@example.com")
    for _ in range(9):
        clock.now += 1
        book.address_of("user:default/jane", "new@example.com")
    clock.now += 1

    assert book.address_of("user:default/jane", "new@example.com") == "new@example.com"


@pytest.mark.parametrize("useless", [None, "", "not an address"])
def test_that_there_is_none_is_not_remembered(useless: str | None) -> None:
    book = AddressBook(timedelta(hours=1), Clock())

    assert book.address_of("user:default/jane", useless) in (None, "not an address")
    assert book.address_of("user:default/jane", "new@example.com") == "new@example.com"


def test_without_a_time_nothing_is_remembered() -> None:
    book = AddressBook(timedelta(0), Clock())

    assert book.address_of("user:default/jane", "old@example.com") == "old@example.com"
    assert book.address_of("user:default/jane", None) is None


def test_what_is_over_does_not_pile_up() -> None:
    clock = Clock()
    book = AddressBook(timedelta(seconds=1), clock)

    for number in range(20_000):
        clock.now += 0.01
        book.address_of(f"user:default/u{number}", f"u{number}@example.com")

    assert len(book._entries) < 3000
