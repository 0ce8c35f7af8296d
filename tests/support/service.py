"""What a Service is to its pods: one address, and behind it whoever accepts connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Self

_CHUNK = 64 * 1024

_AT_ONCE = struct.pack("ii", 1, 0)
"""Linger for no time: close(2) resets the connection (socket(7))."""


class Service:
    """Passes each connection on to one of several ports of this machine, chosen at random.

    Parameters
    ----------
    ports
        Whoever listens there; one that refuses is passed over.

    Attributes
    ----------
    trap
        Called with the port from which something comes back, once: what came is kept from the
        client, whose connection is reset.
    """

    def __init__(self, ports: Sequence[int], random: Random) -> None:
        self._ports = ports
        self._random = random
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.trap: Callable[[int], None] | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self) -> int:
        """Reset all connections, on both sides; returns how many sides there were."""
        for writer in self._writers:
            _reset(writer)
        return len(self._writers)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        behind: asyncio.StreamWriter | None = None
        try:
            for port in self._random.sample([*self._ports], len(self._ports)):
                with suppress(OSError):
                    answers, behind = await asyncio.open_connection("127.0.0.1", port)
                    break
            if behind is None:
                return
            self._writers.add(behind)
            # Either direction may end first, as TCP has it; a reset ends both.
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, behind))
                both.create_task(self._pump_back(answers, writer, port))
            writer.close()
            behind.close()
        except* OSError:
            pass
        finally:
            for side in (writer, behind):
                if side is not None:
                    self._writers.discard(side)
                    _reset(side)

    async def _pump_back(
        self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        while data := await answers.read(_CHUNK):
            if self.trap is not None:
                trap, self.trap = self.trap, None
                trap(port)
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection, unless it is closed already."""
    if not writer.transport.is_closing():
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
