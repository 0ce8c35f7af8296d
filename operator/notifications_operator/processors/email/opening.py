"""Opens SMTP sessions: name, connection, greeting, EHLO, TLS, login.

All that goes wrong here concerns the whole processor, and nothing was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence

from aiosmtplib import (
    SMTP,
    SMTPConnectError,
    SMTPConnectResponseError,
    SMTPHeloError,
    SMTPResponseException,
    SMTPTimeoutError,
)

from ...api.reasons import Reason
from ..errors import DeliveryError, Scope
from .authentication import AnotherSessionNeeded, Login
from .config import Encryption, SMTPServer
from .domains import address_literal
from .replies import Phase, Reply, refusal
from .timeouts import Timeouts

_log = logging.getLogger(__name__)

_UNKNOWN_COMMAND = (500, 502)
"""Replies of a server that does not know EHLO (RFC 5321 section 4.1.1.1)."""

_END_SECONDS = 1.0
"""Seconds in which a transport has found the end of its stream."""

_Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]


async def open_session(server: SMTPServer, timeouts: Timeouts, login: Login | None) -> SMTP:
    """Open a session that is ready for MAIL.

    Raises
    ------
    DeliveryError
        With scope `Scope.PROCESSOR`.
    """
    try:
        return await _open(server, timeouts, login)
    except AnotherSessionNeeded as refused:
        _log.debug("Logging in once more: %s", refused)
    try:
        return await _open(server, timeouts, login)
    except AnotherSessionNeeded as refused:
        raise refused.error from None


async def _open(server: SMTPServer, timeouts: Timeouts, login: Login | None) -> SMTP:
    if login is not None:
        await login.prepare()
    connected = await _connect(server, timeouts)
    client = SMTP(
        hostname=server.server_name,
        sock=connected,
        use_tls=server.encryption is Encryption.IMPLICIT,
        start_tls=False,
        tls_context=server.tls_context,
        local_hostname=server.client_name or address_literal(connected.getsockname()[0]),
        timeout=None,
    )
    try:
        await _greet(client, server, timeouts)
        await _hello(client, server, timeouts)
        await _encrypt(client, server, timeouts)
        if login is not None:
            await _log_in(client, server, login, timeouts)
    except BaseException:
        abort(client)
        _hang_up(connected)
        raise
    return client


def abort(client: SMTP) -> None:
    """Drop a session at once, without goodbye."""
    if isinstance(client.transport, asyncio.WriteTransport):
        client.transport.abort()
    client.close()


def _hang_up(connected: socket.socket) -> None:
    """End a connection of which a transport may be left that the client does not know any more.

    After a 421 within TLS aiosmtplib forgets its transport, which says goodbye in order and reads
    on. It must find the end of the stream and close the descriptor itself: closed under it, the
    number would be the next connection's while the loop still takes it for the old one's.
    """
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
    # Where no transport was made of it, nobody else closes it.
    asyncio.get_running_loop().call_later(_END_SECONDS, connected.close)


async def _connect(server: SMTPServer, timeouts: Timeouts) -> socket.socket:
    addresses = await _resolve(server, timeouts.resolve)
    problem: Exception = OSError("the name has no address")
    for family, kind, protocol, _, address in addresses:
        candidate = socket.socket(family, kind, protocol)
        candidate.setblocking(False)
        try:
            async with asyncio.timeout(timeouts.connect / len(addresses)):
                await asyncio.get_running_loop().sock_connect(candidate, address)
        except OSError as error:
            candidate.close()
            problem = error
        except BaseException:
            candidate.close()
            raise
        else:
            return candidate
    if isinstance(problem, TimeoutError) and not problem.errno:
        raise _error(Reason.TIMEOUT, f"{server.address} does not answer") from problem
    raise _error(
        Reason.CONNECT_FAILED, f"cannot connect to {server.address}: {_said(problem)}"
    ) from problem


async def _resolve(server: SMTPServer, limit: float) -> Sequence[_AddressInfo]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit):
            return await loop.getaddrinfo(server.hostname, server.port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        problem = f"no answer within {limit:g} s"
        raise _error(Reason.DNS_FAILED, f"cannot look up {server.hostname}: {problem}") from error
    except (socket.gaierror, UnicodeError) as error:
        raise _error(
            Reason.DNS_FAILED, f"cannot look up {server.hostname}: {_said(error)}"
        ) from error


async def _greet(client: SMTP, server: SMTPServer, timeouts: Timeouts) -> None:
    implicit = server.encryption is Encryption.IMPLICIT
    try:
        async with asyncio.timeout(timeouts.greeting + (timeouts.tls if implicit else 0)):
            await client.connect()
    except SMTPConnectResponseError as error:
        raise refusal(Phase.GREETING, _reply(error, server)) from error
    except TimeoutError as error:
        hint = "" if implicit else "; if TLS is expected from the start, set secure: true"
        raise _error(Reason.TIMEOUT, f"{server.address} does not greet{hint}") from error
    except SMTPConnectError as error:
        raise _no_greeting(error, server) from error
    except SMTPResponseException as error:
        raise _not_smtp(error, server) from error


def _no_greeting(error: SMTPConnectError, server: SMTPServer) -> DeliveryError:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _tls_failed(cause, server)
    if isinstance(cause, ssl.SSLError):
        hint = "secure: true is for ports that expect TLS from the start (465)"
        return _error(Reason.TLS_FAILED, f"{server.address}: no TLS ({_said(cause)}); {hint}")
    return _error(Reason.CONNECT_FAILED, f"{server.address} closed the connection ungreeted")


async def _hello(client: SMTP, server: SMTPServer, timeouts: Timeouts) -> None:
    async with _guarded(server, Phase.HELLO, timeouts.command):
        try:
            await client.ehlo()
        except SMTPHeloError as error:
            extensions_needed = (
                server.encryption is Encryption.REQUIRED or server.credentials is not None
            )
            if error.code not in _UNKNOWN_COMMAND or extensions_needed:
                raise
            await client.helo()


async def _encrypt(client: SMTP, server: SMTPServer, timeouts: Timeouts) -> None:
    match server.encryption:
        case Encryption.IMPLICIT | Encryption.NONE:
            return
        case Encryption.REQUIRED if not client.supports_extension("starttls"):
            raise _error(
                Reason.TLS_FAILED,
                f"{server.address} does not offer STARTTLS, which is required; nothing was sent",
            )
        case Encryption.OPPORTUNISTIC if not client.supports_extension("starttls"):
            return
    # Whoever offers TLS and fails at it is not talked to in clear: that would be a way to read
    # along.
    async with _guarded(server, Phase.STARTTLS, timeouts.command + timeouts.tls):
        try:
            await client.starttls(server_hostname=server.server_name, timeout=timeouts.tls)
        except ssl.SSLError as error:
            raise _tls_failed(error, server) from error
        except SMTPTimeoutError as error:
            raise _error(
                Reason.TIMEOUT, f"{server.address} does not finish the TLS handshake"
            ) from error
        except OSError as error:
            raise _error(
                Reason.TLS_FAILED, f"{server.address} closed the connection at STARTTLS"
            ) from error
    await _hello(client, server, timeouts)


async def _log_in(client: SMTP, server: SMTPServer, login: Login, timeouts: Timeouts) -> None:
    if client.get_transport_info("sslcontext") is None:
        raise _error(Reason.TLS_FAILED, f"{server.address}: credentials are never sent without TLS")
    async with _guarded(server, Phase.AUTH, None):
        await login.log_in(client, timeouts.command)


@contextlib.asynccontextmanager
async def _guarded(server: SMTPServer, phase: Phase, limit: float | None) -> AsyncIterator[None]:
    """Bound a phase by seconds, and turn what goes wrong in it into a `DeliveryError`."""
    try:
        async with asyncio.timeout(limit):
            yield
    except SMTPResponseException as error:
        if Reply.parse(error.code, "", server.redactor).negative:
            raise refusal(phase, _reply(error, server)) from None
        raise _not_smtp(error, server) from None
    except TimeoutError as error:
        raise _error(Reason.TIMEOUT, f"{server.address} does not answer {phase}") from error
    except OSError as error:
        raise _error(
            Reason.CONNECT_FAILED, f"{server.address} closed the connection at {phase}"
        ) from error


def _reply(error: SMTPResponseException, server: SMTPServer) -> Reply:
    return Reply.parse(error.code, error.message, server.redactor)


def _not_smtp(error: SMTPResponseException, server: SMTPServer) -> DeliveryError:
    said = server.redactor.cleaned(error.message, 100)
    return _error(Reason.CONNECT_FAILED, f"{server.address} does not speak SMTP: {said!r}")


def _tls_failed(error: ssl.SSLError, server: SMTPServer) -> DeliveryError:
    hint = ""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = (
            f" (checked for {server.server_name}; see transportConfig.tls.caSecretRef and "
            "serverName)"
        )
    return _error(Reason.TLS_FAILED, f"{server.address}: {_said(error)}{hint}")


def _said(error: Exception) -> str:
    """Return what an error of the system says, without its number and source line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS failed").replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)


def _error(reason: Reason, message: str, *, retryable: bool = True) -> DeliveryError:
    return DeliveryError(reason, message, scope=Scope.PROCESSOR, retryable=retryable)
