"""Numbers and booleans as Backstage's app-config has them: also in quotes.

Environment substitution makes strings, and ``@backstage/config`` (``ConfigReader``) takes what they
say. Each pattern is the API server's as well.
"""

from __future__ import annotations

import re
from typing import Any

TEXT_MAX_LENGTH = 32
"""Longest number in quotes, in characters."""

BOOLEAN_MAX_LENGTH = 16
"""Longest boolean in quotes, in characters."""

PORT_PATTERN = (
    "^ *[+]?0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]"
    "|6553[0-5])([.]0*)? *$"
)
"""A number from 1 to 65535 in quotes."""

HUNDRED_PATTERN = "^ *[+]?0*([1-9][0-9]?|100)([.]0*)? *$"
"""A number from 1 to 100 in quotes."""

AMOUNT_PATTERN = r"^ *[+]?([0-9]{1,12}([.][0-9]*)?|[.][0-9]+) *$"
"""A number of a duration's unit in quotes."""

BOOLEAN_PATTERN = "^ *(?i:y|yes|true|1|on|n|no|false|0|off) *$"
"""A boolean in quotes."""

FALSE_PATTERN = "^ *(?i:n|no|false|0|off) *$"
"""The texts of `BOOLEAN_PATTERN` that mean false."""


def read_integer(value: Any) -> Any:
    """Return what a whole number in quotes says, and other values as they are.

    Raises
    ------
    ValueError
        If a text says no whole number, or the value is a boolean.
    """
    if isinstance(value, str) and len(value) <= TEXT_MAX_LENGTH:
        match = re.fullmatch(r" *[+]?([0-9]+)([.]0*)? *", value)
        if match is not None:
            return int(match[1])
    if isinstance(value, bool | str):
        raise ValueError(f"{str(value)[:64]!r} is no integer")  # noqa: TRY004 - for pydantic
    return value


def read_amount(value: Any) -> Any:
    """Return what a number in quotes says, and other values as they are."""
    is_number = isinstance(value, str) and re.fullmatch(AMOUNT_PATTERN[1:-1], value)
    return float(value) if is_number and len(value) <= TEXT_MAX_LENGTH else value


def read_boolean(value: Any) -> Any:
    """Return what 1, 0 or a word for true or false says, and other values as they are."""
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    is_word = isinstance(value, str) and re.fullmatch(BOOLEAN_PATTERN[1:-1], value)
    if is_word and len(value) <= BOOLEAN_MAX_LENGTH:
        return re.fullmatch(FALSE_PATTERN[1:-1], value) is None
    return value
