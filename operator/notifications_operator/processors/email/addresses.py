"""E-mail addresses: their form on the wire, when two are one, how long one is remembered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from ...catalog.quoting import quoted
from .domains import JOINERS, ascii_domain, normalized_domain
from .text import one_line

MAX_ADDRESS_OCTETS = 254
"""RFC 5321 section 4.5.3.1.3: a path has at most 256 octets, its angle brackets included."""

MAX_LOCAL_PART_OCTETS = 64
"""RFC 5321 section 4.5.3.1.1."""

MAX_DISPLAY_NAME = 128
"""Characters of a display name."""

VALID_ADDRESS = "name@example.com"
"""What an address looks like, as messages say it."""

# Beyond ASCII whatever is printable, as RFC 6531 allows: not white space, not control or format
# characters (such as right-to-left overrides), no surrogates, nothing private or unassigned.
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_ADDRESS = re.compile(rf"(?P<local>{_ATEXT}(\.{_ATEXT})*)@{_LABEL}(\.{_LABEL})*")
_JOINERS_DROPPED = dict.fromkeys(map(ord, JOINERS))


def wire_address(text: str) -> str:
    """Return an address as envelope and header fields have it: its domain in ASCII.

    It is the ``Dot-string@Domain`` of RFC 5321 section 4.1.2; the local part, which is left as it
    is, may have the characters that RFC 6531 adds. So nothing passes that upstream's
    ``isValidNotificationEmail`` refuses, with one exception: the apostrophe, which upstream
    refuses and people have in their names. Quoted local parts and address literals do not pass.

    Raises
    ------
    ValueError
        If it is no such address; the message says what is wrong, or at least what is valid.
    """
    if len(text) > MAX_ADDRESS_OCTETS:
        raise ValueError(f"it has more than {MAX_ADDRESS_OCTETS} characters")
    address = text if text.isascii() else _with_ascii_domain(text)
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(f"valid: {VALID_ADDRESS}")
    if _octets(match["local"]) > MAX_LOCAL_PART_OCTETS:
        raise ValueError(f"it has more than {MAX_LOCAL_PART_OCTETS} octets before its @")
    if _octets(address) > MAX_ADDRESS_OCTETS:
        raise ValueError(f"it has more than {MAX_ADDRESS_OCTETS} octets")
    return address


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _with_ascii_domain(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if not (local.isprintable() and domain.translate(_JOINERS_DROPPED).isprintable()):
        raise ValueError(f"valid: {VALID_ADDRESS}")
    try:
        return f"{local}{at}{ascii_domain(domain)}"
    except ValueError as error:
        raise ValueError(f"its domain has no form in ASCII: {error}") from None


def is_address(text: str) -> bool:
    """Say whether a text can be a mailbox on the wire; see `wire_address`."""
    try:
        wire_address(text)
    except ValueError:
        return False
    return True


def normalized(address: str) -> str:
    """Return the form under which addresses are compared: upstream's, and the domain in ASCII.

    Upstream's is trimmed and in lower case.
    """
    if address.isascii():
        return address.strip().lower()
    local, at, domain = address.strip().rpartition("@")
    return f"{local.lower()}{at}{normalized_domain(domain)}"


def domain_of(address: str) -> str:
    """Return what follows the last ``@``."""
    return address.rpartition("@")[2]


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """A display name, which may be empty, and an address (RFC 5322 section 3.4)."""

    display_name: str
    address: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``address``, ``<address>`` or ``Name <address>``.

        Raises
        ------
        ValueError
            If it is none of these.
        """
        if (match := _MAILBOX.fullmatch(text)) is not None:
            display_name, address = match["name"], match["address"]
        else:
            display_name, address = "", text
        try:
            wire_address(address)
        except ValueError as error:
            raise ValueError(
                f"write {VALID_ADDRESS} or Name <{VALID_ADDRESS}> ({quoted(address)}: {error})"
            ) from None
        if (quoted_name := _QUOTED.fullmatch(display_name)) is not None:
            display_name = _QUOTED_PAIR.sub(r"\1", quoted_name["text"])
        return cls(display_name=one_line(display_name, MAX_DISPLAY_NAME), address=address)


_MAILBOX = re.compile(r" *(?P<name>[^<>\x00-\x1f\x7f-\x9f]*?) *<(?P<address>[^<>]+)> *")
_QUOTED = re.compile(r'"(?P<text>.*)"')
_QUOTED_PAIR = re.compile(r"\\(.)")


class AddressBook:
    """Addresses of users, remembered for a while (upstream ``cache.ttl``).

    An address that was looked up once goes on being used for `ttl`, even if the catalog changes or
    loses it. That somebody has none is not remembered: upstream does, and so ignores a new address
    until the time is over.
    """

    def __init__(self, ttl: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._entries: dict[str, tuple[str, float]] = {}
        self._purge_at = _PURGE_MINIMUM

    def address_of(self, ref: str, current: str | None) -> str | None:
        """Return a user's address.

        Parameters
        ----------
        ref
            The user.
        current
            What the catalog says now. Remembered only if it is an address.
        """
        now = self._clock()
        if (entry := self._entries.get(ref)) is not None and now < entry[1]:
            return entry[0]
        if not current:
            return None
        if self._ttl > 0 and is_address(current):
            self._entries[ref] = (current, now + self._ttl)
            self._purge(now)
        return current

    def _purge(self, now: float) -> None:
        """Drop what is over whenever the book has doubled: constant time per entry."""
        if len(self._entries) < self._purge_at:
            return
        self._entries = {ref: entry for ref, entry in self._entries.items() if now < entry[1]}
        self._purge_at = max(_PURGE_MINIMUM, 2 * len(self._entries))


_PURGE_MINIMUM = 1024
