"""Lines of a watch: an event each, of any size that the API server can make."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import aiohttp

LINE_LIMIT = 32 * 1024 * 1024
"""Most bytes of one line.

etcd takes requests of 1.5 MiB unless told otherwise. Go writes ``<``, ``>`` and ``&`` as six bytes
each, so that a ConfigMap of 1 MiB can be a line of more than 6 MiB. aiohttp's own reading of lines
ends at twice its buffer.
"""


class LineTooLongError(Exception):
    """A line has more than `LINE_LIMIT` bytes; what follows it was not read."""


async def read_lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a stream without their ends, and without empty ones.

    Raises
    ------
    LineTooLongError
        If a line has more than `LINE_LIMIT` bytes.
    """
    parts: list[bytes] = []
    size = 0
    async for data in content.iter_any():
        *ended, rest = data.split(b"\n")
        for part in ended:
            if line := b"".join((*parts, part)):
                yield line
            parts, size = [], 0
        if rest:
            parts.append(rest)
            size += len(rest)
        if size > LINE_LIMIT:
            raise LineTooLongError(f"a line has more than {LINE_LIMIT} bytes")
    if parts:
        yield b"".join(parts)
