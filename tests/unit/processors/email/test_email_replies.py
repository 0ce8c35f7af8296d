"""What SMTP replies mean: one line for each that servers are known to give."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.redaction import Redactor
from notifications_operator.processors.email.replies import (
    Envelope,
    Phase,
    Reply,
    refusal,
    vocabulary,
)
from notifications_operator.processors.email.replies.envelope import Party
from notifications_operator.processors.email.replies.reply import MAX_WORDS
from notifications_operator.processors.errors import Scope

R = Reason
RECIPIENT, MESSAGE, PROCESSOR = Scope.RECIPIENT, Scope.MESSAGE, Scope.PROCESSOR
AGAIN, NEVER = True, False
ENDS = (Phase.DATA, Phase.MESSAGE)

CASES: list[tuple[tuple[Phase, ...], str, Reason, Scope, bool]] = [
    # Greeting and EHLO
    ((Phase.GREETING,), "554 No SMTP service here", R.CONNECT_FAILED, PROCESSOR, AGAIN),
    ((Phase.GREETING,), "421 4.3.2 shutting down", R.CONNECT_FAILED, PROCESSOR, AGAIN),
    ((Phase.GREETING,), "450 4.7.1 come back later", R.CONNECT_FAILED, PROCESSOR, AGAIN),
    ((Phase.HELLO,), "550 5.7.1 access denied", R.CONNECT_FAILED, PROCESSOR, AGAIN),
    # STARTTLS
    ((Phase.STARTTLS,), "454 4.3.0 TLS not available", R.TLS_FAILED, PROCESSOR, AGAIN),
    ((Phase.STARTTLS,), "502 5.5.1 not implemented", R.TLS_FAILED, PROCESSOR, AGAIN),
    # AUTH
    ((Phase.AUTH,), "535 5.7.8 credentials invalid", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.AUTH,), "534 5.7.9 mechanism too weak", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.AUTH,), "538 5.7.11 encryption required", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.AUTH,), "504 5.5.4 unknown mechanism", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.AUTH,), "454 4.7.0 temporary failure", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.AUTH,), "432 4.7.12 password transition", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.AUTH,), "421 4.3.2 closing", R.CONNECT_FAILED, PROCESSOR, AGAIN),
    # Authentication or encryption asked for in the middle
    ((Phase.MAIL,), "530 5.7.0 authentication required", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.RCPT,), "530 5.7.57 not authenticated", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "530 5.7.0 Must issue a STARTTLS command", R.TLS_FAILED, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "554 5.7.10 encryption needed", R.TLS_FAILED, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "454 4.7.0 temporary authentication", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.MESSAGE,), "550 5.7.57 not authenticated", R.AUTH_FAILED, PROCESSOR, AGAIN),
    # The server is busy, for now
    ((Phase.RCPT, *ENDS), "421 closing", R.SERVER_BUSY, RECIPIENT, AGAIN),
    ((Phase.MAIL,), "421 closing", R.SERVER_BUSY, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "451 4.3.0 local error", R.SERVER_BUSY, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "452 4.3.1 out of storage", R.SERVER_BUSY, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "450 try again", R.SERVER_BUSY, PROCESSOR, AGAIN),
    ((Phase.RCPT,), "450 mailbox busy", R.SERVER_BUSY, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "451 4.4.3 directory timeout", R.SERVER_BUSY, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "452 storage", R.SERVER_BUSY, RECIPIENT, AGAIN),
    (ENDS, "451 4.3.5 local error", R.SERVER_BUSY, RECIPIENT, AGAIN),
    (ENDS, "452 4.3.1 out of storage", R.SERVER_BUSY, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "503 5.5.1 bad sequence", R.SERVER_BUSY, RECIPIENT, AGAIN),
    ((Phase.RSET,), "500 what", R.SERVER_BUSY, RECIPIENT, AGAIN),
    # Greylisting
    ((Phase.RCPT,), "450 4.2.0 <a@b>: Greylisted, see http", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "451 4.7.1 Greylisting in action", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "451 4.7.1 please try later", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "450 4.2.1 not now", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "450 Graylisted", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.MESSAGE,), "451 4.7.1 Greylisting", R.GREYLISTED, RECIPIENT, AGAIN),
    # Rate limits
    ((Phase.RCPT,), "450 4.2.1 receiving mail too quickly", R.RATE_LIMITED, RECIPIENT, AGAIN),
    ((Phase.MAIL,), "450 4.7.28 unusual rate", R.RATE_LIMITED, PROCESSOR, AGAIN),
    ((Phase.MESSAGE,), "421 4.7.28 flood", R.RATE_LIMITED, PROCESSOR, AGAIN),
    ((Phase.MESSAGE,), "550 5.7.28 flood", R.RATE_LIMITED, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "432 4.3.2 connections limit exceeded", R.RATE_LIMITED, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "421 4.7.0 try again later", R.RATE_LIMITED, PROCESSOR, AGAIN),
    ((Phase.RCPT,), "450 4.7.0 come back", R.RATE_LIMITED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "452 4.5.3 too many recipients", R.RATE_LIMITED, RECIPIENT, AGAIN),
    ((Phase.DATA,), "454 Throttling failure: Daily quota", R.POLICY_DENIED, PROCESSOR, AGAIN),
    # Mailbox full
    ((Phase.RCPT, *ENDS), "452 4.2.2 mailbox full", R.MAILBOX_FULL, RECIPIENT, AGAIN),
    ((Phase.RCPT, *ENDS), "552 5.2.2 over quota", R.MAILBOX_FULL, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "552 no room", R.MAILBOX_FULL, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "554 quota exceeded", R.MAILBOX_FULL, RECIPIENT, AGAIN),
    # Size
    ((Phase.MAIL, *ENDS), "552 5.3.4 message too big", R.TOO_LARGE, MESSAGE, NEVER),
    ((Phase.MAIL, *ENDS), "552 message exceeds size", R.TOO_LARGE, MESSAGE, NEVER),
    ((Phase.MAIL,), "452 4.3.4 size limit exceeded for now", R.SERVER_BUSY, PROCESSOR, AGAIN),
    ((Phase.RCPT,), "550 5.2.3 too long for mailbox", R.TOO_LARGE, RECIPIENT, NEVER),
    # The recipient
    ((Phase.RCPT, *ENDS), "550 5.1.1 user unknown", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "550 5.1.0 address rejected", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "550 5.1.2 bad domain", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "553 5.1.3 bad syntax", R.INVALID_ADDRESS, RECIPIENT, NEVER),
    ((Phase.RCPT,), "550 5.1.6 moved", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "556 5.1.10 null MX", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "550 5.2.1 disabled", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "550 5.4.1 access denied", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "450 4.1.2 domain not found", R.RECIPIENT_REJECTED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "550 no such user", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "551 user not local", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "553 name not allowed", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "554 refused", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "521 accepts no mail", R.RECIPIENT_REJECTED, RECIPIENT, NEVER),
    ((Phase.RCPT,), "501 syntax", R.INVALID_ADDRESS, RECIPIENT, NEVER),
    ((Phase.RCPT,), "550 5.6.7 not in ASCII", R.INVALID_ADDRESS, RECIPIENT, NEVER),
    # The sender: no recipient would fare better
    ((Phase.MAIL,), "553 5.1.8 sender domain", R.INVALID_CONFIG, PROCESSOR, AGAIN),
    ((Phase.RCPT,), "450 4.1.8 sender domain", R.INVALID_CONFIG, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "501 5.1.7 sender syntax", R.INVALID_CONFIG, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "553 sender not allowed", R.POLICY_DENIED, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "550 5.1.0 sender rejected", R.POLICY_DENIED, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "550 5.7.1 not authorized", R.POLICY_DENIED, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "550 no", R.POLICY_DENIED, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "554 no", R.POLICY_DENIED, PROCESSOR, AGAIN),
    ((Phase.MESSAGE,), "550 5.7.60 may not send as", R.POLICY_DENIED, PROCESSOR, AGAIN),
    # Policy and content
    ((Phase.RCPT,), "554 5.7.1 relay access denied", R.POLICY_DENIED, RECIPIENT, NEVER),
    ((Phase.MESSAGE,), "550 5.7.1 refused", R.POLICY_DENIED, RECIPIENT, NEVER),
    ((Phase.MESSAGE,), "550 5.7.26 unauthenticated", R.POLICY_DENIED, PROCESSOR, AGAIN),
    ((Phase.MESSAGE,), "554 5.7.1 looks like spam", R.CONTENT_REJECTED, MESSAGE, NEVER),
    ((Phase.MESSAGE,), "552 5.7.0 attachment refused", R.CONTENT_REJECTED, MESSAGE, NEVER),
    ((Phase.MESSAGE,), "554 5.6.0 malformed", R.CONTENT_REJECTED, MESSAGE, NEVER),
    (ENDS, "554 transaction failed", R.CONTENT_REJECTED, RECIPIENT, NEVER),
    (ENDS, "550 no", R.CONTENT_REJECTED, RECIPIENT, NEVER),
]


def parsed(said: str, redactor: Redactor | None = None) -> Reply:
    code, _, text = said.partition(" ")
    return Reply.parse(int(code), text, redactor or Redactor())


@pytest.mark.parametrize(
    ("phase", "said", "reason", "scope", "retryable"),
    [(phase, *rest) for phases, *rest in CASES for phase in phases],
    ids=[f"{phase.name}-{said}" for phases, said, *_ in CASES for phase in phases],
)
def test_a_reply_means(
    phase: Phase, said: str, reason: Reason, scope: Scope, retryable: bool
) -> None:
    error = refusal(phase, parsed(said))

    assert (error.reason, error.scope, error.retryable) == (reason, scope, retryable)
    assert error.code == int(said[:3])
    assert said[4:].split()[-1] in error.message


WORDS = re.findall(
    r"[a-z]{3,}",
    " ".join(item for item in vars(vocabulary).values() if isinstance(item, str)),
)
"""Pieces of everything that the rules look for."""

texts = st.text(max_size=50) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
addresses = st.sampled_from(["a@x.example", "b@x.example", "b@y.example", "B@Y.example", "", "@"])
replies = st.builds(
    lambda code, detail, text: Reply.parse(
        code, f"{code // 100}.{detail[0]}.{detail[1]} {text}" if detail else text, Redactor()
    ),
    st.integers(400, 599),
    st.none() | st.tuples(st.integers(0, 9), st.integers(0, 999)),
    texts,
)


@pytest.mark.parametrize(
    ("phase", "said", "remedy"),
    [
        (Phase.HELLO, "421 4.7.0 Try again later, closing connection. (EHLO)", "Config.name"),
        (Phase.HELLO, "501 5.5.4 Invalid domain name", "Config.name"),
        (Phase.HELLO, "550 5.7.1 need fully-qualified hostname", "Config.name"),
        (
            Phase.RCPT,
            "450 4.7.1 <[10.0.0.5]>: Helo command rejected: Host not found",
            "Config.name",
        ),
        (Phase.MESSAGE, "550 5.7.506 Access Denied, Bad HELO", "Config.name"),
        (Phase.GREETING, "554 5.7.1 No reverse DNS for 192.0.2.4", "reverse DNS, at block lists"),
        (Phase.GREETING, "554 Your IP is on a blacklist", "reverse DNS, at block lists"),
        (Phase.RCPT, "450 4.7.25 Client host rejected: cannot find your hostname", "reverse DNS,"),
        (
            Phase.AUTH,
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
            "Tenant.",
            "Config.oauth2",
        ),
        (
            Phase.AUTH,
            "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
            "Config.oauth2",
        ),
        (Phase.AUTH, "535 5.7.8 Error: authentication failed", "into the Secret"),
        (Phase.RCPT, "530 5.7.0 login please", "into the Secret"),
        (Phase.RCPT, "550 5.7.1 Relaying denied. Authentication required.", "into the Secret"),
    ],
)
def test_what_to_do_is_said(phase: Phase, said: str, remedy: str) -> None:
    code, _, text = said.partition(" ")
    error = refusal(phase, Reply.parse(int(code), text, Redactor()))

    assert remedy in error.message.removeprefix(f"the server refused {phase}: {said}")


@given(
    st.sampled_from(list(Phase)),
    replies,
    st.none() | st.builds(Envelope, sender=addresses, recipient=addresses),
)
def test_every_reply_means_something(phase: Phase, reply: Reply, envelope: Envelope | None) -> None:
    error = refusal(phase, reply, envelope)

    assert error.reason is not Reason.AMBIGUOUS
    assert error.retryable or reply.permanent
    if phase in (Phase.GREETING, Phase.HELLO, Phase.STARTTLS, Phase.AUTH):
        assert error.scope is Scope.PROCESSOR
    if phase is Phase.MAIL:
        assert error.scope is not Scope.RECIPIENT
    if error.scope is Scope.PROCESSOR:
        assert error.retryable
    if error.scope is Scope.MESSAGE:
        assert not error.retryable
        assert phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.MESSAGE)
    if not error.conclusive:
        assert error.scope is Scope.RECIPIENT
        assert reply.permanent


@pytest.mark.parametrize(
    "said",
    [
        "454 4.7.1 <x@y.example>: Relay access denied",
        "454 TLS not available for this recipient",
        "530 5.7.1 Authentication required",
        "530 5.7.0 login please",
        "534 5.7.9 mechanism too weak",
        "535 5.7.8 credentials invalid",
        "538 5.7.11 encryption needed for this domain",
        "550 5.7.8 no",
        "554 5.7.10 no",
    ],
)
def test_a_login_that_one_recipient_takes_pauses_nobody(said: str) -> None:
    error = refusal(Phase.RCPT, parsed(said))

    assert (error.scope, error.retryable) == (RECIPIENT, AGAIN)


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, *ENDS])
@pytest.mark.parametrize(
    "said",
    [
        "550 5.1.1 sender unknown",
        "550 5.2.1 Mailbox unavailable, your IP address is blacklisted",
        "550 5.4.1 client host rejected",
        "550 5.7.1 no reverse DNS",
        "554 5.7.1 HELO name is invalid",
        "554 5.7.1 listed in zen.spamhaus.org",
        "554 5.7.1 not allowed to send as this user",
        "550 5.4.5 daily sending quota exceeded",
        "552 5.2.2 you have reached your daily limit",
        "450 4.7.1 sender domain not found",
        "550 5.7.1 DMARC says no",
        "550 <app@x.example> refused",
        "550 <app@x.example>: user unknown",
        "553 relaying disallowed as app@x.example",
        "550 5.7.1 Sender is not authenticated",
        "550 5.7.0 This account is currently blocked from sending messages",
        "550 x.example does not exist",
    ],
)
def test_who_names_the_sender_its_account_or_host_means_everybody(said: str, phase: Phase) -> None:
    error = refusal(
        phase, parsed(said), Envelope(sender="app@x.example", recipient="jane@y.example")
    )

    assert (error.scope, error.retryable) == (PROCESSOR, AGAIN)


@pytest.mark.parametrize(
    "said",
    [
        "550 5.7.1 rejected by this user",
        "550 5.7.1 sender not allowed to send to this group",
        "550 5.7.133 no",
        "550 5.7.1 <jane@y.example>: Recipient address rejected: sender is not a member",
        "550 blacklisted by recipient",
        "552 5.2.2 jane@y.example is over quota",
        "550 5.1.1 <jane@y.example>: user unknown, said 192.0.2.1",
        "550 <app@x.example> may not write to <jane@y.example>: no such user",
        "450 4.7.0 slow down",
    ],
)
def test_who_names_the_recipient_means_nobody_else(said: str) -> None:
    error = refusal(
        Phase.RCPT, parsed(said), Envelope(sender="app@x.example", recipient="jane@y.example")
    )

    assert error.scope is RECIPIENT


@pytest.mark.parametrize("code", ["5.1.1", "5.1.2", "5.1.3", "5.2.0", "5.2.1", "5.2.4"])
@pytest.mark.parametrize("phase", [Phase.RCPT, *ENDS])
def test_a_mailbox_that_is_none_is_no_evidence(phase: Phase, code: str) -> None:
    error = refusal(phase, parsed(f"550 {code} no"))

    assert (error.scope, error.retryable, error.conclusive) == (RECIPIENT, NEVER, True)


@pytest.mark.parametrize(
    ("sender", "recipient", "scope"),
    [
        ("app@x.example", "jane@y.example", RECIPIENT),
        ("jane@y.example", "joe@z.example", PROCESSOR),
        ("app@y.example", "jane@y.example", RECIPIENT),
        ("Jane@Y.example", "joe@y.example", PROCESSOR),
        ("jane@y.example", "jane@y.example", PROCESSOR),
        ("app@x.example", "joe@z.example", PROCESSOR),
    ],
)
def test_whose_address_is_not_verified_tells_whom_it_is_about(
    sender: str, recipient: str, scope: Scope
) -> None:
    said = "554 Message rejected: Email address is not verified. The following identities failed "
    reply = parsed(f"{said}the check in region EU-WEST-1: jane@y.example")

    error = refusal(Phase.MESSAGE, reply, Envelope(sender=sender, recipient=recipient))

    assert error.scope is scope


@pytest.mark.parametrize(
    ("text", "party"),
    [
        ("x.example is not verified", Party.SENDER),
        ("(x.example)", Party.SENDER),
        ("y.example.", Party.RECIPIENT),
        ("mail.x.example refuses", None),
        ("x.example.org", None),
        ("see https://x.example/help", None),
        ("postmaster@x.example", None),
        ("x.example and y.example", None),
        ("", None),
    ],
)
def test_a_domain_is_named_where_it_stands_alone(text: str, party: Party | None) -> None:
    named = Envelope(sender="app@X.example", recipient="jane@y.example").named_in(text)

    assert (named.by_address, named.by_domain) == (None, party)


def test_a_user_name_that_is_the_sender_is_found_though_it_is_hidden() -> None:
    envelope = Envelope(sender="app@x.example", recipient="jane@y.example")
    reply = parsed("550 <app@x.example> no", Redactor(("app@x.example",)))

    assert refusal(Phase.RCPT, reply, envelope).scope is PROCESSOR
    assert "app@" not in f"{reply!r} {reply}"


@pytest.mark.parametrize(
    ("code", "text", "enhanced", "cleaned"),
    [
        (550, "5.1.1 no such user", "5.1.1", "no such user"),
        (550, "5.1.1", "5.1.1", ""),
        (550, "5.1.1 one\n5.1.1 two", "5.1.1", "one two"),
        (550, "4.1.1 a class that disagrees", None, "4.1.1 a class that disagrees"),
        (550, "5.1.1x is a version", None, "5.1.1x is a version"),
        (250, "2.0.0 Ok: queued as ABC", "2.0.0", "Ok: queued as ABC"),
        (550, "no\rcontrol\x1b[31m\0", None, "no control [31m"),
        (550, "latin-1 \udce9", None, "latin-1 \ufffd"),
        (550, "\u202egnirts", None, "gnirts"),
        (550, "", None, ""),
    ],
)
def test_reading_a_reply(code: int, text: str, enhanced: str | None, cleaned: str) -> None:
    reply = Reply.parse(code, text, Redactor())

    assert reply.enhanced_code == enhanced
    assert reply.text == cleaned


def test_a_long_reply_is_cut() -> None:
    reply = parsed("550 " + "no such user " * 80_000)
    error = refusal(Phase.RCPT, reply)

    assert error.reason is Reason.RECIPIENT_REJECTED
    assert len(error.message) < 320
    assert len(reply.words) <= MAX_WORDS
    assert error.signature is not None
    assert len(error.signature) < 200


def test_a_reply_does_not_give_credentials_away() -> None:
    error = refusal(Phase.AUTH, parsed("535 5.7.8 wrong: s3cret, czNjcmV0", Redactor(("s3cret",))))

    assert error.message.startswith("the server refused AUTH: 535 5.7.8 wrong: ***, ***; ")
    assert "s3cret" not in f"{error.message} {error.signature}"
    assert "czNjcmV0" not in f"{error.message} {error.signature}"
