"""Domains outside ASCII as DNS has them, and addresses as EHLO says them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.processors.email.domains import (
    address_literal,
    ascii_domain,
    normalized_domain,
)

# What browsers make of them (Node.js' url.domainToASCII).
DOMAINS = [
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.Example", "xn--bcher-kva.example"),
    ("bu\u0308cher.example", "xn--bcher-kva.example"),
    ("sub.bücher.example", "sub.xn--bcher-kva.example"),
    ("xn--bcher-kva.bücher.example", "xn--bcher-kva.xn--bcher-kva.example"),
    ("a_b.bücher.example", "a_b.xn--bcher-kva.example"),
    ("straße.example", "xn--strae-oqa.example"),
    ("例子.公司", "xn--fsqu00a.xn--55qx5d"),
    ("почта.рф", "xn--80a1acny.xn--p1ai"),
    ("例子。公司", "xn--fsqu00a.xn--55qx5d"),
    ("mail\uff0eexample\uff61com", "mail.example.com"),
    ("\uff4d\uff41\uff49\uff4c.example", "mail.example"),
    ("ΣΑΣ.gr", "xn--mxa9ab.gr"),
    ("العربية.example", "xn--mgbcd4a2b0d2b.example"),
    ("נעמי.example", "xn--eebjfi.example"),
    ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com", "xn--mgba3gch31f060k.com"),
    ("i❤\ufe0f.ws", "xn--i-7iq.ws"),
    ("ü.", "xn--tda."),
]

NONE = [
    "ü" * 60 + ".example",
    "ü" * 2000,
    "\u0301x.example",
    "x\u200cü.example",
    "אa.example",
    "\ue000.example",
    "\ud800.example",
    "ü\u202e.example",
    "evil\uff20ü.example",
    "℀.ü",
    "\u0384.example",
]


@pytest.mark.parametrize(("domain", "expected"), DOMAINS, ids=ascii)
def test_domain_outside_ascii(domain: str, expected: str) -> None:
    assert ascii_domain(domain) == expected


@pytest.mark.parametrize("domain", ["Mail.Example.COM", "r3---sn.example", "xn--no.punycode", ""])
def test_domain_in_ascii_is_left_as_it_is(domain: str) -> None:
    assert ascii_domain(domain) == domain


@pytest.mark.parametrize("domain", NONE, ids=lambda domain: ascii(domain)[:30])
def test_domain_without_a_form_in_ascii(domain: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ascii_domain(domain)

    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@given(st.text(max_size=20) | st.from_regex(r"[\w.]{1,12}", fullmatch=True))
def test_form_in_ascii_is_final(domain: str) -> None:
    try:
        found = ascii_domain(domain)
    except ValueError:
        return
    assert found.isascii()
    assert ascii_domain(found) == found
    assert normalized_domain(domain) == normalized_domain(found)


def test_domains_are_compared_as_dns_does() -> None:
    forms = ("bücher.example", " BÜCHER.EXAMPLE ", "XN--Bcher-KVA.example", "bücher。example")
    assert {normalized_domain(form) for form in forms} == {"xn--bcher-kva.example"}


@pytest.mark.parametrize("domain", NONE, ids=lambda domain: ascii(domain)[:30])
def test_no_domain_equals_only_itself(domain: str) -> None:
    assert normalized_domain(f" {domain} ") == domain.lower()


@pytest.mark.parametrize(
    ("address", "literal"),
    [
        ("10.1.2.3", "[10.1.2.3]"),
        ("2001:DB8:0:0::25", "[IPv6:2001:db8::25]"),
        ("::1", "[IPv6:::1]"),
        ("::ffff:10.1.2.3", "[10.1.2.3]"),
        ("fe80::1%eth0", "[IPv6:fe80::1]"),
    ],
)
def test_address_literal(address: str, literal: str) -> None:
    assert address_literal(address) == literal


@pytest.mark.parametrize("address", ["", "mail.example.com", "10.1.2", "10.1.2.3.4", "[10.1.2.3]"])
def test_no_address_has_no_literal(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        address_literal(address)
