"""Listeners: uvicorn, told when to stop by us and not by signals of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from .connections import ConnectionTimeouts, http_protocol
from .signals.transport import uvicorn_options

KEEP_ALIVE_SECONDS = 75
"""Seconds that an idle connection is kept: longer than proxies keep theirs (nginx: 60 s), so that
none of them sends into a connection that is just being closed."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, at a free port if the port is 0.

    ``::`` is all addresses of both families, as on Linux by default (RFC 3493, section 5.3), where
    the machine can do that; Python makes it IPv6 alone if not told.

    Connections send at once what is written (``TCP_NODELAY``, which accepted ones have from it).
    asyncio sets that only where the protocol was named when the socket was made; without it an
    answer's body waits for the client to acknowledge its head, 40 ms on Linux.

    Raises
    ------
    OSError
        If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server(
        (host, port),
        family=family,
        backlog=BACKLOG,
        dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
    )
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.serving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Listener:
    """One application on one socket.

    Parameters
    ----------
    grace
        Seconds in which requests under way may finish after `stop`.
    ping_interval
        Seconds between pings of a WebSocket.
    timeouts
        How long a connection may keep us waiting before it is a WebSocket.
    """

    def __init__(
        self,
        application: ASGIApp,
        *,
        host: str,
        port: int,
        grace: int,
        ping_interval: float,
        timeouts: ConnectionTimeouts,
    ) -> None:
        options = uvicorn_options(ping_interval=ping_interval)
        config = uvicorn.Config(
            application,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever connects is who asks: no header of a client can say otherwise.
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=grace,
            # uvicorn's h11, which the options ask for, with ends to what it waits for.
            **options | {"http": http_protocol(timeouts)},
        )
        self._server = _Server(config)
        self._host = host
        self._port = port
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Begin to serve and return the port, which matters if it was asked to be free.

        Raises
        ------
        OSError
            If the address cannot be had.
        """
        listening = listen(self._host, self._port)
        port: int = listening.getsockname()[1]
        self._task = asyncio.create_task(
            self._server.serve(sockets=[listening]), name=f"listener on port {port}"
        )
        serving = asyncio.create_task(self._server.serving.wait())
        await asyncio.wait([serving, self._task], return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        return port

    async def run(self) -> None:
        """Serve until `stop`."""
        assert self._task is not None, "it was started"
        await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Take no new connections, let requests under way finish, and end."""
        if self._task is None:
            return
        self._server.should_exit = True
        await self._task
