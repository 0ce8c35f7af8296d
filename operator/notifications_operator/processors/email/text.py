"""Text from outside, made fit for mail."""

from __future__ import annotations

import re

CUT_MARK = "…"
"""Ends a text that was cut."""

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_BLANK_RUN = re.compile(f"[ {_CONTROLS}]+")
_LINE_END = re.compile("\r\n|[\r\x85\u2028\u2029]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BIDI_FORMATTING = re.compile("[\u202a-\u202e\u2066-\u2069]")


def one_line(value: str, limit: int) -> str:
    """Return a text on one line and of at most `limit` characters.

    Line breaks and control characters become spaces, so that no header can be added by a value.
    Embeddings, overrides and isolates of the bidirectional algorithm (UAX #9 section 2) are
    dropped: they can make ``gpj.exe`` read ``exe.jpg`` and turn around what follows. The marks
    LRM, RLM and ALM stay, because they cannot. Lone surrogates, which no encoding can carry,
    become U+FFFD.
    """
    return _cut(_BLANK_RUN.sub(" ", _representable(value)).strip(" "), limit)


def lines(value: str, limit: int) -> list[str]:
    """Return a text's lines, of at most `limit` characters together.

    As `one_line`, but line breaks are kept, tabs too, and control characters become U+FFFD.
    """
    text = _LINE_END.sub("\n", _representable(value))
    return _cut(_CONTROL_IN_LINES.sub("\ufffd", text).strip("\n"), limit).split("\n")


def _representable(value: str) -> str:
    return _BIDI_FORMATTING.sub("", _SURROGATE.sub("\ufffd", value))


def _cut(value: str, limit: int) -> str:
    if len(value) <= limit:
        return value
    return value[: limit - len(CUT_MARK)].rstrip(" ") + CUT_MARK
