"""The listening side of the SMTP peer."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from .authentication import LoginStyle, VerifyToken
from .certificates import Certificate, TLSMode
from .ledger import Ledger
from .script import Action, Fault, Reply, Script, Step
from .session import Session


@dataclass(kw_only=True)
class SMTPPeer:
    """A scripted SMTP server on a port of its own.

    Attributes
    ----------
    host, port
        Where to listen; port 0 takes a free one, and `port` says which once it runs.
    tls, certificate
        How TLS is offered. Without TLS no certificate is needed.
    username, password
        Credentials that are asked for; without them AUTH is not offered.
    verify_token
        Asks for access tokens and judges them.
    auth_mechanisms
        What AUTH offers.
    auth_in_old_syntax
        Whether it is offered as ``AUTH=`` alone, as before RFC 2554.
    refused_mechanisms
        What some of them are answered with, whatever the credentials.
    hangs_up_after_refusal
        Whether such an answer ends the session.
    login_style, login_prompts
        What AUTH LOGIN does with a name that comes with it, and what it asks with.
    tokens_seen
        The access tokens that came, in order.
    auth_offered_in_clear
        Offer AUTH without TLS as well: a trap for clients that fall for a stripped STARTTLS. The
        ledger counts who does.
    max_size
        SIZE that is advertised and enforced (RFC 1870).
    smtputf8
        Whether SMTPUTF8 and 8BITMIME are offered (RFC 6531).
    esmtp
        Whether EHLO is known at all.
    refused_names
        Clients that introduce themselves like this get 421 and are hung up on, as Google does.
    pipelining
        Whether PIPELINING is offered; a group is then answered at once (RFC 2920 section 3.2).
    drops_groups
        Offer PIPELINING and throw away whatever has come after a command when it is carried out,
        as some firewalls do.
    max_messages
        Messages per connection, after which MAIL gets 421 and the connection ends.
    greylist
        Whether the first attempt at each recipient is put off.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: TLSMode = TLSMode.NONE
    certificate: Certificate | None = None
    username: str | None = None
    password: str | None = None
    verify_token: VerifyToken | None = None
    auth_mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")
    auth_in_old_syntax: bool = False
    refused_mechanisms: Mapping[str, str] = field(default_factory=dict)
    hangs_up_after_refusal: bool = False
    login_style: LoginStyle = LoginStyle.USUAL
    login_prompts: tuple[bytes, bytes] = (b"Username:", b"Password:")
    tokens_seen: list[str] = field(default_factory=list)
    auth_offered_in_clear: bool = False
    max_size: int | None = None
    smtputf8: bool = True
    esmtp: bool = True
    refused_names: re.Pattern[str] | None = None
    pipelining: bool = False
    drops_groups: bool = False
    max_messages: int | None = None
    greylist: bool = False
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.script = Script()
        self.greylisted: set[tuple[str, str]] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: dict[int, asyncio.StreamWriter] = {}

    def fail(
        self,
        step: Step,
        action: Action | str,
        *,
        times: int | None = 1,
        recipient: str | None = None,
        recorded: bool = False,
        reached: Callable[[], None] | None = None,
    ) -> None:
        """Let something go wrong.

        Parameters
        ----------
        step
            When.
        action
            What; a string is a `Reply`.
        times
            How often; ``None`` for always.
        recipient
            Only for this recipient (steps from RCPT on).
        recorded
            With `Step.END`: the message is accepted into the ledger before the client learns
            otherwise, or nothing.
        reached
            Called when it happens: after a reply was sent, and before anything else.
        """
        act = Reply(action) if isinstance(action, str) else action
        self.script.add(
            Fault(
                step=step,
                action=act,
                times=times,
                recipient=recipient,
                recorded=recorded,
                reached=reached,
            )
        )

    @property
    def tls_context(self) -> ssl.SSLContext:
        """The TLS context of one handshake."""
        if self.certificate is None:
            raise RuntimeError("this SMTP peer has no certificate")
        return self.certificate.context

    @property
    def asks_login(self) -> bool:
        """Whether nobody may send who has not logged in."""
        return self.username is not None or self.verify_token is not None

    def authenticates(self, username: str, password: str) -> bool:
        """Say whether these are the peer's credentials."""
        return hmac.compare_digest(username.encode(), (self.username or "").encode()) and (
            hmac.compare_digest(password.encode(), (self.password or "").encode())
        )

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, self.host, self.port, limit=64 * 1024 * 1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the port and every connection, as a server that dies."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.drop_connections()

    async def drop_connections(self) -> None:
        """Close every connection and go on listening."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def wait_for_open_connections(self, count: int, timeout: float = 10) -> None:
        """Wait until exactly so many connections are open."""
        await self.ledger.wait_until(lambda: len(self._writers) == count, timeout)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ledger.connections += 1
        number = self.ledger.connections
        self._writers[number] = writer
        task = asyncio.get_running_loop().create_task(self._serve(number, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        transport = writer.transport
        try:
            await Session(self, number, reader, writer).run()
        finally:
            # The TCP connection: close() on TLS would wait for the other side to say goodbye.
            transport.abort()
            del self._writers[number]
            with contextlib.suppress(asyncio.CancelledError):
                await self.ledger.notify()
