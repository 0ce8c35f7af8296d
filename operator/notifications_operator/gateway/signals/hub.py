"""Who listens to which signals, and what waits to be sent to them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from ...telemetry import gateway as metrics
from ..errors import ServiceUnavailableError, TooManyRequestsError
from .outbox import Signal
from .settings import SignalsSettings

MAX_CHANNELS = 100
"""Most channels that one connection may listen to; there is one, others' clients have more."""

MAX_CHANNEL_LENGTH = 255
"""Longest name of a channel that is listened to, in characters."""

RETRY_AFTER = 5.0
"""Seconds after which upstream's client connects again."""

_TURN = 256
"""Messages handed out before others get their turn on the event loop; writing one takes 30 µs."""


class CloseCode(IntEnum):
    """Why a connection is closed; never 1000 or 1001, after which upstream's client stays away.

    RFC 6455 section 7.4.1, the IANA registry it set up, and 4401 of our own.
    """

    POLICY_VIOLATION = 1008
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    TOKEN_EXPIRED = 4401


@dataclass(frozen=True, kw_only=True)
class Closing:
    """How a connection is closed."""

    code: CloseCode
    reason: str


class Connection:
    """One listener; `Hub.connect` makes it.

    Parameters
    ----------
    user
        Entity ref of the user.
    session
        Key of the browser's session by which the user is known, if it is one.
    max_messages, max_bytes
        What may wait until it is sent; a single message may be larger.
    close
        Called once when the connection must be closed.
    """

    __slots__ = (
        "_bytes",
        "_close",
        "_max_bytes",
        "_max_messages",
        "_queue",
        "_waiter",
        "channels",
        "closed",
        "expiry",
        "session",
        "user",
    )

    def __init__(
        self,
        user: str,
        *,
        session: str | None,
        max_messages: int,
        max_bytes: int,
        close: Callable[[Closing], None],
    ) -> None:
        self.user = user
        self.session = session
        self.channels: set[str] = set()
        self.closed = False
        self.expiry: asyncio.TimerHandle | None = None
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._close = close
        self._queue: deque[str] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> str:
        """Wait for a message and return it; for one task at a time."""
        while not self._queue:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        text = self._queue.popleft()
        self._bytes -= len(text)
        return text

    def offer(self, text: str) -> bool:
        """Let a message wait for the reader; False if too much waits already."""
        if self.closed:
            return True
        if self._queue and (
            len(self._queue) >= self._max_messages or self._bytes + len(text) > self._max_bytes
        ):
            return False
        self._queue.append(text)
        self._bytes += len(text)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return True

    def close(self, closing: Closing) -> None:
        """Close the connection, if it is not closed yet; what waits is dropped."""
        if not self.closed:
            self.end()
            metrics.SOCKETS_CLOSED.labels(closing.code.name.lower()).inc()
            self._close(closing)

    def end(self) -> None:
        """Keep nothing any more, and accept nothing."""
        self.closed = True
        self._queue.clear()
        if self.expiry is not None:
            self.expiry.cancel()


class Hub:
    """Hands signals to the connections that listen to them.

    It does no I/O: a connection's owner takes the messages from `Connection.next`, sends them, and
    closes the socket when it is told to. Every message is encoded once, and no message costs a
    task.
    """

    def __init__(self, settings: SignalsSettings) -> None:
        self._settings = settings
        self._users: Counter[str] = Counter()
        self._channels: dict[str, dict[str, set[Connection]]] = {}
        self._sessions: dict[str, set[Connection]] = {}

    @property
    def connections(self) -> int:
        """How many there are."""
        return self._users.total()

    @property
    def sessions(self) -> list[str]:
        """Keys of the sessions that have connections."""
        return list(self._sessions)

    def connect(
        self,
        user: str,
        *,
        expires: datetime | None,
        close: Callable[[Closing], None],
        session: str | None = None,
    ) -> Connection:
        """Add a listener, which hears nothing until it subscribes.

        Parameters
        ----------
        user
            Entity ref of the user.
        expires
            When it must be closed; ``None``: never.
        close
            Called once when the hub wants it to be closed.
        session
            Key of the browser's session with which it is to end, if there is one.

        Raises
        ------
        TooManyRequestsError
            If the user has too many connections.
        ServiceUnavailableError
            If there are too many altogether.
        """
        if self.connections >= self._settings.max_sockets:
            raise ServiceUnavailableError("Too many connections", retry_after=RETRY_AFTER)
        if self._users[user] >= self._settings.max_sockets_per_user:
            raise TooManyRequestsError("Too many connections of this user", retry_after=RETRY_AFTER)
        connection = Connection(
            user,
            session=session,
            max_messages=self._settings.max_queued_messages,
            max_bytes=self._settings.max_queued_bytes,
            close=close,
        )
        self._users[user] += 1
        metrics.SOCKETS.inc()
        if session is not None:
            self._sessions.setdefault(session, set()).add(connection)
        if expires is not None:
            connection.expiry = asyncio.get_running_loop().call_later(
                (expires - datetime.now(UTC)).total_seconds(),
                connection.close,
                Closing(code=CloseCode.TOKEN_EXPIRED, reason="token expired"),
            )
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Forget a listener; to be called once for each, whoever closed it."""
        connection.end()
        metrics.SOCKETS.dec()
        for channel in list(connection.channels):
            self.unsubscribe(connection, channel)
        self._users[connection.user] -= 1
        if not self._users[connection.user]:
            del self._users[connection.user]
        if connection.session is not None:
            self._sessions[connection.session].discard(connection)
            if not self._sessions[connection.session]:
                del self._sessions[connection.session]

    def end_session(self, session: str) -> None:
        """Close the connections of a session; what waits for them is dropped."""
        for connection in list(self._sessions.get(session, ())):
            connection.close(Closing(code=CloseCode.TOKEN_EXPIRED, reason="the session has ended"))

    def subscribe(self, connection: Connection, channel: str) -> None:
        """Let a connection hear a channel; too many, or too long a name, are ignored."""
        if len(channel) > MAX_CHANNEL_LENGTH or len(connection.channels) >= MAX_CHANNELS:
            return
        connection.channels.add(channel)
        users = self._channels.setdefault(channel, {})
        users.setdefault(connection.user, set()).add(connection)

    def unsubscribe(self, connection: Connection, channel: str) -> None:
        """Let a connection hear a channel no more."""
        if channel not in connection.channels:
            return
        connection.channels.remove(channel)
        users = self._channels[channel]
        users[connection.user].remove(connection)
        if not users[connection.user]:
            del users[connection.user]
        if not users:
            del self._channels[channel]

    def listeners(self, channel: str) -> list[str]:
        """Return the users who listen to a channel now."""
        return list(self._channels.get(channel, ()))

    async def publish(self, signals: Sequence[Signal]) -> None:
        """Hand signals to those who listen; a connection that is too slow is closed."""
        done = 0
        for signal in signals:
            listeners = self._listeners(signal)
            text = _encode(signal) if listeners else ""
            done += 1
            for connection in listeners:
                if not connection.offer(text):
                    await self._insist(connection, text)
                done += 1
                if done >= _TURN:
                    done = 0
                    await asyncio.sleep(0)

    async def _insist(self, connection: Connection, text: str) -> None:
        """Try again after the reader had its turn: not to have had one is not to be slow."""
        await asyncio.sleep(0)
        if not connection.offer(text):
            connection.close(
                Closing(code=CloseCode.TRY_AGAIN_LATER, reason="reads slower than signals come")
            )

    def _listeners(self, signal: Signal) -> list[Connection]:
        """Return who is to hear a signal now; others may come and go meanwhile."""
        users = self._channels.get(signal.channel, {})
        if signal.users is None:
            return list(itertools.chain.from_iterable(users.values()))
        addressed = users.keys() & set(signal.users)
        return [connection for user in addressed for connection in users[user]]


def _encode(signal: Signal) -> str:
    """Return the frame's text.

    It is ASCII, as JSON may be: half of a surrogate pair has no UTF-8 and could not be sent.
    """
    return json.dumps({"channel": signal.channel, "message": signal.message}, separators=(",", ":"))
