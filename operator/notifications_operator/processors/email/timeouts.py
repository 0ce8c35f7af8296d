"""How long a server may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds for each step of a session.

    RFC 5321 section 4.5.3.2 asks for at least 5 minutes in most places. Where nothing was sent yet
    a shorter wait harms nobody: the attempt is repeated. After the message it harms, because an
    answer that comes too late makes a second copy, so there the RFC's times are kept.
    """

    resolve: float = 15
    """To look up the host's addresses; resolvers give up after 5 s for each server and attempt."""

    connect: float = 30
    """To open the TCP connection, over all addresses."""

    greeting: float = 60
    """Until the server greets (RFC: 5 minutes)."""

    tls: float = 30
    """For the TLS handshake."""

    command: float = 60
    """For the answer to EHLO, AUTH, MAIL, RCPT and RSET (RFC: 5 minutes)."""

    data: float = 120
    """For the answer to DATA (RFC: 2 minutes)."""

    block: float = 180
    """For the server to take a part of the message (RFC: 3 minutes)."""

    final: float = 600
    """For the answer to the message (RFC: 10 minutes)."""

    quit: float = 5
    """To say goodbye."""


DEFAULT_TIMEOUTS = Timeouts()
"""The times that are used outside of tests."""
