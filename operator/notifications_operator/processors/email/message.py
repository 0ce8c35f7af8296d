"""Messages (RFC 5322) as bytes: built once per notification, addressed once per recipient."""

from __future__ import annotations

import base64
import hashlib
import quopri
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from ...api.notification import Severity
from ..base import OutboundNotification
from . import headers
from .addresses import Mailbox, domain_of, wire_address
from .rendering import MAX_FACT, Content
from .text import one_line

_IMPORTANCE = {
    Severity.CRITICAL: ("high", "1", "High"),
    Severity.HIGH: ("high", "1", "High"),
    Severity.LOW: ("low", "5", "Low"),
}
"""Importance (RFC 2156), X-Priority and X-MSMail-Priority; a normal mail says nothing."""

_MAX_LABEL = 48
_NOT_IN_LABEL = re.compile("[^a-z0-9]+")


@dataclass(frozen=True, kw_only=True)
class PreparedMessage:
    """A message without the fields that differ between recipients.

    Building it takes milliseconds, addressing it microseconds: a broadcast has 100,000 recipients.
    """

    body: bytes
    domain: str
    threaded: bool

    def addressed(self, address: str, *, identity: str, first_identity: str | None) -> bytes:
        """Return the message to one recipient, with CRLF line ends.

        Parameters
        ----------
        address
            The recipient.
        identity
            Identity of this delivery, the same on every attempt: the Message-ID, by which mail
            systems can drop a copy (RFC 5322 section 3.6.4, RFC 7352).
        first_identity
            Identity of the delivery that this one updates or repeats. Ignored when the message
            belongs to the thread of a scope.
        """
        message_id = f"<{identity}@{self.domain}>"
        to = address if address.isascii() else wire_address(address)
        fields = [f"To: {to}\r\n".encode(), headers.structured("Message-ID", message_id)]
        if first_identity is not None and not self.threaded:
            fields += _reply_to(f"<{first_identity}@{self.domain}>")
        return b"".join([*fields, self.body])


def prepare(
    notification: OutboundNotification,
    content: Content,
    *,
    sender: Mailbox,
    reply_to: Mailbox | None,
    date: datetime,
) -> PreparedMessage:
    """Build all of a message that its recipients share.

    The fields are those of RFC 5322, RFC 3834 (Auto-Submitted), RFC 2919 (List-Id) and RFC 2156
    (Importance), and our own ``X-Notification-*`` for filters and for finding the resource.
    """
    payload = notification.payload
    domain = domain_of(sender.address)
    fields = [
        headers.mailbox("From", sender),
        *([headers.mailbox("Reply-To", reply_to)] if reply_to else []),
        headers.unstructured("Subject", content.subject),
        headers.structured("Date", *format_datetime(date.astimezone(UTC)).split(" ")),
        headers.structured("Auto-Submitted", "auto-generated"),
        headers.structured("X-Auto-Response-Suppress", "All"),
        headers.structured("List-Id", f"<{_list_id(notification, domain)}>"),
    ]
    if payload.scope:
        fields += _reply_to(f"<{_thread(notification.origin, payload.scope)}@{domain}>")
    if payload.severity in _IMPORTANCE:
        importance, priority, ms_priority = _IMPORTANCE[payload.severity]
        fields.append(headers.structured("Importance", importance))
        fields.append(headers.structured("X-Priority", priority))
        fields.append(headers.structured("X-MSMail-Priority", ms_priority))
    if notification.broadcast:
        fields.append(headers.structured("Precedence", "bulk"))
    fields += _machine_fields(notification)
    return PreparedMessage(
        body=b"".join(fields) + _alternatives(content, notification),
        domain=domain,
        threaded=bool(payload.scope),
    )


def _reply_to(message_id: str) -> list[bytes]:
    return [
        headers.structured("In-Reply-To", message_id),
        headers.structured("References", message_id),
    ]


def _thread(origin: str, scope: str) -> str:
    """Return the root of a scope's thread, which no message needs to have."""
    return _digest(origin, scope)


def _list_id(notification: OutboundNotification, domain: str) -> str:
    """Return a list identifier by which a user can filter: the topic's, or else the origin's."""
    names = [notification.payload.topic, notification.origin]
    return ".".join([*(_label(name) for name in names if name), "notifications", domain])


def _label(name: str) -> str:
    label = _NOT_IN_LABEL.sub("-", name.lower()).strip("-")
    if label == name and len(label) <= _MAX_LABEL:
        return label
    # What was lost must still tell names apart.
    return f"{label[:_MAX_LABEL]}-{_digest(name)[:8]}".lstrip("-")


def _machine_fields(notification: OutboundNotification) -> list[bytes]:
    payload = notification.payload
    values = {
        "X-Notification": f"{notification.namespace}/{notification.name}",
        "X-Notification-UID": notification.uid,
        "X-Notification-Severity": payload.severity.value,
        "X-Notification-Origin": notification.origin,
        "X-Notification-Topic": payload.topic or "",
        "X-Notification-Scope": payload.scope or "",
    }
    cleaned = {name: one_line(value, MAX_FACT) for name, value in values.items()}
    return [headers.unstructured(name, value) for name, value in cleaned.items() if value]


def _alternatives(content: Content, notification: OutboundNotification) -> bytes:
    """Return the content as plain text and HTML, the better last (RFC 2046 section 5.1.4)."""
    # "=_" occurs in no quoted-printable and no base64 text, so no text can contain the boundary
    # (RFC 2045 section 6.7).
    boundary = f"=_{_digest(notification.uid, str(notification.revision))}"
    return b"".join(
        [
            b"MIME-Version: 1.0\r\n",
            f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'.encode(),
            _part(boundary, "text/plain", content.text),
            _part(boundary, "text/html", content.html),
            f"--{boundary}--\r\n".encode(),
        ]
    )


def _part(boundary: str, media_type: str, text: str) -> bytes:
    octets = text.encode("utf-8")
    # In 7 bits always, so that no server needs 8BITMIME; whichever is shorter.
    quoted = quopri.encodestring(octets).replace(b"\n", b"\r\n")
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    if len(encoded) < len(quoted):
        encoding, body = "base64", encoded
    else:
        encoding, body = "quoted-printable", quoted
    return b"".join(
        [
            f"--{boundary}\r\n".encode(),
            f"Content-Type: {media_type}; charset=utf-8\r\n".encode(),
            f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode(),
            body if body.endswith(b"\r\n") else body + b"\r\n",
        ]
    )


def _digest(*parts: str) -> str:
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:32]
