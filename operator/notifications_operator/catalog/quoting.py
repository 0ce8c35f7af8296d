"""Values from outside, made safe for messages."""

from __future__ import annotations

MAX_QUOTED_LENGTH = 80
"""Characters of a value that a message repeats."""


def quoted(value: str) -> str:
    """Return a string in quotes as a message may show it: in ASCII, on one line and not long.

    Control characters, line breaks and right-to-left marks come out as escapes, so that a value
    cannot imitate other lines of a log or of an Event.
    """
    if len(value) <= MAX_QUOTED_LENGTH:
        return ascii(value)
    return f"{value[:MAX_QUOTED_LENGTH]!a}... ({len(value)} characters)"
