"""E-mail addresses: which are accepted, when two are one, and how long one is remembered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

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
_LABEL = r"[A-Za-z0-9_\x80-\U0010ffff]([A-Za-z0-9_\x80-\U0010ffff-]*[A-Za-z0-9_\x80-\U0010ffff])?"
_ADDRESS = re.compile(rf"(?P<local>{_ATEXT}(\.{_ATEXT})*)@(?P<domain>{_LABEL}(\.{_LABEL})*)")


def is_address(text: str) -> bool:
    """Say whether a text can be a mailbox on the wire.

    It is the ``Dot-string@Domain`` of RFC 5321 section 4.1.2, with the characters that RFC 6531
    adds. So nothing passes that upstream's ``isValidNotificationEmail`` refuses, with one
    exception: the apostrophe, which upstream refuses and people have in their names. Quoted local
    parts and address literals do not pass.
    """
    if len(text) > MAX_ADDRESS_OCTETS or not (text.isascii() or text.isprintable()):
        return False
    match = _ADDRESS.fullmatch(text)
    return (
        match is not None
        and len(match["local"].encode()) <= MAX_LOCAL_PART_OCTETS
        and len(text.encode()) <= MAX_ADDRESS_OCTETS
    )


def normalized(address: str) -> str:
    """Return the form under which addresses are compared: upstream's trimmed lower case."""
    return address.strip().lower()


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
        if not is_address(address):
            raise ValueError(f"write {VALID_ADDRESS} or Name <{VALID_ADDRESS}>")
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
