"""SMTP connections that are kept for the next message."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass

from ..errors import DeliveryError, Receipt
from .authentication import login_to
from .config import SMTPServer
from .smtp import ConnectionLost, SMTPConnection
from .timeouts import DEFAULT_TIMEOUTS, Timeouts
from .transport import Mail, MaySend

MAX_MESSAGES = 100
"""Messages on one connection; servers and load balancers limit them too."""

IDLE_SECONDS = 30.0
"""How long an unused connection is kept; servers wait 5 minutes (RFC 5321 4.5.3.2.7), NAT less."""

PROBE_SECONDS = 1.0
"""After this long a rested connection is asked with RSET whether it still lives."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Resting:
    connection: SMTPConnection
    since: float


class SMTPPool:
    """Delivers over at most `size` connections at a time.

    The pool repeats a delivery once, on a new connection, if a kept one turns out to be dead
    before anything of the message was sent. All other repetition is up to the caller.

    Parameters
    ----------
    server
        Where to connect.
    size
        Most connections at a time.
    timeouts, max_messages, idle_seconds, probe_seconds
        See the constants of this module.
    """

    def __init__(
        self,
        server: SMTPServer,
        *,
        size: int,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        max_messages: int = MAX_MESSAGES,
        idle_seconds: float = IDLE_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._server = server
        self._login = login_to(server)
        self._slots = asyncio.Semaphore(size)
        self._timeouts = timeouts
        self._max_messages = max_messages
        self._idle_seconds = idle_seconds
        self._probe_seconds = probe_seconds
        self._pipelining = True
        self._resting: deque[_Resting] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._farewells: set[asyncio.Task[None]] = set()

    async def verify(self) -> None:
        """Check that a connection can be had, and keep it.

        Raises
        ------
        DeliveryError
            If not, with scope `Scope.PROCESSOR`.
        """
        async with self._slots:
            connection = await self._take_alive(probe_seconds=0)
            self._put(connection or await self._open())

    async def deliver(self, mail: Mail, *, may_send: MaySend) -> Receipt:
        """Deliver a message; see `Transport.deliver`."""
        async with self._slots:
            connection = await self._take_alive(probe_seconds=self._probe_seconds)
            if connection is not None:
                try:
                    return await self._deliver_over(connection, mail, may_send)
                except ConnectionLost as error:
                    _log.debug("A kept connection was dead, opening another: %s", error)
            try:
                return await self._deliver_over(await self._open(), mail, may_send)
            except ConnectionLost as error:
                raise error.error from error

    async def close(self) -> None:
        """Say goodbye on all connections; no delivery may be under way."""
        if self._expiry is not None:
            self._expiry.cancel()
        while self._resting:
            self._dismiss(self._resting.popleft().connection)
        while self._farewells:
            await asyncio.wait(self._farewells)
        if self._login is not None:
            await self._login.close()

    async def _deliver_over(
        self, connection: SMTPConnection, mail: Mail, may_send: MaySend
    ) -> Receipt:
        try:
            receipt = await connection.send(mail, may_send, pipelining=self._pipelining)
        except DeliveryError:
            self._put(connection)
            raise
        finally:
            if connection.drops_groups and self._pipelining:
                _log.warning(
                    "%s offers PIPELINING but does not answer it; commands are sent one by one",
                    self._server.address,
                )
                self._pipelining = False
        self._put(connection)
        return receipt

    async def _open(self) -> SMTPConnection:
        return await SMTPConnection.open(self._server, self._timeouts, self._login)

    def _put(self, connection: SMTPConnection) -> None:
        """Keep a connection, unless it is closed or has done its share."""
        if not connection.usable:
            return
        if connection.messages >= self._max_messages:
            self._dismiss(connection)
            return
        now = time.monotonic()
        self._resting.append(_Resting(connection=connection, since=now))
        self._schedule_expiry(now)

    def _take(self) -> _Resting | None:
        """Return the connection that rested least, so that the others may expire."""
        while self._resting:
            resting = self._resting.pop()
            if resting.connection.usable:
                return resting
        return None

    async def _take_alive(self, *, probe_seconds: float) -> SMTPConnection | None:
        """Return a kept connection, asked whether it lives if it rested that long."""
        while (resting := self._take()) is not None:
            if time.monotonic() - resting.since < probe_seconds:
                return resting.connection
            try:
                await resting.connection.reset()
            except ConnectionLost:
                continue
            return resting.connection
        return None

    def _schedule_expiry(self, now: float) -> None:
        if self._expiry is None and self._resting:
            rest = self._resting[0].since + self._idle_seconds - now
            self._expiry = asyncio.get_running_loop().call_later(max(0.0, rest), self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now = time.monotonic()
        while self._resting and now - self._resting[0].since >= self._idle_seconds:
            self._dismiss(self._resting.popleft().connection)
        self._schedule_expiry(now)

    def _dismiss(self, connection: SMTPConnection) -> None:
        """Say goodbye without making anybody wait for it."""
        task = asyncio.get_running_loop().create_task(connection.quit())
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)
