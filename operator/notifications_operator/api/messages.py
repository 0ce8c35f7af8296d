"""Turns validation errors into messages for users."""

from __future__ import annotations

from pydantic import ValidationError

_SHOWN = 5


def describe_validation_error(error: ValidationError) -> str:
    """Return field, problem and value of the first errors, in one line.

    Values are shown in part, because they may be long or hostile.
    """
    problems = error.errors(include_url=False, include_context=False)
    parts = []
    for problem in problems[:_SHOWN]:
        field = ".".join(str(part) for part in problem["loc"])
        place = f"{field}: " if field else ""
        value = repr(problem["input"])
        shown = value if len(value) <= 64 else f"{value[:61]}..."
        text = problem["msg"].removeprefix("Value error, ")
        is_container = isinstance(problem["input"], dict | list)
        parts.append(f"{place}{text}" if is_container else f"{place}{text}, not {shown}")
    if len(problems) > _SHOWN:
        parts.append(f"and {len(problems) - _SHOWN} more")
    return "; ".join(parts)
