"""The ledger of an SMTP peer: every message it took responsibility for, in order."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, eq=False)
class Message:
    """One accepted message, with the envelope and the session that brought it.

    Attributes
    ----------
    begun
        When the server asked for the message, with 354.
    received
        When the last of it came.
    """

    mail_from: str
    rcpt_to: tuple[str, ...]
    raw: bytes
    connection: int
    peer: str
    tls: bool
    user: str | None
    smtputf8: bool
    begun: datetime
    received: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def parsed(self) -> EmailMessage:
        """The message as the standard library reads it."""
        return message_from_bytes(self.raw, policy=policy.SMTPUTF8)

    @property
    def message_id(self) -> str:
        """The Message-ID, as written."""
        return str(self.parsed["Message-ID"] or "")

    def to_json(self) -> dict[str, Any]:
        """Return a readable form: decoded subject and text beside the raw bytes."""
        parsed = self.parsed
        text = parsed.get_body(("plain",))
        html = parsed.get_body(("html",))
        return {
            "received": self.received.isoformat(timespec="milliseconds"),
            "messageId": self.message_id,
            "mailFrom": self.mail_from,
            "rcptTo": list(self.rcpt_to),
            "connection": self.connection,
            "peer": self.peer,
            "tls": self.tls,
            "user": self.user,
            "from": str(parsed["From"] or ""),
            "to": str(parsed["To"] or ""),
            "replyTo": str(parsed["Reply-To"] or ""),
            "subject": str(parsed["Subject"] or ""),
            "text": text.get_content() if text is not None else "",
            "html": html.get_content() if html is not None else "",
            "headers": [[name, str(value)] for name, value in parsed.items()],
            "raw": self.raw.decode("utf-8", "replace"),
        }


class Ledger:
    """Record of all that an SMTP peer saw.

    Parameters
    ----------
    file
        Where each accepted message is appended as one line of JSON, on disk before the client
        hears of it, so that it can be believed whoever is killed.

    Attributes
    ----------
    messages
        What was accepted, in order.
    unanswered
        Messages that came completely and whose client heard neither yes nor no; some of them are
        among those accepted.
    refused
        How many commands were refused, by step.
    violations
        What a client did that RFC 5321 forbids; a test's client must leave this empty.
    clear_credentials
        How often credentials came without TLS.
    commands
        Verbs in order of arrival, with the number of their connection.
    mechanisms
        What AUTH named, in order.
    groups
        How many commands had another one come right behind them (RFC 2920).
    connections
        How many connections were accepted.
    failed_handshakes
        How many TLS handshakes did not complete.
    client_names
        What clients said with EHLO.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.messages: list[Message] = []
        self.unanswered: list[Message] = []
        self.refused: Counter[str] = Counter()
        self.violations: list[str] = []
        self.clear_credentials = 0
        self.commands: list[tuple[int, str]] = []
        self.mechanisms: list[str] = []
        self.groups = 0
        self.connections = 0
        self.failed_handshakes = 0
        self.client_names: list[str] = []
        self._file = file
        self._changed = asyncio.Condition()

    @property
    def message_ids(self) -> list[str]:
        """Message-IDs in order of acceptance."""
        return [message.message_id for message in self.messages]

    @property
    def recipients(self) -> list[str]:
        """Envelope recipients in order of acceptance."""
        return [recipient for message in self.messages for recipient in message.rcpt_to]

    def verbs(self, connection: int | None = None) -> list[str]:
        """Return the verbs of one connection, counted from 1, or of all."""
        return [verb for number, verb in self.commands if connection in (None, number)]

    async def accept(self, message: Message) -> None:
        """Record a message, durably if there is a file."""
        if self._file is not None:
            _append(self._file, json.dumps(message.to_json(), ensure_ascii=False))
        self.messages.append(message)
        await self.notify()

    async def notify(self) -> None:
        """Wake who waits for a change."""
        async with self._changed:
            self._changed.notify_all()

    async def wait_for_messages(self, count: int, timeout: float = 10) -> Sequence[Message]:
        """Wait until at least so many messages are in."""
        await self.wait_until(lambda: len(self.messages) >= count, timeout)
        return self.messages

    async def wait_for_verb(self, verb: str, count: int = 1, timeout: float = 10) -> None:
        """Wait until a verb arrived at least so many times."""
        await self.wait_until(lambda: self.verbs().count(verb) >= count, timeout)

    async def wait_until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        """Wait for a condition on what the peer saw."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)


def _append(file: Path, line: str) -> None:
    with file.open("a", encoding="utf-8", errors="replace") as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_ledger(file: Path) -> list[dict[str, Any]]:
    """Read the ledger that another process writes; a line still being written is left out."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]
