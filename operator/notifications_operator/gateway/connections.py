"""How long an HTTP connection may keep the gateway waiting.

uvicorn's own (0.54) ends a connection only between two requests: its keep-alive timer starts after
the first answer and stops at the next byte. Whoever sends nothing, half a head, or does not read
keeps a descriptor for as long as it likes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True, kw_only=True)
class ConnectionTimeouts:
    """What a client must keep to."""

    head: float
    """Seconds in which a request's head must arrive."""

    write: float
    """Seconds in which what was written must have been read."""


class _TimedProtocol(H11Protocol):
    """uvicorn's protocol; whoever does not send a whole head, or does not read, is cut off.

    At any time a request is under way, or uvicorn's keep-alive timer runs, or `_head` does.
    """

    timeouts: ConnectionTimeouts
    _head: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        # Pause whenever something is unread: a closed transport waits for its last bytes too.
        transport.set_write_buffer_limits(high=0)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        self._stop_head()
        self._stop_write()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take what came, and see what there is to wait for."""
        super().handle_events()
        self._time_head()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over as it was."""
        if self.flow.write_paused:
            # A client has its answers before it upgrades; the next protocol would not know of them.
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits()
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._write = self.loop.call_later(self.timeouts.write, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: everything was read."""
        self._stop_write()
        super().resume_writing()

    def _time_head(self) -> None:
        """Wait for the rest of a head, or of a body that was answered before it was there."""
        if self._is_handed_over() or self._is_under_way():
            self._stop_head()
        elif self._is_idle():
            self._stop_head()
            self._keep_alive()
        elif self._head is None:
            self._head = self.loop.call_later(self.timeouts.head, self.timeout_keep_alive_handler)

    def _is_handed_over(self) -> bool:
        return self.transport.is_closing() or self.transport.get_protocol() is not self

    def _is_under_way(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_idle(self) -> bool:
        unparsed, _ = self.conn.trailing_data
        return self.cycle is not None and self.conn.their_state is h11.IDLE and not unparsed

    def _keep_alive(self) -> None:
        """Start uvicorn's timer, which the rest of a body stops after its answer."""
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_write(self) -> None:
        if self._write is not None:
            self._write.cancel()
            self._write = None


def http_protocol(timeouts: ConnectionTimeouts) -> type[H11Protocol]:
    """Return the protocol for `uvicorn.Config`, which makes one for each connection."""

    class TimedProtocol(_TimedProtocol):
        """The protocol with its times."""

    TimedProtocol.timeouts = timeouts
    return TimedProtocol
