"""The mail servers of a campaign: each belongs to one processor and keeps its own ledger."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.kubernetes import Object
from tests.support.smtp import SMTPPeer
from tests.support.token_endpoint import TokenEndpointPeer

from .evidence import Key, Mail

_TITLE = re.compile(r"\b(?P<name>n\d{4,})(?: edition (?P<edition>\d+))?\b")

SENDER = "chaos@example.com"


@dataclass(kw_only=True)
class MailServer:
    """An SMTP server and the processor that sends through it.

    Attributes
    ----------
    processor
        Name of the NotificationProcessor.
    hold
        Whether it has ``onAmbiguous: Hold``.
    concurrency
        How many connections it may have.
    to_everybody
        Whether a broadcast is mailed to every user.
    secret
        Name of the Secret with authority and credentials, if it asks for any.
    tokens, grant
        Where its access tokens come from, if it wants some instead of a password, and how:
        ``oauth2`` but for the endpoint's URL.
    credentials
        What else the Secret holds.
    refused
        How often each recipient was refused for good.
    refused_messages
        How often it was because of the message.
    interrupted
        Recipients in the middle of whose message the server went away.
    """

    processor: str
    hold: bool = False
    concurrency: int = 4
    to_everybody: bool = False
    secret: str | None = None
    tokens: TokenEndpointPeer | None = None
    grant: Object = field(default_factory=dict)
    credentials: dict[str, str] = field(default_factory=dict)
    peer: SMTPPeer = field(default_factory=SMTPPeer)
    refused: Counter[str] = field(default_factory=Counter)
    refused_messages: Counter[str] = field(default_factory=Counter)
    interrupted: set[str] = field(default_factory=set)

    def manifest(self, namespace: str) -> Object:
        """Return the NotificationProcessor."""
        transport: Object = {
            "transport": "smtp",
            "hostname": self.peer.host,
            "port": self.peer.port,
        }
        spec: Object = {
            "type": "email",
            "email": {
                "transportConfig": transport,
                "sender": SENDER,
                "concurrencyLimit": self.concurrency,
                "throttleInterval": {"milliseconds": 0},
            },
            "onAmbiguous": "Hold" if self.hold else "Resend",
            "retry": {"minDelay": "500ms", "maxDelay": "2s", "maxAttempts": 1000},
        }
        if self.to_everybody:
            spec["email"]["broadcastConfig"] = {"receiver": "users"}
        if self.secret is not None:
            transport["tls"] = {"caSecretRef": {"name": self.secret, "key": "ca.crt"}}
            if self.tokens is not None:
                transport["oauth2"] = {**self.grant, "tokenUrl": self.tokens.url}
            else:
                spec["secretRef"] = {"name": self.secret}
        return {
            "apiVersion": "notifications.orchestrator.io/v1alpha1",
            "kind": "NotificationProcessor",
            "metadata": {"name": self.processor, "namespace": namespace},
            "spec": spec,
        }

    def secret_manifest(self, namespace: str) -> Object | None:
        """Return the Secret with credentials and authority, if the server asks for any."""
        if self.secret is None or self.peer.certificate is None:
            return None
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.secret, "namespace": namespace},
            "stringData": {
                **self.credentials,
                **(
                    {"username": self.peer.username, "password": self.peer.password}
                    if self.peer.username
                    else {}
                ),
                "ca.crt": self.peer.certificate.ca_pem.decode(),
            },
        }

    def mails(self, unknown: list[str]) -> Iterator[Mail]:
        """Yield what came completely; what cannot be of a campaign is added to `unknown`."""
        ledger = self.peer.ledger
        accepted = set(ledger.messages)
        unanswered = set(ledger.unanswered)
        for message in accepted | unanswered:
            title = _TITLE.search(str(message.parsed["Subject"]))
            if title is None or len(message.rcpt_to) != 1:
                unknown.append(f"{message.parsed['Subject']} to {message.rcpt_to}")
                continue
            yield Mail(
                key=Key(self.processor, title["name"], user_of(message.rcpt_to[0])),
                edition=int(title["edition"] or 0),
                message_id=message.message_id,
                moment=message.received,
                begun=message.begun,
                accepted=message in accepted,
                answered=message not in unanswered,
            )


def user_of(address: str) -> str:
    """Return the user who has an address."""
    return address.partition("@")[0]
