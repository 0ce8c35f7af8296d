"""Reads what a request carries: strictly, and never more than it should."""

from __future__ import annotations

import asyncio
import codecs
import json
from dataclasses import dataclass
from email.message import Message
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from ..errors import (
    InputError,
    PayloadTooLargeError,
    RequestTimeoutError,
    UnsupportedMediaTypeError,
)

MAX_DEPTH = 64
"""Levels of nesting in a body."""

MAX_VALUES = 150_000
"""Values in a body, nearly: a megabyte of brackets takes half a second to read, in which no one
else is answered. The largest bodies that are of use have two thirds of it."""

_BEGINNINGS = (b",", b"[", b"{")

_DRAINED = 8
"""How many times the limit is read on and thrown away before a body is refused.

A client that still sends when the connection closes often never sees the answer.
"""


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """Bounds of a request's body: bytes, and seconds to receive them."""

    max_bytes: int
    seconds: float


async def read_body(request: Request, limits: BodyLimits) -> bytes:
    """Return a request's body, which is to be JSON; `parse_json` reads it.

    That takes time: who asks is to be known before.

    Raises
    ------
    UnsupportedMediaTypeError
        If it is not said to be JSON in UTF-8.
    PayloadTooLargeError
        If it has too many bytes.
    InputError
        If it breaks off.
    RequestTimeoutError
        If it does not arrive in time.
    """
    _check_content_type(request)
    try:
        async with asyncio.timeout(limits.seconds):
            return await _read(request, limits.max_bytes)
    except TimeoutError:
        raise RequestTimeoutError(
            f"The body did not arrive within {limits.seconds:g} seconds"
        ) from None
    except ClientDisconnect:
        raise InputError("The body did not arrive") from None


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text (RFC 8259).

    A byte order mark before it is left out, as Express does: PowerShell and some editors write one.

    Raises
    ------
    InputError
        If it is none, nested too deeply, of too many values, or has numbers or texts that cannot
        be stored.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body:
        raise InputError("The body is empty; it must be JSON")
    if sum(map(body.count, _BEGINNINGS)) > MAX_VALUES:
        raise InputError(f"The body has too many values: at most about {MAX_VALUES}")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"The body is not UTF-8 (at byte {error.start})") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"The body is not JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise InputError(_TOO_DEEP) from None
    except ValueError:
        # Python reads no integer of more than 4,300 digits.
        raise InputError("The body has a number that is too long") from None
    _check_values(value)
    return value


_TOO_DEEP = f"The body is nested too deeply: at most {MAX_DEPTH} levels"


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"The body is not JSON: {name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise InputError("The body has a number that is too large")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _check_values(value: Any) -> None:
    """Refuse what is nested too deeply, and texts that cannot be stored."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            match item:
                case str():
                    _check_text(item)
                case dict():
                    below.extend(item)
                    below.extend(item.values())
                case list():
                    below.extend(item)
        if not below:
            return
        level = below
    raise InputError(_TOO_DEEP)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise InputError("The body has a text with U+0000, which cannot be stored")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError("The body has a text with half a surrogate pair, which is no Unicode")


def _check_content_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    header = Message()
    header["Content-Type"] = given or "none/none"
    try:
        kind, charset = header.get_content_type(), header.get_content_charset("utf-8")
    except (TypeError, ValueError, LookupError):
        # RFC 2231's pieces of parameters, put together wrongly.
        raise UnsupportedMediaTypeError("Content-Type: cannot be read") from None
    if kind != "application/json":
        raise UnsupportedMediaTypeError("Content-Type: must be application/json")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaTypeError("Content-Type: charset must be utf-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaTypeError("Content-Encoding: must not be used")


async def _read(request: Request, max_bytes: int) -> bytes:
    """Read the body whole; of one that is too large more is read, and nothing is kept."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= max_bytes:
            parts.append(part)
        else:
            parts.clear()
            if size > max_bytes * _DRAINED:
                break
    if size > max_bytes:
        raise PayloadTooLargeError(f"The body is too large: at most {max_bytes} bytes")
    return b"".join(parts)
