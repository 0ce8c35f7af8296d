"""Rules for refusals of one recipient."""

from __future__ import annotations

from functools import partial

from ....api.reasons import Reason
from ...errors import Scope
from . import vocabulary as said
from .envelope import Party
from .reply import Phase
from .rule import CONTENT, DELIVERY, Rule, rule

LOGIN_REMEDY = (
    "if the server wants a login, put a user name and a password that it accepts into the Secret"
)

_recipient = partial(rule, scope=Scope.RECIPIENT, phases=DELIVERY)

RESTRICTED: tuple[Rule, ...] = (
    _recipient(
        "4yz with words for greylisting",
        Reason.GREYLISTED,
        source="RFC 6647 2",
        codes="4xx",
        words=said.GREYLISTED,
    ),
    _recipient(
        "words for an address that another server refused when asked",
        Reason.RECIPIENT_REJECTED,
        source="Postfix reject_unverified_recipient",
        words=f"recipient {said.PROBED}",
    ),
    _recipient(
        "words for what the recipient may receive in a time",
        Reason.RATE_LIMITED,
        source="Gmail, Exchange",
        retryable=True,
        words=said.RECEIVING,
    ),
    _recipient(
        "5.2.121, 5.2.122",
        Reason.RATE_LIMITED,
        source="Microsoft 365",
        retryable=True,
        enhanced="5.2.12[12]",
    ),
    _recipient(
        "x.2.x with words for a rate",
        Reason.RATE_LIMITED,
        source="Gmail, Yandex",
        retryable=True,
        enhanced="x.2.x",
        words=said.RATE,
        unless=f"{said.OUTGOING}|{said.FULL}",
    ),
    _recipient(
        "words for a domain that wants TLS",
        Reason.TLS_FAILED,
        source="Gmail",
        retryable=True,
        words=said.TLS_OF_RECIPIENT,
    ),
    _recipient(
        "words for a recipient who does not take mail from everybody",
        Reason.POLICY_DENIED,
        source="Exchange, Microsoft 365",
        words=said.RESTRICTED,
    ),
    _recipient(
        "5.7.12, 5.7.124, 5.7.129, 5.7.133 to 5.7.136, 5.7.505, 5.7.507",
        Reason.POLICY_DENIED,
        source="Microsoft 365",
        enhanced="5.7.12|5.7.124|5.7.129|5.7.13[3-6]|5.7.50[57]",
    ),
    _recipient(
        "words for an address that is not verified or allowed, with the recipient's",
        Reason.POLICY_DENIED,
        source="Amazon SES",
        words=f"{said.UNVERIFIED}|{said.NOT_AUTHORIZED}",
        names_domain=Party.RECIPIENT,
    ),
    _recipient(
        "words for a list of those who may send, with the recipient's address and without a host",
        Reason.POLICY_DENIED,
        source="RFC 3463 3.8",
        words=said.ALLOW_LIST,
        unless=said.HOST_OR_IP,
        names=Party.RECIPIENT,
    ),
    _recipient(
        "x.3.1: the server's storage", Reason.SERVER_BUSY, source="RFC 3463 3.4", enhanced="x.3.1"
    ),
    _recipient("x.2.3", Reason.TOO_LARGE, source="RFC 3463 3.3", enhanced="x.2.3"),
    _recipient(
        "5yz with words for the size and for a mailbox",
        Reason.TOO_LARGE,
        source="RFC 3463 3.3",
        phases=CONTENT,
        codes="5xx",
        words=said.SIZE_FOR_MAILBOX,
        unless=said.FULL,
    ),
    _recipient(
        "too many recipients: there is one, so it counts those before",
        Reason.RATE_LIMITED,
        source="RFC 5321 4.5.3.1.10",
        retryable=True,
        words=r"too many recipients(?!.{0,15}(?:hour|minute|second|day)| from\b)",
    ),
    _recipient(
        "words for a rate, with the recipient's address and without the sender or a host",
        Reason.RATE_LIMITED,
        source="iCloud, Comcast",
        retryable=True,
        words=said.RATE,
        unless=said.HOST_NAMED,
        names=Party.RECIPIENT,
    ),
)
"""Filters that recipients set up, and limits that providers set for them."""

HARM: tuple[Rule, ...] = (
    _recipient(
        "5yz with words for spam, viruses, attachments or links, with the recipient's address",
        Reason.CONTENT_REJECTED,
        source="Amavis, Rspamd",
        phases=CONTENT,
        codes="5xx",
        words=said.HARMFUL,
        names=Party.RECIPIENT,
    ),
)
"""What one recipient's filter takes a message for, another's need not."""

MISSING: tuple[Rule, ...] = (
    _recipient(
        "x.1.1 with words for a mailbox that is not there, whatever else is said",
        Reason.RECIPIENT_REJECTED,
        source="RFC 3463 3.2",
        phases=(Phase.RCPT,),
        enhanced="x.1.1",
        words=said.UNKNOWN,
        unless=f"{said.WRONG_SENDER}|{said.REFUSED_SENDER}",
        unless_names=Party.SENDER,
    ),
)
"""Mailboxes of which code and words agree that they are not there."""

RATES: tuple[Rule, ...] = (
    _recipient(
        "other words for a rate",
        Reason.RATE_LIMITED,
        source="Stalwart",
        retryable=True,
        phases=(Phase.RCPT,),
        words=said.RATE,
        unless=f"{said.FULL}|{said.SIZE}",
    ),
)
"""Rates that nothing ascribes to the sender, the account or the host."""

MAILBOX: tuple[Rule, ...] = (
    _recipient(
        "words for a full mailbox or its quota",
        Reason.MAILBOX_FULL,
        source="RFC 3463 3.3",
        # People make room, so 5.2.2 is tried again too.
        retryable=True,
        words=said.FULL,
        unless=r"\bqueue\b",
    ),
    _recipient(
        "x.2.2",
        Reason.MAILBOX_FULL,
        source="RFC 3463 3.3",
        retryable=True,
        enhanced="x.2.2",
    ),
    _recipient(
        "x.6.7, x.6.9, x.1.3",
        Reason.INVALID_ADDRESS,
        source="RFC 6531 3.5, RFC 3463 3.2",
        enhanced="x.6.7|x.6.9|x.1.3",
    ),
)
"""Mailboxes, and addresses that no server can take."""

UNKNOWN: tuple[Rule, ...] = (
    _recipient(
        '5.7.x with "Recipient address rejected"',
        Reason.POLICY_DENIED,
        source="Postfix check_recipient_access",
        enhanced="5.7.x",
        words=said.ADDRESS_REJECTED,
        unless=r"unknown|not exist|no such",
    ),
    _recipient(
        "words for a mailbox that is not there or out of use",
        Reason.RECIPIENT_REJECTED,
        source="RFC 5321 4.2.3",
        words=said.UNKNOWN,
    ),
    _recipient(
        "5yz with the recipient's address or domain, as one that is not known",
        Reason.RECIPIENT_REJECTED,
        source="Amazon SES, Yahoo",
        codes="5xx",
        words=said.WRONG,
        names_domain=Party.RECIPIENT,
    ),
    _recipient(
        "words against sending, with the recipient's address",
        Reason.POLICY_DENIED,
        source="Bell",
        words=said.NOT_ALLOWED,
        names=Party.RECIPIENT,
    ),
)

RELAYING: tuple[Rule, ...] = (
    _recipient(
        "4yz with words against relaying",
        Reason.POLICY_DENIED,
        source="Postfix defer_unauth_destination",
        codes="4xx",
        words=said.RELAY,
    ),
    _recipient(
        "5.1.2 with words against relaying",
        Reason.POLICY_DENIED,
        source="Stalwart",
        enhanced="5.1.2",
        words=said.RELAY,
    ),
    _recipient(
        "words against relaying",
        Reason.POLICY_DENIED,
        source="Postfix reject_unauth_destination, Exchange 5.7.54",
        conclusive=False,
        phases=(Phase.RCPT,),
        words=said.RELAY,
    ),
    _recipient(
        "words against relaying, with the recipient's address",
        Reason.POLICY_DENIED,
        source="Postfix reject_unauth_destination",
        conclusive=False,
        words=said.RELAY,
        names=Party.RECIPIENT,
    ),
)
"""Servers that do not serve a recipient's domain, or serve it after a login."""

LOGIN: tuple[Rule, ...] = (
    _recipient(
        "words for a login",
        Reason.AUTH_FAILED,
        source="RFC 4954 6",
        retryable=True,
        conclusive=False,
        phases=(Phase.RCPT,),
        words=said.LOGIN,
        remedy=LOGIN_REMEDY,
    ),
)
"""Servers that want a login for some recipients only."""
