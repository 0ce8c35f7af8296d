"""What SMTP replies mean: one line for each that servers are known to give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.redaction import Redactor
from notifications_operator.processors.email.replies import Phase, Reply, refusal
from notifications_operator.processors.errors import Scope

R = Reason
RECIPIENT, MESSAGE, CONNECTION, PROCESSOR = (
    Scope.RECIPIENT,
    Scope.MESSAGE,
    Scope.RECIPIENT,
    Scope.PROCESSOR,
)
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
    ((Phase.AUTH,), "535 5.7.8 credentials invalid", R.AUTH_FAILED, PROCESSOR, NEVER),
    ((Phase.AUTH,), "534 5.7.9 mechanism too weak", R.AUTH_FAILED, PROCESSOR, NEVER),
    ((Phase.AUTH,), "538 5.7.11 encryption required", R.AUTH_FAILED, PROCESSOR, NEVER),
    ((Phase.AUTH,), "504 5.5.4 unknown mechanism", R.AUTH_FAILED, PROCESSOR, NEVER),
    ((Phase.AUTH,), "454 4.7.0 temporary failure", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.AUTH,), "432 4.7.12 password transition", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.AUTH,), "421 4.3.2 closing", R.CONNECT_FAILED, PROCESSOR, AGAIN),
    # Authentication or encryption asked for in the middle
    ((Phase.MAIL,), "530 5.7.0 authentication required", R.AUTH_FAILED, PROCESSOR, NEVER),
    ((Phase.RCPT,), "530 5.7.57 not authenticated", R.AUTH_FAILED, PROCESSOR, NEVER),
    ((Phase.MAIL,), "530 5.7.0 Must issue a STARTTLS command", R.TLS_FAILED, PROCESSOR, NEVER),
    ((Phase.MAIL,), "554 5.7.10 encryption needed", R.TLS_FAILED, PROCESSOR, NEVER),
    ((Phase.MAIL,), "454 4.7.0 temporary authentication", R.AUTH_FAILED, PROCESSOR, AGAIN),
    ((Phase.MESSAGE,), "550 5.7.57 not authenticated", R.AUTH_FAILED, PROCESSOR, NEVER),
    # The server is busy, for now
    ((Phase.MAIL, Phase.RCPT, *ENDS), "421 closing", R.SERVER_BUSY, CONNECTION, AGAIN),
    ((Phase.MAIL,), "451 4.3.0 local error", R.SERVER_BUSY, CONNECTION, AGAIN),
    ((Phase.MAIL,), "452 4.3.1 out of storage", R.SERVER_BUSY, CONNECTION, AGAIN),
    ((Phase.MAIL,), "450 try again", R.SERVER_BUSY, CONNECTION, AGAIN),
    ((Phase.RCPT,), "450 mailbox busy", R.SERVER_BUSY, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "451 4.4.3 directory timeout", R.SERVER_BUSY, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "452 storage", R.SERVER_BUSY, RECIPIENT, AGAIN),
    (ENDS, "451 4.3.5 local error", R.SERVER_BUSY, MESSAGE, AGAIN),
    (ENDS, "452 4.3.1 out of storage", R.SERVER_BUSY, MESSAGE, AGAIN),
    ((Phase.RCPT,), "503 5.5.1 bad sequence", R.SERVER_BUSY, CONNECTION, AGAIN),
    ((Phase.RSET,), "500 what", R.SERVER_BUSY, CONNECTION, AGAIN),
    # Greylisting
    ((Phase.RCPT,), "450 4.2.0 <a@b>: Greylisted, see http", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "451 4.7.1 Greylisting in action", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "451 4.7.1 please try later", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "450 4.2.1 not now", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "450 Graylisted", R.GREYLISTED, RECIPIENT, AGAIN),
    ((Phase.MESSAGE,), "451 4.7.1 Greylisting", R.GREYLISTED, RECIPIENT, AGAIN),
    # Rate limits
    ((Phase.RCPT,), "450 4.2.1 receiving mail too quickly", R.RATE_LIMITED, RECIPIENT, AGAIN),
    ((Phase.MAIL,), "450 4.7.28 unusual rate", R.RATE_LIMITED, CONNECTION, AGAIN),
    ((Phase.MESSAGE,), "421 4.7.28 flood", R.RATE_LIMITED, MESSAGE, AGAIN),
    ((Phase.MESSAGE,), "550 5.7.28 flood", R.RATE_LIMITED, MESSAGE, AGAIN),
    ((Phase.MAIL,), "432 4.3.2 connections limit exceeded", R.RATE_LIMITED, CONNECTION, AGAIN),
    ((Phase.MAIL,), "421 4.7.0 try again later", R.RATE_LIMITED, CONNECTION, AGAIN),
    ((Phase.RCPT,), "450 4.7.0 come back", R.RATE_LIMITED, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "452 4.5.3 too many recipients", R.RATE_LIMITED, RECIPIENT, AGAIN),
    ((Phase.DATA,), "454 Throttling failure: Daily quota", R.RATE_LIMITED, MESSAGE, AGAIN),
    # Mailbox full
    ((Phase.RCPT, *ENDS), "452 4.2.2 mailbox full", R.MAILBOX_FULL, RECIPIENT, AGAIN),
    ((Phase.RCPT, *ENDS), "552 5.2.2 over quota", R.MAILBOX_FULL, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "552 no room", R.MAILBOX_FULL, RECIPIENT, AGAIN),
    ((Phase.RCPT,), "554 quota exceeded", R.MAILBOX_FULL, RECIPIENT, AGAIN),
    # Size
    ((Phase.MAIL, *ENDS), "552 5.3.4 message too big", R.TOO_LARGE, MESSAGE, NEVER),
    ((Phase.MAIL, *ENDS), "552 message exceeds size", R.TOO_LARGE, MESSAGE, NEVER),
    ((Phase.MAIL,), "452 4.3.4 size limit exceeded for now", R.TOO_LARGE, MESSAGE, AGAIN),
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
    ((Phase.MAIL,), "553 5.1.8 sender domain", R.INVALID_CONFIG, PROCESSOR, NEVER),
    ((Phase.RCPT,), "450 4.1.8 sender domain", R.INVALID_CONFIG, PROCESSOR, AGAIN),
    ((Phase.MAIL,), "501 5.1.7 sender syntax", R.INVALID_CONFIG, PROCESSOR, NEVER),
    ((Phase.MAIL,), "553 sender not allowed", R.INVALID_CONFIG, PROCESSOR, NEVER),
    ((Phase.MAIL,), "550 5.1.0 sender rejected", R.INVALID_CONFIG, PROCESSOR, NEVER),
    ((Phase.MAIL,), "550 5.7.1 not authorized", R.POLICY_DENIED, PROCESSOR, NEVER),
    ((Phase.MAIL,), "550 no", R.POLICY_DENIED, PROCESSOR, NEVER),
    ((Phase.MAIL,), "554 no", R.POLICY_DENIED, PROCESSOR, NEVER),
    ((Phase.MESSAGE,), "550 5.7.60 may not send as", R.POLICY_DENIED, PROCESSOR, NEVER),
    # Policy and content
    ((Phase.RCPT,), "554 5.7.1 relay access denied", R.POLICY_DENIED, RECIPIENT, NEVER),
    ((Phase.MESSAGE,), "550 5.7.1 refused", R.POLICY_DENIED, MESSAGE, NEVER),
    ((Phase.MESSAGE,), "550 5.7.26 unauthenticated", R.POLICY_DENIED, MESSAGE, NEVER),
    ((Phase.MESSAGE,), "554 5.7.1 looks like spam", R.CONTENT_REJECTED, MESSAGE, NEVER),
    ((Phase.MESSAGE,), "552 5.7.0 attachment refused", R.CONTENT_REJECTED, MESSAGE, NEVER),
    ((Phase.MESSAGE,), "554 5.6.0 malformed", R.CONTENT_REJECTED, MESSAGE, NEVER),
    (ENDS, "554 transaction failed", R.CONTENT_REJECTED, MESSAGE, NEVER),
    (ENDS, "550 no", R.CONTENT_REJECTED, MESSAGE, NEVER),
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


@given(
    st.sampled_from(list(Phase)),
    st.integers(400, 599),
    st.none() | st.tuples(st.integers(0, 999), st.integers(0, 999)),
    st.text(max_size=50),
)
def test_every_reply_means_something(
    phase: Phase, code: int, detail: tuple[int, int] | None, text: str
) -> None:
    enhanced = f"{code // 100}.{detail[0]}.{detail[1]} " if detail else ""

    error = refusal(phase, Reply.parse(code, enhanced + text, Redactor()))

    assert error.reason is not Reason.AMBIGUOUS
    assert error.retryable or code >= 500
    if phase in (Phase.GREETING, Phase.HELLO, Phase.STARTTLS, Phase.AUTH):
        assert error.scope is Scope.PROCESSOR


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
    assert len(refusal(Phase.RCPT, parsed("550 " + "x" * 30_000)).message) < 320


def test_a_reply_does_not_give_credentials_away() -> None:
    error = refusal(Phase.AUTH, parsed("535 5.7.8 wrong: s3cret, czNjcmV0", Redactor(("s3cret",))))

    assert error.message == "the server refused AUTH: 535 5.7.8 wrong: ***, ***"
