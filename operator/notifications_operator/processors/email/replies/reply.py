"""Replies of an SMTP server (RFC 5321 section 4.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from ..redaction import Redactor
from ..text import one_line

MAX_REPLY_TEXT = 256
"""Characters of a server's text that are passed on."""

MAX_WORDS = 1024
"""Characters of it that are searched for words, which bounds the time that takes."""

_BEYOND_HOST = re.compile(r"((?:https?://|\bwww\.)[^\s/?#]*)[/?#]\S*", re.IGNORECASE)
"""A URL, whose host can say who keeps a list, and whose path is the name of a page."""

_ENHANCED = re.compile(r"(?P<code>(?P<class>[245])\.\d{1,3}\.\d{1,3})(?:\s+|$)")


class Phase(StrEnum):
    """Step of a session that a reply answers, as messages name it."""

    GREETING = "the connection"
    HELLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    RSET = "RSET"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    MESSAGE = "the message"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One reply, its text cleaned.

    Attributes
    ----------
    text
        For people: on one line, without credentials, cut.
    said
        The whole text on one line. Never passed on, because it may contain credentials.
    """

    code: int
    enhanced_code: str | None
    text: str
    said: str = field(repr=False)

    @cached_property
    def words(self) -> str:
        """The text for rules: in lower case, of URLs no more than their hosts, cut later.

        Never passed on: a user name that is the sender's address must be found in it.
        """
        return one_line(_BEYOND_HOST.sub(r"\1", self.said), MAX_WORDS).lower()

    @classmethod
    def parse(cls, code: int, text: str, redactor: Redactor) -> Reply:
        """Read a reply.

        Parameters
        ----------
        code
            The reply code.
        text
            The text of all its lines, joined by line feeds.
        redactor
            Takes credentials out of the text.
        """
        enhanced = None
        lines = []
        for line in text.split("\n"):
            # RFC 2034 section 4: the code stands on every line and agrees with the reply code.
            match = _ENHANCED.match(line)
            if match is not None and match["class"] == str(code)[:1]:
                enhanced = enhanced or match["code"]
                lines.append(line[match.end() :])
            else:
                lines.append(line)
        joined = " ".join(lines)
        return cls(
            code=code,
            enhanced_code=enhanced,
            text=redactor.cleaned(joined, MAX_REPLY_TEXT),
            said=joined,
        )

    @property
    def positive(self) -> bool:
        """Whether what was asked for is done (2yz)."""
        return 200 <= self.code <= 299

    @property
    def negative(self) -> bool:
        """Whether it was refused, for now (4yz) or for good (5yz)."""
        return 400 <= self.code <= 599

    @property
    def permanent(self) -> bool:
        """Whether it was refused for good (5yz)."""
        return self.code >= 500

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced_code, self.text)))
