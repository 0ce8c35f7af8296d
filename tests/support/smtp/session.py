"""One SMTP session: RFC 5321's state machine, and the faults of the script."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from .authentication import MAX_EXCHANGE_LINE, Refusal, authenticate
from .certificates import TLSMode
from .ledger import Message
from .script import Action, Drop, Fault, Hang, Pause, Raw, Reply, Reset, Step

if TYPE_CHECKING:
    from .peer import SMTPPeer

MAX_COMMAND_LINE = 512 + 500
"""RFC 5321 4.5.3.1.4, with what MAIL may add for SIZE, SMTPUTF8 and AUTH."""

MAX_TEXT_LINE = 1000
"""RFC 5321 4.5.3.1.6, with its CRLF."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LABEL = (
    r"[A-Za-z0-9\u0080-\U0010ffff]([A-Za-z0-9\u0080-\U0010ffff-]*[A-Za-z0-9\u0080-\U0010ffff])?"
)
_PATH = rf"<(?P<address>{_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})*)>"
_PARAMETERS = r"(?P<parameters>( [A-Za-z0-9][A-Za-z0-9-]*(=[\x21-\x3c\x3e-\x7e]+)?)*)"
_MAIL = re.compile(rf"(?i:FROM):{_PATH}{_PARAMETERS}")
_RCPT = re.compile(rf"(?i:TO):{_PATH}{_PARAMETERS}")
_ASCII_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_EHLO_NAME = re.compile(
    rf"{_ASCII_LABEL}(\.{_ASCII_LABEL})*"
    r"|\[([0-9]{1,3}(\.[0-9]{1,3}){3}|IPv6:[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\]"
)
_GROUPED = ("MAIL", "RCPT", "RSET")
"""What may be followed by another command of its group (RFC 2920 section 3.1)."""
_REQUIRED_HEADERS = ("From", "To", "Date", "Message-ID", "Subject")


class Gone(Exception):
    """The session is over."""


class Session:
    """Serves one connection until it ends."""

    def __init__(
        self,
        peer: SMTPPeer,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._peer = peer
        self._ledger = peer.ledger
        self._number = number
        self._reader = reader
        self._writer = writer
        self._tls = False
        self._greeted = False
        self._user: str | None = None
        self._accepted = 0
        self._held = b""
        self._grouped = False
        self._mail_from: str | None = None
        self._rcpt_to: list[str] = []
        self._parameters: dict[str, str] = {}
        self._verbs: dict[str, Callable[[str], Awaitable[None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "QUIT": self._quit,
        }

    async def run(self) -> None:
        try:
            if self._peer.tls is TLSMode.IMPLICIT:
                await self._handshake()
            if not await self._faulted(Step.CONNECT):
                await self._say(f"220 {self._peer.host} ESMTP scripted")
            while True:
                await self._command()
        except (Gone, OSError, asyncio.IncompleteReadError):
            return

    # Lines

    async def _command(self) -> None:
        line = await self._line(MAX_COMMAND_LINE)
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        self._ledger.commands.append((self._number, verb))
        await self._ledger.notify()
        handler = self._verbs.get(verb)
        if handler is None:
            await self._refuse(verb, "500 5.5.1 unknown command", violation=f"unknown {verb!r}")
            return
        self._ledger.groups += self._pending()
        offered = self._peer.pipelining or self._peer.drops_groups
        if self._pending() and verb != "QUIT" and not (offered and verb in _GROUPED):
            self._violation(f"{verb} was pipelined, which was not offered (RFC 2920)")
        if self._peer.drops_groups:
            self._reader._buffer.clear()  # type: ignore[attr-defined]
        grouped = self._pending()
        await handler(rest)
        self._grouped = grouped

    async def _line(self, limit: int) -> str:
        raw = await self._reader.readuntil(b"\n")
        if not raw.endswith(b"\r\n"):
            self._violation(f"line without CRLF: {raw[:80]!r}")
        if len(raw) > limit:
            self._violation(f"line of {len(raw)} octets")
        if any(octet < 0x20 or octet == 0x7F for octet in raw.rstrip(b"\r\n")):
            self._violation(f"control character in {raw[:80]!r}")
        try:
            return raw.rstrip(b"\r\n").decode("utf-8")
        except UnicodeDecodeError:
            self._violation(f"not UTF-8: {raw[:80]!r}")
            return raw.rstrip(b"\r\n").decode("latin-1")

    def _pending(self) -> bool:
        return bool(self._reader._buffer)  # type: ignore[attr-defined]

    async def _say(self, text: str) -> None:
        lines = text.split("\n")
        reply = [f"{line[:3]}-{line[4:]}" for line in lines[:-1]] + [lines[-1]]
        self._held += "".join(f"{line}\r\n" for line in reply).encode()
        if not (self._peer.pipelining and self._pending()):
            await self._release()

    async def _release(self) -> None:
        """Send the replies that were held back for the rest of the group."""
        self._writer.write(self._held)
        self._held = b""
        await self._writer.drain()

    async def _refuse(self, step: str, text: str, violation: str | None = None) -> None:
        self._ledger.refused[step.lower()] += 1
        if violation is not None:
            self._violation(violation)
        await self._say(text)

    def _violation(self, text: str) -> None:
        self._ledger.violations.append(f"connection {self._number}: {text}")

    # Faults

    async def _faulted(self, step: Step, recipient: str | None = None) -> bool:
        """Let the fault of this step happen; False if there is none."""
        fault = self._peer.script.next(step, recipient)
        if fault is None:
            return False
        await self._release()
        if isinstance(fault.action, Pause):
            await self._pause(fault, fault.action)
            return False
        await self._happen(step, fault)
        return True

    async def _pause(self, fault: Fault, action: Pause) -> None:
        if fault.reached is not None:
            fault.reached()
        await action.released.wait()

    async def _happen(self, step: Step, fault: Fault) -> None:
        if not (isinstance(fault.action, Reply) and fault.action.text.startswith("2")):
            self._ledger.refused[step] += 1
        reached = fault.reached or (lambda: None)
        if not isinstance(fault.action, Reply):
            reached()
        await self._act(fault.action, said=reached)

    async def _act(self, action: Action, *, said: Callable[[], None]) -> None:
        match action:
            case Reply(text=text, close=close):
                await self._say(text)
                said()
                if close or text.startswith("421"):
                    await self._release()
                    raise Gone
            case Raw(data=data, hang=hang):
                self._writer.write(data)
                await self._writer.drain()
                if hang:
                    await self._until_gone()
            case Drop():
                raise Gone
            case Reset():
                raw = self._writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._writer.transport.abort()
                raise Gone
            case Hang(deaf=deaf):
                if deaf:
                    transport = cast(asyncio.Transport, self._writer.transport)
                    transport.pause_reading()
                    await asyncio.Event().wait()
                await self._until_gone()

    async def _until_gone(self) -> None:
        while await self._reader.read(65536):
            pass
        raise Gone

    # Session

    async def _ehlo(self, name: str) -> None:
        if await self._faulted(Step.EHLO):
            return
        if not self._peer.esmtp:
            await self._refuse("ehlo", "502 5.5.1 EHLO is not known here")
            return
        if not _EHLO_NAME.fullmatch(name):
            await self._refuse("ehlo", "501 5.5.4 bad domain", f"EHLO name {name!r}")
            return
        self._ledger.client_names.append(name)
        if self._peer.refused_names is not None and self._peer.refused_names.match(name):
            await self._refuse("ehlo", "421 4.7.0 Try again later, closing connection. (EHLO)")
            raise Gone
        self._greeted = True
        self._forget_transaction()
        await self._say("\n".join(["250 scripted greets you", *self._extensions()]))

    def _extensions(self) -> list[str]:
        lines = ["250 ENHANCEDSTATUSCODES"]
        if self._peer.pipelining or self._peer.drops_groups:
            lines.append("250 PIPELINING")
        if self._peer.smtputf8:
            lines += ["250 8BITMIME", "250 SMTPUTF8"]
        if self._peer.max_size is not None:
            lines.append(f"250 SIZE {self._peer.max_size}")
        if self._peer.tls is TLSMode.STARTTLS and not self._tls:
            lines.append("250 STARTTLS")
        if self._peer.asks_login and (self._tls or self._peer.auth_offered_in_clear):
            keyword = "250 AUTH" + ("=" if self._peer.auth_in_old_syntax else " ")
            lines.append(keyword + " ".join(self._peer.auth_mechanisms))
        return lines

    async def _helo(self, name: str) -> None:
        if await self._faulted(Step.HELO):
            return
        self._greeted = True
        self._forget_transaction()
        await self._say("250 scripted")

    async def _starttls(self, rest: str) -> None:
        if await self._faulted(Step.STARTTLS):
            return
        if self._peer.tls is not TLSMode.STARTTLS or self._tls or rest:
            await self._refuse("starttls", "503 5.5.1 not now", "STARTTLS was not offered")
            return
        if self._pending():
            self._violation("plaintext after STARTTLS (RFC 3207 4.2)")
        await self._say("220 2.0.0 go ahead")
        await self._handshake()
        self._greeted = False
        self._forget_transaction()

    async def _handshake(self) -> None:
        try:
            await self._writer.start_tls(self._peer.tls_context)
        except (ssl.SSLError, OSError):
            self._ledger.failed_handshakes += 1
            raise Gone from None
        self._tls = True

    # Authentication (RFC 4954)

    async def _auth(self, rest: str) -> None:
        if not self._tls:
            self._ledger.clear_credentials += 1
        if await self._faulted(Step.AUTH):
            return
        mechanism, _, initial = rest.partition(" ")
        mechanism = mechanism.upper()
        self._ledger.mechanisms.append(mechanism)
        if not self._peer.asks_login or mechanism not in self._peer.auth_mechanisms:
            await self._refuse("auth", "504 5.5.4 unknown mechanism", f"AUTH {mechanism} unoffered")
        elif self._user is not None:
            await self._refuse("auth", "503 5.5.1 already authenticated", "AUTH twice")
        elif not self._tls and not self._peer.auth_offered_in_clear:
            await self._refuse("auth", "538 5.7.11 encryption required", "AUTH in clear")
        elif (reply := self._peer.refused_mechanisms.get(mechanism)) is not None:
            await self._refuse("auth", reply)
            if self._peer.hangs_up_after_refusal:
                await self._release()
                raise Gone
        else:
            await self._authenticate(mechanism, initial)

    async def _authenticate(self, mechanism: str, initial: str) -> None:
        try:
            self._user = await authenticate(
                self._peer, mechanism, initial, self._challenge, self._violation
            )
        except Refusal as refusal:
            await self._refuse("auth", refusal.reply, refusal.violation)
        else:
            await self._say("235 2.7.0 authenticated")

    async def _challenge(self, text: bytes) -> str:
        await self._say(f"334 {base64.b64encode(text).decode()}")
        return await self._line(MAX_EXCHANGE_LINE)

    # Transaction

    async def _mail(self, rest: str) -> None:
        if self._peer.max_messages is not None and self._accepted >= self._peer.max_messages:
            await self._say("421 4.7.0 too many messages on this connection")
            await self._release()
            raise Gone
        if await self._faulted(Step.MAIL):
            return
        match = _MAIL.fullmatch(rest)
        if not self._greeted:
            await self._refuse("mail", "503 5.5.1 EHLO first", "MAIL before EHLO")
        elif self._mail_from is not None:
            await self._refuse("mail", "503 5.5.1 nested MAIL", "MAIL within a transaction")
        elif match is None:
            await self._refuse("mail", "501 5.1.7 bad sender syntax", f"MAIL {rest!r}")
        elif self._peer.asks_login and self._user is None:
            await self._refuse("mail", "530 5.7.0 authentication required")
        else:
            await self._begin(match["address"], _parameters(match["parameters"]))

    async def _begin(self, address: str, parameters: dict[str, str]) -> None:
        known = {"SIZE"} if self._peer.max_size is not None else set()
        known |= {"SMTPUTF8", "BODY"} if self._peer.smtputf8 else set()
        if unknown := parameters.keys() - known:
            await self._refuse("mail", "555 5.5.4 unknown parameter", f"MAIL with {unknown}")
        elif not address.isascii() and "SMTPUTF8" not in parameters:
            await self._refuse("mail", "553 5.6.7 SMTPUTF8 needed", f"MAIL {address!r}")
        elif self._peer.max_size is not None and (
            int(parameters.get("SIZE", 0)) > self._peer.max_size
        ):
            await self._refuse("mail", "552 5.3.4 message too big")
        else:
            self._mail_from = address
            self._parameters = parameters
            await self._say("250 2.1.0 sender ok")

    async def _rcpt(self, rest: str) -> None:
        match = _RCPT.fullmatch(rest)
        address = match["address"] if match else None
        if await self._faulted(Step.RCPT, address):
            return
        if self._mail_from is None:
            # Within a group the client cannot know yet that MAIL was refused.
            violation = None if self._grouped else "RCPT before MAIL"
            await self._refuse("rcpt", "503 5.5.1 MAIL first", violation)
        elif match is None or address is None or match["parameters"]:
            await self._refuse("rcpt", "501 5.1.3 bad recipient syntax", f"RCPT {rest!r}")
        elif not address.isascii() and "SMTPUTF8" not in self._parameters:
            await self._refuse("rcpt", "553 5.6.7 SMTPUTF8 needed", f"RCPT {address!r}")
        elif self._peer.greylist and (self._mail_from, address) not in self._peer.greylisted:
            self._peer.greylisted.add((self._mail_from, address))
            await self._refuse("rcpt", "450 4.7.1 Greylisting in action, come back later")
        else:
            self._rcpt_to.append(address)
            await self._say("250 2.1.5 recipient ok")

    async def _data(self, rest: str) -> None:
        if await self._faulted(Step.DATA, self._rcpt_to[0] if self._rcpt_to else None):
            return
        if not self._rcpt_to or rest:
            await self._refuse("data", "503 5.5.1 RCPT first", "DATA without recipients")
            return
        if self._pending():
            self._violation("the message came before 354")
        await self._say("354 end with <CRLF>.<CRLF>")
        begun = datetime.now(UTC)
        raw, flaw, answered = await self._body()
        if answered:
            self._forget_transaction()
        else:
            await self._end(raw, flaw, begun)

    async def _body(self) -> tuple[bytes, str | None, bool]:
        """Read the message; the last item is whether it was answered before its end."""
        lines: list[bytes] = []
        flaw = None
        answered = False
        while (line := await self._reader.readuntil(b"\n")) != b".\r\n":
            if not lines:
                answered = await self._faulted(Step.BODY, self._rcpt_to[0])
            flaw = flaw or _flaw(line, eight_bit=self._parameters.get("BODY") == "8BITMIME")
            lines.append(line.removeprefix(b"."))
        return b"".join(lines), flaw, answered

    async def _end(self, raw: bytes, flaw: str | None, begun: datetime) -> None:
        message = Message(
            mail_from=self._mail_from or "",
            rcpt_to=tuple(self._rcpt_to),
            raw=raw,
            connection=self._number,
            peer=str(self._writer.get_extra_info("peername")),
            tls=self._tls,
            user=self._user,
            smtputf8="SMTPUTF8" in self._parameters,
            begun=begun,
        )
        recipient = self._rcpt_to[0]
        self._forget_transaction()
        flaw = flaw or _malformed(message)
        if flaw is not None:
            await self._refuse("end", f"554 5.6.0 {flaw}", f"message with {flaw}")
            return
        fault = self._peer.script.next(Step.END, recipient)
        if fault is not None and isinstance(fault.action, Pause):
            await self._pause(fault, fault.action)
            fault = None
        if fault is not None:
            if fault.recorded:
                await self._ledger.accept(message)
            if not isinstance(fault.action, Reply):
                self._ledger.unanswered.append(message)
            await self._happen(Step.END, fault)
        elif self._peer.max_size is not None and len(raw) > self._peer.max_size:
            await self._refuse("end", "552 5.3.4 message too big")
        else:
            self._accepted += 1
            await self._ledger.accept(message)
            if self._is_gone:
                self._ledger.unanswered.append(message)
            await self._say(f"250 2.0.0 queued as {len(self._ledger.messages)}")

    @property
    def _is_gone(self) -> bool:
        """Whether the client has closed the connection, and will not hear any answer."""
        return self._reader.at_eof() or self._reader.exception() is not None

    async def _rset(self, rest: str) -> None:
        if await self._faulted(Step.RSET):
            return
        self._forget_transaction()
        await self._say("250 2.0.0 reset")

    async def _noop(self, rest: str) -> None:
        if not await self._faulted(Step.NOOP):
            await self._say("250 2.0.0 ok")

    async def _quit(self, rest: str) -> None:
        if not await self._faulted(Step.QUIT):
            await self._say("221 2.0.0 bye")
        raise Gone

    def _forget_transaction(self) -> None:
        self._mail_from = None
        self._rcpt_to = []
        self._parameters = {}


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split())
    return {name.upper(): value for name, _, value in pairs}


def _flaw(line: bytes, *, eight_bit: bool) -> str | None:
    """Say what RFC 5321 forbids in a line of text, as a line of a reply."""
    if not line.endswith(b"\r\n"):
        return "a bare line feed"
    if len(line) > MAX_TEXT_LINE:
        return f"a line of {len(line)} octets"
    if b"\r" in line[:-2] or b"\0" in line:
        return "a bare carriage return or NUL"
    if not eight_bit and not line.isascii():
        return "8-bit text that was not announced"
    return None


def _malformed(message: Message) -> str | None:
    """Say what RFC 5322 forbids in a message, as a line of a reply."""
    parsed = message.parsed
    for name in _REQUIRED_HEADERS:
        if len(parsed.get_all(name, [])) != 1:
            return f"{len(parsed.get_all(name, []))} {name} headers"
    for part in parsed.walk():
        if part.defects:
            return f"a defect: {part.defects[0]!r}"[:200]
    return None
