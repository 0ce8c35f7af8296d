"""Answers of the API server for a client that parses them itself: kopf."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, cast

import aiohttp

from .lines import LineTooLongError, read_lines
from .nesting import bound_nesting

_EXPIRED = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}}).encode()
"""Watch event that makes a client begin again with a list."""


class BoundedResponse(aiohttp.ClientResponse):
    """An answer in which nothing is nested too deeply to be parsed.

    The lines of a watch come whole, and one that is longer than any object can be ends the watch
    as an expired resource version does: whoever reads it lists again.
    """

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the head of the answer."""
        await super().start(connection)
        if "watch" in self.url.query:
            self.content = cast(aiohttp.StreamReader, _BoundedLines(self.content))
        return self

    async def read(self) -> bytes:
        """Return the body."""
        self._body = bound_nesting(await super().read())
        return self._body


class _BoundedLines:
    """The content of a watch, which is read in chunks; everything else is the stream's."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, _: int) -> AsyncGenerator[bytes, None]:
        """Yield a line at a time, however long it is."""
        try:
            async for line in read_lines(self._content):
                yield bound_nesting(line) + b"\n"
        except LineTooLongError:
            yield _EXPIRED + b"\n"
