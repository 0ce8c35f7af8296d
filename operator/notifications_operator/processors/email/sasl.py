"""SASL mechanisms (RFC 4422): what a client says, and in which order."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiosmtplib import SMTP, SMTPResponse
from aiosmtplib.auth import auth_crammd5_verify

MAX_COMMAND_LINE = 512
"""Octets of a command with its CRLF (RFC 5321 section 4.5.3.1.4); AUTH has no more (RFC 4954)."""

MAX_EXCHANGE_LINE = 12288
"""Octets of any other line of an exchange, with its CRLF (RFC 4954 section 4)."""

_CONTINUE = 334


class ChallengeError(ValueError):
    """The server sent a challenge that the mechanism does not have."""


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """One way to log in.

    Attributes
    ----------
    name
        As EHLO offers it.
    initial
        What the client says first; ``None`` if the server speaks first.
    answers
        What the client says to each challenge after that, in order.
    """

    name: str
    initial: bytes | None = field(default=None, repr=False)
    answers: Sequence[Callable[[bytes], bytes]] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """The end of an exchange: the last reply, and the challenges that led there."""

    response: SMTPResponse
    challenges: Sequence[bytes]


def plain(username: str, password: str) -> Mechanism:
    """Return PLAIN (RFC 4616)."""
    return Mechanism(name="PLAIN", initial=f"\0{username}\0{password}".encode())


def login(username: str, password: str) -> Mechanism:
    """Return LOGIN (draft-murchison-sasl-login), whose prompts say what they like.

    The name never goes with the command: some servers refuse that, and some ignore it.
    """
    return Mechanism(name="LOGIN", answers=(_always(username.encode()), _always(password.encode())))


def cram_md5(username: str, password: str) -> Mechanism:
    """Return CRAM-MD5 (RFC 2195)."""

    def answer(challenge: bytes) -> bytes:
        encoded = auth_crammd5_verify(username, password, base64.b64encode(challenge))
        return base64.b64decode(encoded)

    return Mechanism(name="CRAM-MD5", answers=(answer,))


def xoauth2(username: str, token: str) -> Mechanism:
    """Return XOAUTH2, Google's and Microsoft's; a challenge is an error, answered with nothing."""
    return Mechanism(
        name="XOAUTH2",
        initial=f"user={username}\x01auth=Bearer {token}\x01\x01".encode(),
        answers=(_always(b""),),
    )


def oauthbearer(username: str, token: str, *, host: str, port: int) -> Mechanism:
    """Return OAUTHBEARER (RFC 7628); a challenge is an error, answered with ^A (section 3.2.3)."""
    # RFC 5801 section 4: a saslname has no comma and no equals sign.
    name = username.replace("=", "=3D").replace(",", "=2C")
    return Mechanism(
        name="OAUTHBEARER",
        initial=(
            f"n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01".encode()
        ),
        answers=(_always(b"\x01"),),
    )


async def exchange(client: SMTP, mechanism: Mechanism) -> Exchange:
    """Carry out AUTH up to the reply that decides (RFC 4954 section 4).

    Raises
    ------
    ChallengeError
        If a challenge cannot be answered.
    SMTPResponseException, OSError
        As the client does.
    """
    response, waiting = await _begin(client, mechanism)
    challenges: list[bytes] = []
    for answer in (*waiting, *mechanism.answers):
        if response.code != _CONTINUE:
            break
        challenges.append(_decoded(response.message))
        response = await client.execute_command(_encoded(answer(challenges[-1])))
    if response.code == _CONTINUE:
        raise ChallengeError("the server asks for more than there is to say")
    return Exchange(response=response, challenges=challenges)


async def _begin(
    client: SMTP, mechanism: Mechanism
) -> tuple[SMTPResponse, Sequence[Callable[[bytes], bytes]]]:
    """Send AUTH; return the reply, and what is to be said before the mechanism's answers."""
    name, initial = mechanism.name.encode(), mechanism.initial
    if initial is None:
        return await client.execute_command(b"AUTH", name), ()
    # RFC 4954 section 4: an initial response without octets is written as "=".
    encoded = _encoded(initial) or b"="
    if len(b"AUTH %b %b\r\n" % (name, encoded)) <= MAX_COMMAND_LINE:
        return await client.execute_command(b"AUTH", name, encoded), ()
    return await client.execute_command(b"AUTH", name), (_always(initial),)


def fits(mechanism: Mechanism) -> bool:
    """Return whether what the client says first is short enough for an exchange."""
    return len(_encoded(mechanism.initial or b"")) + 2 <= MAX_EXCHANGE_LINE


def _always(text: bytes) -> Callable[[bytes], bytes]:
    return lambda _: text


def _encoded(octets: bytes) -> bytes:
    return base64.b64encode(octets)


def _decoded(text: str) -> bytes:
    """Decode a challenge; what is no base64 is taken as it is, because many do not matter."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode("utf-8", "surrogateescape")
