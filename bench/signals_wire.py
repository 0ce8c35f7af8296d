"""Just as much of RFC 6455 as a client of a benchmark needs, with little work for each socket."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Final

ACCEPTED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
)

_HEAD: Final = (
    "GET /api/signals HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: {token}\r\n\r\n"
)

PONG: Final = b"\x8a\x00"
"""A server's answer to an empty ping."""

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_SHORT, _MEDIUM = 125, 126


def user(number: int) -> str:
    """Return the name of one user, which is the user's token as well."""
    return f"user-{number:06}"


def server_frame(data: bytes) -> bytes:
    """Return a text frame of a server, of more than 125 and less than 65,536 bytes."""
    return struct.pack("!BBH", 0x80 | _TEXT, _MEDIUM, len(data)) + data


def client_frame(opcode: int, data: bytes) -> bytes:
    """Return a frame of a client, masked with zeros, of at most 125 bytes."""
    return bytes([0x80 | opcode, 0x80 | len(data)]) + bytes(4) + data


class ClientSocket(asyncio.Protocol):
    """One client that subscribes and counts.

    Parameters
    ----------
    token
        What it shows.
    opened
        Called when the server has read the subscription: it answers a ping that comes after the
        answer to one that came with it.
    received
        Called with the text of each signal.
    closed
        Called when the connection ends.
    """

    def __init__(
        self,
        token: str,
        *,
        opened: Callable[[], None],
        received: Callable[[bytes], None],
        closed: Callable[[bytes], None],
    ) -> None:
        self._token = token
        self._opened = opened
        self._received = received
        self._closed = closed
        self._accepted = False
        self._pongs = 0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_HEAD.format(token=self._token).encode())

    def data_received(self, data: bytes) -> None:
        """Take the answer, then frames."""
        self._buffer += data
        if not self._accepted:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._closed(head)
                return
            self._accepted = True
            self._buffer = rest
            request = b'{"action":"subscribe","channel":"notifications"}'
            self._transport.write(client_frame(_TEXT, request) + client_frame(_PING, b""))
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == _TEXT:
                self._received(payload)
            elif opcode == _PING:
                self._transport.write(client_frame(_PONG, payload))
            elif opcode == _PONG:
                self._pongs += 1
                if self._pongs == 1:
                    self._transport.write(client_frame(_PING, b""))
                else:
                    self._opened()
            elif opcode == _CLOSE:
                self._closed(payload)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that it is over."""
        self._closed(repr(exc).encode())

    def close(self) -> None:
        """Close it without a word."""
        self._transport.abort()

    def _frame(self) -> tuple[int, bytes] | None:
        """Take one frame from what came."""
        if len(self._buffer) < 2:
            return None
        length, start = self._buffer[1], 2
        if length > _SHORT:
            if len(self._buffer) < 4:
                return None
            length, start = struct.unpack("!H", self._buffer[2:4])[0], 4
        if len(self._buffer) < start + length:
            return None
        opcode, payload = self._buffer[0] & 0xF, self._buffer[start : start + length]
        self._buffer = self._buffer[start + length :]
        return opcode, payload
