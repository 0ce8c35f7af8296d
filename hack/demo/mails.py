"""Received mails, made readable."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.smtp import read_ledger


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail, as the mail catcher took it.

    Attributes
    ----------
    notification
        Which Notification it is from: `namespace/name` (header X-Notification).
    encrypted
        Whether it came over TLS.
    """

    notification: str
    recipient: str
    sender: str
    reply_to: str
    subject: str
    text: str
    severity: str
    encrypted: bool
    user: str


def read(ledger: Path, *, after: int = 0) -> list[Mail]:
    """Return the mails of a ledger, without the first `after`."""
    return [_mail(entry) for entry in read_ledger(ledger)[after:]]


def letters(mails: Iterable[Mail]) -> Iterator[str]:
    """Yield a text for each Notification: to whom it went, and what all of them read.

    Everybody gets a mail of their own; what differs between them is the recipient.
    """
    groups: dict[tuple[str, str, str], list[Mail]] = {}
    for mail in mails:
        groups.setdefault((mail.notification, mail.subject, mail.text), []).append(mail)
    for group in groups.values():
        yield letter(group[0], sorted(mail.recipient for mail in group))


def letter(mail: Mail, recipients: Iterable[str]) -> str:
    """Return the text of one mail under its most important headers."""
    answers = f" (answers to {mail.reply_to})" if mail.reply_to else ""
    lines = [
        f"✉ {mail.subject}",
        *(f"  {'to' if not number else '  '}    {to}" for number, to in enumerate(recipients)),
        f"  from  {mail.sender}{answers}",
        "",
        *(f"  │ {line}".rstrip() for line in mail.text.strip().splitlines()),
    ]
    return "\n".join(lines)


def _mail(entry: dict[str, Any]) -> Mail:
    headers = dict(entry["headers"])
    return Mail(
        notification=headers.get("X-Notification", ""),
        recipient=", ".join(entry["rcptTo"]),
        sender=entry["from"],
        reply_to=entry["replyTo"],
        subject=entry["subject"],
        text=entry["text"],
        severity=headers.get("X-Notification-Severity", ""),
        encrypted=entry["tls"],
        user=entry["user"] or "",
    )
