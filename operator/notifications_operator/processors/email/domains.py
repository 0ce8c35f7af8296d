"""Hosts as SMTP names them: domains in ASCII, and addresses as literals."""

from __future__ import annotations

import ipaddress
import re

import idna

JOINERS = "\u200c\u200d"
"""Invisible characters that some scripts need between letters (RFC 5892 appendix A)."""

_ASCII_DOMAIN = re.compile("[A-Za-z0-9_.-]+")

_MAX_REASON = 120
"""Characters of idna's reason that a message repeats."""


def ascii_domain(domain: str) -> str:
    """Return a domain with its labels outside ASCII as A-labels (RFC 5890).

    They are mapped by UTS #46 without transitional processing, as browsers do: letters to lower
    case and to their composed forms, the dots of other scripts to ``.``; ``ß`` stays itself. What
    UTS #46 allows goes, symbols too: IDNA 2008 alone would refuse domains that exist and that
    nodemailer, and so Backstage, reaches. A domain in ASCII is returned as it is.

    Raises
    ------
    ValueError
        If there is no such form; the message says why, in ASCII.
    """
    if domain.isascii():
        return domain
    try:
        mapped = idna.uts46_remap(domain, std3_rules=False)
        found = ".".join(map(_ascii_label, mapped.split(".")))
    except idna.IDNAError as error:
        raise ValueError(ascii(str(error))[1:-1][:_MAX_REASON]) from None
    if not _ASCII_DOMAIN.fullmatch(found):
        raise ValueError(f"{ascii(found)[:_MAX_REASON]} is no domain")
    return found


def normalized_domain(domain: str) -> str:
    """Return the form under which domains are compared; what is no domain equals only itself."""
    trimmed = domain.strip()
    try:
        return ascii_domain(trimmed).lower()
    except ValueError:
        return trimmed.lower()


def address_literal(host: str) -> str:
    """Return an IP address as EHLO says it, such as ``[192.0.2.1]`` (RFC 5321 section 4.1.3).

    An IPv4 address in IPv6's clothes is shown as what it is, and without the zone that a
    link-local address has on this machine.

    Raises
    ------
    ValueError
        If it is none.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return f"[{address.ipv4_mapped}]" if address.ipv4_mapped else f"[IPv6:{address}]"
    return f"[{address}]"


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    idna.check_initial_combiner(label)
    idna.check_bidi(label)
    for position, character in enumerate(label):
        if character in JOINERS and not idna.valid_contextj(label, position):
            raise idna.IDNAError(f"U+{ord(character):04X} cannot stand where it does")
    encoded = f"xn--{label.encode('punycode').decode('ascii')}"
    if not idna.valid_label_length(encoded):
        raise idna.IDNAError(f"a part of it has {len(encoded)} characters, at most 63 are allowed")
    return encoded
