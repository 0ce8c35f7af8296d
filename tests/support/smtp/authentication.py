"""AUTH on an SMTP peer (RFC 4954): strict about what each mechanism says."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .peer import SMTPPeer

MAX_COMMAND_LINE = 512
"""RFC 4954 section 4: AUTH has no more than RFC 5321 4.5.3.1.4 gives any command."""

MAX_EXCHANGE_LINE = 12288
"""RFC 4954 section 4."""

_B64TOKEN = r"[A-Za-z0-9._~+/-]+=*"
_XOAUTH2 = re.compile(rf"user=(?P<user>[^\x01]+)\x01auth=Bearer (?P<token>{_B64TOKEN})\x01\x01")
_OAUTHBEARER = re.compile(
    r"n,a=(?P<user>([^,=\x00\x01]|=2C|=3D)+),\x01(?P<pairs>([A-Za-z]+=[\x20-\x7e]*\x01)+)\x01"
)

VerifyToken = Callable[[str, str], str | None]
"""Says what is wrong with a user's token: the ``status`` of RFC 7628 section 3.2.2, or None."""


class LoginStyle(StrEnum):
    """A server's way with a name that comes with AUTH LOGIN."""

    USUAL = "usual"
    REFUSES_INITIAL = "refuses-initial"
    IGNORES_INITIAL = "ignores-initial"


@dataclass
class Refusal(Exception):
    """A reply instead of 235, and what the client did wrong, if it did."""

    reply: str
    violation: str | None = None


Challenge = Callable[[bytes], Awaitable[str]]
"""Sends a challenge and returns the line that answers it."""


async def authenticate(
    peer: SMTPPeer,
    mechanism: str,
    initial: str,
    challenge: Challenge,
    violation: Callable[[str], None],
) -> str:
    """Carry out a mechanism that was offered, and return the user.

    Raises
    ------
    Refusal
        If the client is not let in.
    """
    if len(f"AUTH {mechanism} {initial}\r\n") > MAX_COMMAND_LINE:
        violation(f"AUTH {mechanism} with an initial response that makes the line too long")
    try:
        match mechanism:
            case "PLAIN":
                user = await _plain(peer, initial, challenge)
            case "LOGIN":
                user = await _login(peer, initial, challenge)
            case "CRAM-MD5":
                user = await _cram_md5(peer, challenge)
            case "XOAUTH2" | "OAUTHBEARER":
                user = await _token(peer, mechanism, initial, challenge)
            case _:
                raise Refusal("504 5.5.4 unknown mechanism")
    except ValueError:
        raise Refusal("501 5.5.2 cannot decode", "AUTH response is malformed") from None
    if user is None:
        raise Refusal("535 5.7.8 authentication credentials invalid")
    return user


async def _plain(peer: SMTPPeer, initial: str, challenge: Challenge) -> str | None:
    _, username, password = _decoded(initial or await challenge(b"")).split("\0")
    return username if peer.authenticates(username, password) else None


async def _login(peer: SMTPPeer, initial: str, challenge: Challenge) -> str | None:
    if initial and peer.login_style is LoginStyle.REFUSES_INITIAL:
        raise Refusal("501 5.5.4 Syntax: AUTH LOGIN")
    first, second = peer.login_prompts
    ignored = peer.login_style is LoginStyle.IGNORES_INITIAL
    username = _decoded(await challenge(first) if ignored or not initial else initial)
    password = _decoded(await challenge(second))
    return username if peer.authenticates(username, password) else None


async def _cram_md5(peer: SMTPPeer, challenge: Challenge) -> str | None:
    nonce = f"<{secrets.token_hex(8)}@scripted>".encode()
    username, digest = _decoded(await challenge(nonce)).split(" ")
    expected = hmac.new((peer.password or "").encode(), nonce, "md5").hexdigest()
    return username if digest == expected and username == peer.username else None


async def _token(peer: SMTPPeer, mechanism: str, initial: str, challenge: Challenge) -> str | None:
    text = _decoded(initial or await challenge(b""))
    username, token = (_xoauth2 if mechanism == "XOAUTH2" else _oauthbearer)(peer, text)
    peer.tokens_seen.append(token)
    problem = peer.verify_token(username, token) if peer.verify_token else "invalid_request"
    if problem is None:
        return username
    error = f'{{"status":"{problem}","schemes":"bearer","scope":"https://mail.example/"}}'
    answer = await challenge(error.encode())
    # XOAUTH2: an empty response; RFC 7628 section 3.2.3: a single ^A.
    if answer != ("" if mechanism == "XOAUTH2" else "AQ=="):
        raise Refusal("501 5.5.2 the error was to be confirmed", f"{answer!r} after an error")
    return None


def _xoauth2(peer: SMTPPeer, text: str) -> tuple[str, str]:
    match = _XOAUTH2.fullmatch(text)
    if match is None:
        raise ValueError
    return match["user"], match["token"]


def _oauthbearer(peer: SMTPPeer, text: str) -> tuple[str, str]:
    match = _OAUTHBEARER.fullmatch(text)
    if match is None:
        raise ValueError
    pairs = _pairs(match["pairs"])
    if (pairs["host"], pairs["port"]) != (peer.host, str(peer.port)):
        raise Refusal("535 5.7.8 another server is meant", f"OAUTHBEARER for {pairs['host']}")
    scheme, _, token = pairs["auth"].partition(" ")
    if scheme != "Bearer" or not re.fullmatch(_B64TOKEN, token):
        raise ValueError
    return match["user"].replace("=2C", ",").replace("=3D", "="), token


def _pairs(text: str) -> Mapping[str, str]:
    pairs = dict(pair.split("=", 1) for pair in text.removesuffix("\x01").split("\x01"))
    if not pairs.keys() >= {"host", "port", "auth"}:
        raise ValueError
    return pairs


def _decoded(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()
