"""Replies that mention one party and are about another."""

from __future__ import annotations

import pytest

from notifications_operator.processors.email.redaction import Redactor
from notifications_operator.processors.email.replies import Envelope, Phase, Reply, refusal
from notifications_operator.processors.errors import Scope

ENVELOPE = Envelope(sender="noreply@corp.example", recipient="ada@people.test")


def scope_of(phase: Phase, reply: str) -> Scope:
    parsed = Reply.parse(int(reply[:3]), reply[4:], Redactor())
    return refusal(phase, parsed, ENVELOPE).scope


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.1.1 User unknown, see http://mail.people.test/blocked/rbl.html",
        "550 5.7.1 refused, see https://people.test/help/sender-blocklist",
        "550 5.7.1 refused, see www.people.test/spf?ip=192.0.2.4",
        "550 5.7.1 Le compte destinataire n'existe pas (https://fr.test/sender)",
    ],
)
def test_the_path_of_a_url_says_nothing_of_the_sender(reply: str) -> None:
    assert scope_of(Phase.RCPT, reply) is Scope.RECIPIENT


def test_the_path_of_a_url_says_nothing_of_the_message() -> None:
    reply = "550 5.7.1 refused by policy, see https://people.test/spam"

    assert scope_of(Phase.MESSAGE, reply) is Scope.RECIPIENT


@pytest.mark.parametrize(
    "reply",
    [
        "554 http://www.spamhaus.org/query/bl?ip=192.0.2.4",
        "550 5.7.1 Blocked, see https://ipcheck.proofpoint.com/?ip=192.0.2.4",
        "553 5.7.1 http://people.test/help/dnsbl client blocked using dnsbl.sorbs.net",
    ],
)
def test_the_host_of_a_url_can_be_that_of_a_block_list(reply: str) -> None:
    assert scope_of(Phase.RCPT, reply) is Scope.PROCESSOR


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.1.1 <ada@people.test>... User unknown; rejecting from your host",
        "550 5.1.1 Mailbox unavailable. Your IP address is 192.0.2.4",
        "550 5.1.1 mailbox unknown; contact your server administrator",
    ],
)
def test_a_missing_mailbox_is_the_recipients_whoever_is_mentioned(reply: str) -> None:
    assert scope_of(Phase.RCPT, reply) is Scope.RECIPIENT


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.1.1 <noreply@corp.example>: user unknown, said your host",
        "550 5.1.1 Sender address rejected: user unknown",
        "550 5.1.1 Sender address does not accept mail (null MX)",
    ],
)
def test_a_missing_mailbox_can_be_the_senders(reply: str) -> None:
    assert scope_of(Phase.RCPT, reply) is Scope.PROCESSOR


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.1 Recipient not authorized, your sender is on recipient's block list",
        "550 Sender is on user denylist",
        "550 Sender not on whitelist of ada@people.test",
        "550 The user has blocked the sender",
        "550 Prohibited: the mailbox owner does not accept mail from you",
        "554 5.7.1 recipient does not accept mail from outside of the organisation",
        "550 This mailbox does not accept mail from external senders",
        "550 External senders are not allowed to mail this address",
        "550 You are not allowed to send to this mailing list",
        "550 5.7.1 This list is for members only; sender is not subscribed",
        "550 Postings from non-members not allowed; noreply@corp.example is not a member",
    ],
)
def test_whom_a_recipient_lets_in_is_the_recipients_affair(reply: str) -> None:
    assert scope_of(Phase.RCPT, reply) is Scope.RECIPIENT


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.1 noreply@corp.example is not authorized to send to recipients outside",
        "550 5.7.1 External sender uses an internal domain: sender rejected",
    ],
)
def test_what_the_sender_may_not_do_is_the_processors_affair(reply: str) -> None:
    assert scope_of(Phase.RCPT, reply) is Scope.PROCESSOR


@pytest.mark.parametrize(
    "reply",
    [
        "554 5.7.1 message refused for ada@people.test: spam",
        "550 message for ada@people.test has a virus",
        "552 message too large for mailbox of ada@people.test",
        "552 5.3.4 message too big for recipient's mailbox",
    ],
)
def test_what_one_recipient_refuses_is_tried_with_the_others(reply: str) -> None:
    assert scope_of(Phase.MESSAGE, reply) is Scope.RECIPIENT


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.1 Content rejected: contains URL listed in SURBL block list",
        "550 Blocked: URL in this message is listed by uribl",
        "554 5.7.1 message refused: spam",
        "552 5.3.4 message too big",
    ],
)
def test_what_the_message_has_is_refused_for_all(reply: str) -> None:
    assert scope_of(Phase.MESSAGE, reply) is Scope.MESSAGE
