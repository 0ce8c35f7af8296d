"""Durations as Backstage's configuration writes them (``readDurationFromConfig``)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_UNIT_SECONDS = {
    "years": 365.25 * 86400,
    "months": 30.4375 * 86400,
    "weeks": 7 * 86400,
    "days": 86400,
    "hours": 3600,
    "minutes": 60,
    "seconds": 1,
    "milliseconds": 0.001,
}
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
_TEXT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]+)")
_ISO = re.compile(
    r"P(?=.)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=.)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
VALID_FORMS = (
    "an object such as {minutes: 5}, a string such as '100ms' or '5 minutes', "
    "or an ISO 8601 duration such as 'PT5M'"
)
"""The forms that are accepted, as messages name them."""

_LONGEST_SECONDS = 100 * _UNIT_SECONDS["years"]


def parse_duration(value: Any) -> timedelta:
    """Read a duration from configuration.

    Parameters
    ----------
    value
        One of the forms of Backstage's configuration: an object of ``years`` to
        ``milliseconds``, a string with one number and one unit, or an ISO 8601 duration.

    Returns
    -------
    timedelta
        The duration. A month counts 30.4375 days and a year 365.25.

    Raises
    ------
    ValueError
        If the value has none of these forms; bare numbers are refused, as upstream does.
    """
    if isinstance(value, timedelta):
        return value
    seconds = _seconds(value)
    if seconds > _LONGEST_SECONDS:
        raise ValueError(f"{value!r} is too long; at most 100 years")
    return timedelta(seconds=seconds)


def _seconds(value: Any) -> float:
    if isinstance(value, dict):
        return _seconds_of_object(value)
    if isinstance(value, str) and len(value) <= 64:
        if match := _ISO.fullmatch(value):
            parts = match.groupdict()
            return sum(float(parts[unit] or 0) * _UNIT_SECONDS[unit] for unit in parts)
        match = _TEXT.fullmatch(value.strip())
        if match and (unit := _UNIT_OF_TEXT.get(match[2].lower())):
            return float(match[1]) * _UNIT_SECONDS[unit]
    raise ValueError(f"{str(value)[:64]!r} is no duration; write {VALID_FORMS}")


def _seconds_of_object(value: dict[Any, Any]) -> float:
    if not value:
        raise ValueError(f"an empty object is no duration; write {VALID_FORMS}")
    total = 0.0
    for unit, amount in value.items():
        if unit not in _UNIT_SECONDS:
            raise ValueError(f"{str(unit)[:64]!r} is no unit; valid: {', '.join(_UNIT_SECONDS)}")
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not amount >= 0:
            raise ValueError(f"{unit}: {str(amount)[:64]!r} is no amount; write a number from 0")
        total += amount * _UNIT_SECONDS[unit]
    return total


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda value: {"milliseconds": int(value.total_seconds() * 1000)}),
]
"""A duration in any of Backstage's forms."""
