"""One SMTP connection, and mail transactions on it (RFC 5321 section 3.3)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from aiosmtplib import SMTP, SMTPResponse, SMTPResponseException

from ...api.reasons import Reason
from ..errors import DeliveryError, LeaseLost, Receipt, Scope
from .authentication import Login
from .config import SMTPServer
from .dialogue import Dialogue
from .opening import open_session
from .replies import Envelope, Phase, Reply, refusal
from .timeouts import Timeouts
from .transport import Mail, MaySend, check

BLOCK_SIZE = 65536
"""Octets of a message that are written at once."""


class ConnectionLost(Exception):
    """The connection ended, or went out of step, before anything of a message was sent.

    Attributes
    ----------
    error
        What that means for a delivery that is not tried again at once.
    """

    def __init__(self, error: DeliveryError) -> None:
        super().__init__(error.message)
        self.error = error


class SMTPConnection:
    """A session that carries one message after the other.

    Attributes
    ----------
    messages
        How many transactions were begun on it.
    drops_groups
        Whether a group of commands went unanswered in part, by a server that offers PIPELINING
        and does not have it.
    """

    def __init__(self, client: SMTP, server: SMTPServer, timeouts: Timeouts) -> None:
        self.messages = 0
        self.drops_groups = False
        self._extensions = dict(client.esmtp_extensions)
        self._server = server
        self._timeouts = timeouts
        self._in_transaction = False
        self._mail: Mail | None = None
        self._dialogue = Dialogue(cast(asyncio.Transport, client.transport))

    @classmethod
    async def open(
        cls, server: SMTPServer, timeouts: Timeouts, login: Login | None = None
    ) -> SMTPConnection:
        """Connect, up to the point where MAIL can follow.

        Raises
        ------
        DeliveryError
            With scope `Scope.PROCESSOR`.
        """
        return cls(await open_session(server, timeouts, login), server, timeouts)

    @property
    def usable(self) -> bool:
        """Whether the connection is open, as far as is known here."""
        return self._dialogue.is_open

    async def send(self, mail: Mail, may_send: MaySend, *, pipelining: bool = True) -> Receipt:
        """Carry one message, unless it may not be sent any more.

        That is asked before MAIL and once more before the message itself, so that of a process
        that was stopped and goes on no more than what it had begun can still arrive.

        Parameters
        ----------
        pipelining
            Whether to use PIPELINING (RFC 2920) if the server offers it.

        Raises
        ------
        DeliveryError
            If the server refused it, or the outcome is not known. The connection may still be
            `usable`. `LeaseLost` if ``may_send`` forbade it; then it is closed.
        ConnectionLost
            If the connection ended before the message's first octet was sent.
        """
        self._check_extensions(mail)
        try:
            return await self._transaction(mail, may_send, pipelining)
        except BaseException as error:
            if isinstance(error, LeaseLost) or not isinstance(error, DeliveryError):
                self.abort()
            raise

    async def reset(self) -> None:
        """Ask for a clean state, which also shows whether the server is still there.

        Raises
        ------
        ConnectionLost
            If it is not.
        """
        try:
            await self._expect(Phase.RSET, b"RSET")
        except DeliveryError as error:
            self.abort()
            raise ConnectionLost(error) from error
        except BaseException:
            self.abort()
            raise
        self._in_transaction = False

    async def quit(self) -> None:
        """Say goodbye and close; a server that does not care is left alone."""
        try:
            async with asyncio.timeout(self._timeouts.quit):
                self._dialogue.tell(b"QUIT")
                await self._dialogue.reply()
        except (OSError, SMTPResponseException):
            # Whether the server minds is of no consequence for what it accepted.
            return
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._dialogue.abort()

    def _check_extensions(self, mail: Mail) -> None:
        """Refuse here what the server has said it would refuse."""
        if not mail.recipient.isascii() and "smtputf8" not in self._extensions:
            raise DeliveryError(
                Reason.INVALID_ADDRESS,
                f"{self._server.address} does not take addresses with letters outside ASCII before "
                "their @ (SMTPUTF8)",
                scope=Scope.RECIPIENT,
                retryable=False,
            )
        limit = self._extensions.get("size", "")
        # RFC 1870 section 4: zero, or no number, is no limit that could be known.
        if limit.isdecimal() and 0 < int(limit) < len(mail.data):
            raise DeliveryError(
                Reason.TOO_LARGE,
                f"the message has {len(mail.data)} octets, {self._server.address} takes {limit}",
                scope=Scope.MESSAGE,
                retryable=False,
            )

    async def _transaction(self, mail: Mail, may_send: MaySend, pipelining: bool) -> Receipt:
        if self._in_transaction:
            await self.reset()
        self.messages += 1
        self._in_transaction = True
        self._mail = mail
        from_ = b"MAIL FROM:<%b>" % mail.sender.encode()
        to = b"RCPT TO:<%b>" % mail.recipient.encode()
        check(may_send)
        together = pipelining and "pipelining" in self._extensions
        begin = self._begin_together if together else self._begin
        await begin(b" ".join([from_, *self._parameters(mail)]), to)
        await self._expect(Phase.DATA, b"DATA")
        check(may_send)
        receipt = await self._message(mail.data)
        self._in_transaction = False
        return receipt

    async def _begin(self, from_: bytes, to: bytes) -> None:
        """Say whom the message is from and to, one after the other."""
        await self._expect(Phase.MAIL, from_)
        await self._expect(Phase.RCPT, to)

    async def _begin_together(self, from_: bytes, to: bytes) -> None:
        """Say both in one write, and hear both answers, whatever the first one is."""
        self._tell(Phase.MAIL, from_, to)
        try:
            await self._answer(Phase.MAIL)
        except DeliveryError:
            with contextlib.suppress(DeliveryError, ConnectionLost):
                await self._second_answer()
            raise
        await self._second_answer()

    async def _second_answer(self) -> None:
        try:
            await self._answer(Phase.RCPT)
        except ConnectionLost as lost:
            self.drops_groups = lost.error.reason is Reason.TIMEOUT
            self.abort()
            raise

    def _parameters(self, mail: Mail) -> list[bytes]:
        parameters = []
        if "size" in self._extensions:
            parameters.append(b"SIZE=%d" % len(mail.data))
        if not mail.recipient.isascii():
            # The header names the recipient, so it is 8-bit too (RFC 6531 section 3.4).
            parameters += [b"SMTPUTF8", b"BODY=8BITMIME"]
        return parameters

    async def _expect(self, phase: Phase, command: bytes) -> None:
        """Send a command; raise unless the answer lets the transaction go on."""
        self._tell(phase, command)
        await self._answer(phase)

    def _tell(self, phase: Phase, *commands: bytes) -> None:
        try:
            self._dialogue.tell(*commands)
        except OSError as error:
            raise self._lost(Reason.CONNECT_FAILED, f"closed the connection at {phase}") from error

    async def _answer(self, phase: Phase) -> None:
        """Hear the answer to a command; raise unless it lets the transaction go on."""
        limit = self._timeouts.data if phase is Phase.DATA else self._timeouts.command
        try:
            # A timer costs more than the rest of this, and most second answers are there.
            async with asyncio.timeout(None if self._dialogue.is_answered else limit):
                response = await self._dialogue.reply()
        except TimeoutError as error:
            raise self._lost(Reason.TIMEOUT, f"does not answer {phase}") from error
        except OSError as error:
            raise self._lost(Reason.CONNECT_FAILED, f"closed the connection at {phase}") from error
        except SMTPResponseException as error:
            raise self._out_of_step(phase, error.code, error.message) from error
        if response.code == 354 if phase is Phase.DATA else 200 <= response.code <= 299:
            return
        reply = self._reply(response)
        if reply.code == 421:
            # RFC 5321 section 3.8: the server closes, whatever it was asked.
            raise ConnectionLost(self._refusal(phase, reply))
        if reply.negative:
            raise self._refusal(phase, reply)
        raise self._out_of_step(phase, response.code, response.message)

    async def _message(self, data: bytes) -> Receipt:
        """Send the message and hear what becomes of it.

        Until the end-of-data mark is handed over, the server cannot accept, but it can refuse;
        after it, only an answer tells.
        """
        octets = stuffed(data)
        last = max(0, len(octets) - BLOCK_SIZE)
        try:
            for start in range(0, last, BLOCK_SIZE):
                async with asyncio.timeout(self._timeouts.block):
                    self._dialogue.write(octets[start : min(start + BLOCK_SIZE, last)])
                    await self._dialogue.drain()
                    # Lets the loop read: a full socket alone would make it do so.
                    await asyncio.sleep(0)
                if self._dialogue.is_addressed:
                    break
            if not self._dialogue.is_addressed and not self.usable:
                raise ConnectionResetError
        except (TimeoutError, OSError) as error:
            if not self._dialogue.is_addressed:
                raise self._broken_off(error) from error
        if self._dialogue.is_addressed:
            raise await self._early_refusal()
        return await self._end(octets[last:])

    async def _early_refusal(self) -> DeliveryError:
        """Hear an answer that came before the end of the message, and give the connection up.

        What the server takes the rest of the message for, nobody knows.
        """
        try:
            async with asyncio.timeout(self._timeouts.command):
                response = await self._dialogue.reply()
        except (TimeoutError, OSError, SMTPResponseException) as error:
            return self._broken_off(error)
        finally:
            self.abort()
        reply = self._reply(response)
        if reply.negative:
            return self._refusal(Phase.MESSAGE, reply)
        return self._interrupted(
            Reason.CONNECT_FAILED, f"answered within the message, out of turn: {reply}"
        )

    def _broken_off(self, error: Exception) -> DeliveryError:
        if isinstance(error, TimeoutError):
            return self._interrupted(Reason.TIMEOUT, "stopped taking the message")
        return self._interrupted(Reason.CONNECT_FAILED, "closed the connection within the message")

    async def _end(self, block: bytes) -> Receipt:
        """Send the last block, which carries the end-of-data mark."""
        try:
            async with asyncio.timeout(self._timeouts.final):
                self._dialogue.write(block)
                response = await self._dialogue.reply()
        except TimeoutError as error:
            # The answer can be there all the same: it came in the moment in which time ran out.
            if not self._dialogue.is_answered:
                raise self._ambiguous("did not answer in time") from error
            response = await self._dialogue.reply()
        except OSError as error:
            raise self._ambiguous("closed the connection without an answer") from error
        except SMTPResponseException as error:
            said = self._server.redactor.cleaned(error.message, 100)
            raise self._ambiguous(f"answered unintelligibly: {said!r}") from error
        reply = self._reply(response)
        if reply.positive:
            return Receipt(message=reply.text, code=reply.code, enhanced_code=reply.enhanced_code)
        if not reply.negative:
            raise self._ambiguous(f"answered out of turn: {reply}")
        if reply.code == 421:
            self.abort()
        raise self._refusal(Phase.MESSAGE, reply)

    def _refusal(self, phase: Phase, reply: Reply) -> DeliveryError:
        mail = self._mail
        envelope = Envelope(sender=mail.sender, recipient=mail.recipient) if mail else None
        return refusal(phase, reply, envelope)

    def _reply(self, response: SMTPResponse) -> Reply:
        return Reply.parse(response.code, response.message, self._server.redactor)

    def _lost(self, reason: Reason, what: str) -> ConnectionLost:
        return ConnectionLost(self._error(reason, what))

    def _out_of_step(self, phase: Phase, code: int, text: str) -> ConnectionLost:
        said = self._server.redactor.cleaned(f"{code} {text}", 100)
        return self._lost(Reason.CONNECT_FAILED, f"does not speak SMTP at {phase}: {said!r}")

    def _interrupted(self, reason: Reason, what: str) -> DeliveryError:
        self.abort()
        return self._error(reason, f"{what}; it was not accepted")

    def _error(self, reason: Reason, what: str) -> DeliveryError:
        return DeliveryError(
            reason, f"{self._server.address} {what}", scope=Scope.RECIPIENT, retryable=True
        )

    def _ambiguous(self, what: str) -> DeliveryError:
        self.abort()
        return DeliveryError(
            Reason.AMBIGUOUS,
            f"{self._server.address} {what} after the whole message was sent; it may have been "
            "accepted",
            scope=Scope.RECIPIENT,
            retryable=True,
        )


def stuffed(data: bytes) -> bytes:
    """Return what follows DATA: dots doubled, and the end-of-data mark (RFC 5321 4.5.2).

    The message must end with a line end.
    """
    if data.startswith(b"."):
        data = b"." + data
    return data.replace(b"\r\n.", b"\r\n..") + b".\r\n"
