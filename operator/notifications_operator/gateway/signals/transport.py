"""How uvicorn must serve sockets: its WebSocket protocol, with ends to what it leaves open.

uvicorn's own (0.54) waits without end for a reader that does not read: a close frame waits until
there is room for it, and a transport that is closed lives until everything was read. Upstream
terminates such sockets (``ws.terminate()`` in ``SignalManager``).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets import http11

PING_INTERVAL = 30.0
"""Seconds between pings; upstream's."""

MAX_HEAD_BYTES = 64 * 1024
"""Most bytes of request line and headers: a token with all its owner's groups is long."""

MAX_MESSAGE_BYTES = 16 * 1024
"""Longest message of a client; a longer one closes the connection (1009)."""

CLOSE_TIMEOUT = 5.0
"""Seconds that a reader has to take what is left and the close frame."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)

# websockets reads the bound of one header line from the environment when it is imported; 8 KiB is
# its own. The bound of all of them is below.
http11.MAX_LINE_LENGTH = MAX_HEAD_BYTES


class SignalsProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol; whoever does not read, or sends heads that are too large, is cut off."""

    _abortion: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Read; the first is the whole head, as the HTTP protocol hands it over."""
        if not self.handshake_initiated and len(data) > MAX_HEAD_BYTES:
            self._refuse()
            return
        super().data_received(data)
        if not self.handshake_initiated:
            # websockets could not parse it (more than 128 headers), which uvicorn does not look at.
            self._refuse()

    def _refuse(self) -> None:
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    def pause_writing(self) -> None:
        """Read nothing from who reads nothing: the pongs for its pings would pile up."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on with both."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """Return what came; it does not make room for more while nothing is read."""
        message = await super().receive()
        if not self.writable.is_set():
            self.transport.pause_reading()
        return message

    async def send(self, message: Any) -> None:
        """Send; a close frame waits for no room."""
        if self.handshake_complete and (self.close_sent or self.transport.is_closing()):
            raise ClientDisconnected
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)
        if self.close_sent:
            # uvicorn takes a refusal for a handshake that was forgotten, and logs an error for it.
            self.handshake_complete = True
            self._abort_later()

    def handle_close(self, event: Any) -> None:
        """Answer the client's close, and wait for no reader."""
        super().handle_close(event)
        self._abort_later()

    def handle_parser_exception(self) -> None:
        """Close for a breach of the protocol, and wait for no reader."""
        super().handle_parser_exception()
        self._abort_later()

    def keepalive_timeout(self) -> None:
        """Terminate who did not answer a ping."""
        super().keepalive_timeout()
        self.transport.abort()

    def shutdown(self) -> None:
        """Close with 1012, or go on closing; uvicorn's stumbles over what the client closes."""
        if self.transport.is_closing():
            self.transport.abort()
            return
        super().shutdown()
        self._abort_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        if self._abortion is not None:
            self._abortion.cancel()
        super().connection_lost(exc)

    def _abort_later(self) -> None:
        if self._abortion is None:
            self._abortion = self.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)


def uvicorn_options(*, ping_interval: float = PING_INTERVAL) -> dict[str, Any]:
    """Return what must be among the options of `uvicorn.Config`.

    Parameters
    ----------
    ping_interval
        Seconds between pings, and within which one must be answered.
    """
    return {
        "http": "h11",
        "h11_max_incomplete_event_size": MAX_HEAD_BYTES,
        "ws": SignalsProtocol,
        "ws_max_size": MAX_MESSAGE_BYTES,
        "ws_ping_interval": ping_interval,
        "ws_ping_timeout": ping_interval,
        # Signals are small, and a compressor for each socket is not.
        "ws_per_message_deflate": False,
    }
