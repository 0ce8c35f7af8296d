"""The addresses of a mail, and which of them a text names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Party(StrEnum):
    """One side of a mail."""

    SENDER = "the sender"
    RECIPIENT = "the recipient"


@dataclass(frozen=True, kw_only=True)
class Named:
    """The one party that a text names; ``None`` if it names neither, or both.

    Attributes
    ----------
    by_address
        The party whose address it has.
    by_domain
        The party whose address it has, or else whose domain.
    """

    by_address: Party | None = None
    by_domain: Party | None = None


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Sender and recipient of one mail (RFC 5321 section 2.3.1)."""

    sender: str
    recipient: str

    def named_in(self, words: str) -> Named:
        """Return whom a text in lower case names."""
        sender, recipient = self.sender.lower(), self.recipient.lower()
        address = _only(words, sender, recipient)
        domain = _only(words, sender.rpartition("@")[2], recipient.rpartition("@")[2])
        return Named(by_address=address, by_domain=address or domain)


def _only(words: str, sender: str, recipient: str) -> Party | None:
    if sender == recipient:
        return None
    match _stands_in(words, sender), _stands_in(words, recipient):
        case True, False:
            return Party.SENDER
        case False, True:
            return Party.RECIPIENT
        case _:
            return None


def _stands_in(words: str, name: str) -> bool:
    """Whether an address or a domain stands in a text by itself.

    A domain within an address, a longer name or the host of a URL may be that of a server or of
    its help page, which says nothing about the mail.
    """
    if not name or name not in words:
        return False
    return re.search(rf"(?<![\w.@-])(?<!//){re.escape(name)}(?![\w@-]|\.\w)", words) is not None
