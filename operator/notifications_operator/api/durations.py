"""Durations as users write them: Backstage's forms, and Kubernetes' own (GEP-2257)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from .appconfig import read_amount

UNIT_SECONDS = {
    "years": 365.25 * 86400,
    "months": 30.4375 * 86400,
    "weeks": 7 * 86400,
    "days": 86400,
    "hours": 3600,
    "minutes": 60,
    "seconds": 1,
    "milliseconds": 0.001,
}
"""Units of the object form, in seconds."""

LARGEST_AMOUNT = 1_000_000_000_000
"""Largest amount of one unit in the object form."""

LONGEST = timedelta(days=36525)
"""A hundred years: whatever is longer counts as this."""

_TEXT_UNITS = {
    "years": ("years", "year", "yrs", "yr", "y"),
    "weeks": ("weeks", "week", "w"),
    "days": ("days", "day", "d"),
    "hours": ("hours", "hour", "hrs", "hr", "h"),
    "minutes": ("minutes", "minute", "mins", "min", "m"),
    "seconds": ("seconds", "second", "secs", "sec", "s"),
    "milliseconds": ("milliseconds", "millisecond", "msecs", "msec", "ms"),
}
_UNIT_OF_TEXT = {text: unit for unit, texts in _TEXT_UNITS.items() for text in texts}
_NUMBER = r"([0-9]+(\.[0-9]+)?|\.[0-9]+)"

DURATION_PATTERN = (
    "^("
    rf"{_NUMBER} *"
    r"(?i:(millisecond|second|minute|hour|day|week|year)s?|(msec|sec|min|hr|yr)s?|ms|[smhdwy])"
    r"|P([0-9]+Y)?([0-9]+M)?([0-9]+W)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]+)?S)?)?"
    ")$"
)
"""A number with a unit as in the npm package ``ms``, or an ISO 8601 duration."""

DURATION_END_PATTERN = "[^PT]$"
"""Beside `DURATION_PATTERN`: an ISO 8601 duration names at least one unit, also after its T."""

DURATION_MAX_LENGTH = 64
"""Longest text form, in characters."""

_TEXT = re.compile(rf"{_NUMBER} *(.+)")
_ISO = re.compile(
    r"P(?=.)(?:(?P<years>[0-9]+)Y)?(?:(?P<months>[0-9]+)M)?(?:(?P<weeks>[0-9]+)W)?"
    r"(?:(?P<days>[0-9]+)D)?(?:T(?=.)(?:(?P<hours>[0-9]+)H)?(?:(?P<minutes>[0-9]+)M)?"
    r"(?:(?P<seconds>[0-9]+(?:\.[0-9]+)?)S)?)?"
)
VALID_FORMS = (
    "an object such as {minutes: 5}, a string such as '100ms' or '5 minutes', "
    "an ISO 8601 duration such as 'PT5M', or 0"
)
"""The forms that are accepted, as messages name them."""

GO_DURATION_PATTERN = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
"""A duration as the Gateway API writes it (GEP-2257), such as ``24h`` or ``1m30s``."""

_GO_PART = re.compile("([0-9]+)(h|ms|m|s)")
_GO_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def parse_duration(value: Any) -> timedelta:
    """Read a duration from configuration.

    Parameters
    ----------
    value
        One of the forms of Backstage's configuration (``readDurationFromConfig``): an object of
        ``years`` to ``milliseconds``, a string with one number and one unit, or an ISO 8601
        duration. Zero needs no unit.

    Returns
    -------
    timedelta
        The duration, at most `LONGEST`. A month counts 30.4375 days and a year 365.25.

    Raises
    ------
    ValueError
        If the value has none of these forms; other bare numbers are refused, as upstream does.
    """
    if isinstance(value, timedelta):
        return value
    return timedelta(seconds=min(_seconds(value), LONGEST.total_seconds()))


def _seconds(value: Any) -> float:
    match value:
        case dict():
            return _seconds_of_object(value)
        case str() if len(value) <= DURATION_MAX_LENGTH:
            seconds = _seconds_of_text(value)
            if seconds is not None:
                return seconds
        case bool():
            pass
        case int() | float() if value == 0:
            return 0.0
        case _:
            pass
    raise ValueError(f"{str(value)[:64]!r} is no duration; write {VALID_FORMS}")


def _seconds_of_text(text: str) -> float | None:
    if match := _ISO.fullmatch(text):
        parts = match.groupdict()
        return sum(float(parts[unit] or 0) * UNIT_SECONDS[unit] for unit in parts)
    match = _TEXT.fullmatch(text)
    if match and (unit := _UNIT_OF_TEXT.get(match[3].casefold())):
        return float(match[1]) * UNIT_SECONDS[unit]
    return None


def _seconds_of_object(value: Mapping[Any, Any]) -> float:
    # The API server drops nulls before it validates; here they count as absent as well.
    given = {unit: read_amount(amount) for unit, amount in value.items() if amount is not None}
    if not given:
        raise ValueError(f"an empty object is no duration; write {VALID_FORMS}")
    total = 0.0
    for unit, amount in given.items():
        if unit not in UNIT_SECONDS:
            raise ValueError(f"{str(unit)[:64]!r} is no unit; valid: {', '.join(UNIT_SECONDS)}")
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise ValueError(f"{unit}: {str(amount)[:64]!r} is no number")  # noqa: TRY004
        if not 0 <= amount <= LARGEST_AMOUNT:
            raise ValueError(f"{unit} must be from 0 to {LARGEST_AMOUNT}")
        total += amount * UNIT_SECONDS[unit]
    return total


def parse_go_duration(value: Any) -> timedelta:
    """Read a duration of the Gateway API's form (GEP-2257).

    Raises
    ------
    ValueError
        If the value is not of the form `GO_DURATION_PATTERN`.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(GO_DURATION_PATTERN[1:-1], value):
        raise ValueError(
            f"{str(value)[:64]!r} is no duration; write whole numbers with the units h, m, s and "
            "ms, such as 24h, 1m30s or 500ms"
        )
    return timedelta(
        milliseconds=sum(
            int(number) * _GO_MILLISECONDS[unit] for number, unit in _GO_PART.findall(value)
        )
    )


def format_go_duration(value: timedelta) -> str:
    """Format a duration in the Gateway API's form, with the largest units first."""
    rest = round(value.total_seconds() * 1000)
    text = ""
    for unit, milliseconds in _GO_MILLISECONDS.items():
        amount, rest = divmod(rest, milliseconds)
        text += f"{amount}{unit}" if amount else ""
    return text or "0s"


def _format_milliseconds(value: timedelta) -> dict[str, int]:
    return {"milliseconds": round(value.total_seconds() * 1000)}


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(_format_milliseconds)
]
"""A duration in any of Backstage's forms."""

GoDuration = Annotated[
    timedelta, BeforeValidator(parse_go_duration), PlainSerializer(format_go_duration)
]
"""A duration in the Gateway API's form."""
