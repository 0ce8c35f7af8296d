"""Commands and replies of an open SMTP session (RFC 5321 section 4.2), each reply to its command.

aiosmtplib opens sessions; what follows is here, because it takes one command at a time and drops
replies that come together, as those to a group of commands do (RFC 2920).
"""

from __future__ import annotations

import asyncio
import re
from collections import deque

from aiosmtplib import SMTPResponse, SMTPResponseException

MAX_REPLY = 32 * 1024
"""Octets of one reply; no server has so much to say."""

_MESSAGE_EXPECTED = 354
"""Reply code that asks for the message (RFC 5321 section 4.3.2)."""

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class Dialogue(asyncio.Protocol):
    """Takes over a connection on which no reply is awaited.

    It ends when the server says something that it was not asked, or that is no reply: nobody
    could tell any more which reply is whose.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._replies: deque[SMTPResponse] = deque()
        self._expected = 0
        self._problem: Exception | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        transport.set_protocol(self)
        # So that a drained connection means that the kernel, or TLS, has it all. With 0, TLS would
        # pause at every second look (asyncio.sslproto compares with >=).
        transport.set_write_buffer_limits(high=1)

    @property
    def is_open(self) -> bool:
        """Whether commands can be sent, as far as is known here."""
        return self._problem is None and not self._transport.is_closing()

    @property
    def is_answered(self) -> bool:
        """Whether the next reply is there already."""
        return bool(self._replies)

    @property
    def is_addressed(self) -> bool:
        """Whether the server has begun to say something that was not taken yet."""
        return bool(self._replies or self._received)

    def tell(self, *commands: bytes) -> None:
        """Send commands in one write; each is answered by one `reply`.

        Raises
        ------
        ValueError
            If a command has control characters, which would make it two.
        ConnectionError
            If the connection has ended.
        """
        if any(_CONTROL.search(command) for command in commands):
            raise ValueError("an SMTP command contains a control character")
        self.write(b"".join([command + b"\r\n" for command in commands]), replies=len(commands))

    def write(self, data: bytes, *, replies: int = 0) -> None:
        """Send octets that so many replies will answer.

        Raises
        ------
        ConnectionError
            If the connection has ended.
        """
        if not self.is_open:
            raise ConnectionResetError("the connection has ended")
        self._expected += replies
        self._transport.write(data)

    async def drain(self) -> None:
        """Wait until all that was written is handed over.

        Raises
        ------
        ConnectionError
            If the connection has ended.
        """
        await self._writable.wait()
        if not self.is_open:
            raise ConnectionResetError("the connection has ended")

    async def reply(self) -> SMTPResponse:
        """Return the next reply.

        Raises
        ------
        ConnectionError
            If the connection ended before it.
        SMTPResponseException
            If what came is no reply.
        """
        if not self._replies and self._problem is None:
            self._arrival = self._loop.create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        if self._replies:
            return self._replies.popleft()
        raise self._problem or ConnectionResetError("the connection has ended")

    def abort(self) -> None:
        """Close at once."""
        self._end(ConnectionAbortedError("the connection was given up"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            while self._received and (reply := self._parsed()) is not None:
                self._replies.append(reply)
                # After 354 the reply to the message follows, perhaps before the message ends.
                if reply.code != _MESSAGE_EXPECTED:
                    self._expected -= 1
        except SMTPResponseException as error:
            self._end(error)
        self._announce()

    def eof_received(self) -> None:
        self._end(ConnectionResetError("the server closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError("the connection has ended"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _parsed(self) -> SMTPResponse | None:
        """Take one reply off what was received, if it is there in full."""
        if self._expected == 0:
            raise _no_reply(bytes(self._received), "out of turn: ")
        lines: list[bytes] = []
        start = 0
        while (end := self._received.find(b"\n", start)) >= 0 and end < MAX_REPLY:
            line = bytes(self._received[start:end])
            if not line[:3].isdigit():
                raise _no_reply(line)
            start = end + 1
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                del self._received[:start]
                text = b"\n".join(lines).decode("utf-8", "surrogateescape")
                return SMTPResponse(int(line[:3]), text)
        if len(self._received) > MAX_REPLY:
            raise _no_reply(b"", "too long a reply")
        return None

    def _end(self, problem: Exception) -> None:
        """Close, if it is not closed yet; replies that came before remain."""
        if self._problem is None:
            self._problem = problem
            self._received.clear()
            self._transport.abort()
        self._writable.set()
        self._announce()

    def _announce(self) -> None:
        arrived = self._replies or self._problem is not None
        if arrived and self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


def _no_reply(line: bytes, what: str = "") -> SMTPResponseException:
    return SMTPResponseException(-1, f"{what}{line[:100].decode(errors='replace')}")
