"""What SMTP replies mean for a delivery.

The table is read from the top; the first row that fits decides. Enhanced status codes (RFC 3463,
RFC 5248) say more than reply codes, and what is said in words is used only where servers give no
code for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ...api.reasons import Reason
from ..errors import DeliveryError, Scope
from .redaction import Redactor

MAX_REPLY_TEXT = 256
"""Characters of a server's text that are passed on."""


class Phase(StrEnum):
    """What a reply answers, as messages call it."""

    GREETING = "the connection"
    HELLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    RSET = "RSET"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    MESSAGE = "the message"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A reply of the server (RFC 5321 section 4.2), its text cleaned."""

    code: int
    enhanced_code: str | None
    text: str

    @classmethod
    def parse(cls, code: int, text: str, redactor: Redactor) -> Reply:
        """Read a reply.

        Parameters
        ----------
        code
            The reply code.
        text
            The text of all its lines, joined by line feeds.
        redactor
            Takes credentials out of the text.
        """
        enhanced = None
        words = []
        for line in text.split("\n"):
            # RFC 2034 section 4: the code stands on every line and agrees with the reply code.
            match = _ENHANCED.match(line)
            if match is not None and match["class"] == str(code)[:1]:
                enhanced = enhanced or match["code"]
                words.append(line[match.end() :])
            else:
                words.append(line)
        cleaned = redactor.cleaned(" ".join(words), MAX_REPLY_TEXT)
        return cls(code=code, enhanced_code=enhanced, text=cleaned)

    @property
    def positive(self) -> bool:
        """Whether what was asked for is done (2yz)."""
        return 200 <= self.code <= 299

    @property
    def negative(self) -> bool:
        """Whether it was refused, for now (4yz) or for good (5yz)."""
        return 400 <= self.code <= 599

    @property
    def permanent(self) -> bool:
        """Whether it was refused for good (5yz)."""
        return self.code >= 500

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced_code, self.text)))


_ENHANCED = re.compile(r"(?P<code>(?P<class>[245])\.\d{1,3}\.\d{1,3})(?:\s+|$)")


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """One row: what it fits, and what that means."""

    reason: Reason
    scope: Scope | None = None
    """What is affected; ``None``: what the phase is about."""

    retryable: bool | None = None
    """Whether trying again can help; ``None``: what the reply code says."""

    phases: frozenset[Phase] | None = None
    codes: re.Pattern[str] | None = None
    enhanced: re.Pattern[str] | None = None
    text: re.Pattern[str] | None = None

    def fits(self, phase: Phase, reply: Reply) -> bool:
        return (
            (self.phases is None or phase in self.phases)
            and (self.codes is None or self.codes.fullmatch(str(reply.code)) is not None)
            and (
                self.enhanced is None
                or self.enhanced.fullmatch(reply.enhanced_code or "") is not None
            )
            and (self.text is None or self.text.search(reply.text) is not None)
        )


def _rule(
    reason: Reason,
    *,
    scope: Scope | None = None,
    retryable: bool | None = None,
    phases: tuple[Phase, ...] | None = None,
    codes: str | None = None,
    enhanced: str | None = None,
    text: str | None = None,
) -> _Rule:
    """Write a row; in `codes` and `enhanced` an ``x`` stands for any number."""
    return _Rule(
        reason=reason,
        scope=scope,
        retryable=retryable,
        phases=frozenset(phases) if phases is not None else None,
        codes=re.compile(codes.replace("x", r"\d")) if codes else None,
        enhanced=re.compile(enhanced.replace(".", r"\.").replace("x", r"\d+"))
        if enhanced
        else None,
        text=re.compile(text, re.IGNORECASE) if text else None,
    )


_SESSION = (Phase.GREETING, Phase.HELLO)
_CONTENT = (Phase.DATA, Phase.MESSAGE)
_RATE = r"\brate\b|throttl|too (many|quick|fast|much)|limit(s)? exceeded|exceeded .*limit|slow down"
_ANY_AUTH = "x.7.8|x.7.9|x.7.11|x.7.12|x.7.57"

_RULES = (
    # The session. Nothing was sent, and no other recipient would fare better.
    # RFC 3207 4: 454 TLS not available; whatever it is, there is no TLS.
    _rule(Reason.TLS_FAILED, scope=Scope.PROCESSOR, retryable=True, phases=(Phase.STARTTLS,)),
    # RFC 5321 3.8: 421 ends any session and says nothing about the credentials.
    _rule(Reason.CONNECT_FAILED, scope=Scope.PROCESSOR, phases=(Phase.AUTH,), codes="421"),
    # RFC 4954 6: 454 temporary failure, 535 invalid, 534 too weak, 538 encryption required.
    _rule(Reason.AUTH_FAILED, scope=Scope.PROCESSOR, phases=(Phase.AUTH,)),
    # RFC 5321 3.1: 554 instead of a greeting; 4.3.2: 421, 504, 550 to EHLO. Who is refused today
    # may be let in tomorrow, and the resource need not be edited for it.
    _rule(Reason.CONNECT_FAILED, scope=Scope.PROCESSOR, retryable=True, phases=_SESSION),
    # Encryption. RFC 3207 4: 530 must issue STARTTLS; RFC 5248: X.7.10 encryption needed.
    _rule(Reason.TLS_FAILED, scope=Scope.PROCESSOR, codes="530", text="STARTTLS"),
    _rule(Reason.TLS_FAILED, scope=Scope.PROCESSOR, enhanced="x.7.10"),
    # Authentication asked for in the middle. RFC 4954 6, RFC 5248: X.7.8, X.7.9, X.7.11,
    # X.7.12; Exchange: X.7.57 client was not authenticated.
    _rule(Reason.AUTH_FAILED, scope=Scope.PROCESSOR, codes="530|534|535|538"),
    _rule(Reason.AUTH_FAILED, scope=Scope.PROCESSOR, enhanced=_ANY_AUTH),
    # Amazon SES: 454 throttling failure.
    _rule(Reason.RATE_LIMITED, codes="454", text=_RATE),
    # RFC 4954 6: 454 temporary authentication failure.
    _rule(Reason.AUTH_FAILED, scope=Scope.PROCESSOR, codes="454"),
    # Size. RFC 3463 3.3 and 3.4: X.2.3 beyond the mailbox's limit, X.3.4 beyond the system's;
    # RFC 1870 6.1: 552 to MAIL with SIZE.
    _rule(Reason.TOO_LARGE, scope=Scope.RECIPIENT, enhanced="x.2.3"),
    _rule(Reason.TOO_LARGE, scope=Scope.MESSAGE, enhanced="x.3.4"),
    _rule(Reason.TOO_LARGE, scope=Scope.MESSAGE, phases=(Phase.MAIL,), codes="552"),
    # Mailboxes. RFC 3463 3.3: X.2.2 mailbox full. People empty them, so 5.2.2 is tried again too.
    _rule(Reason.MAILBOX_FULL, scope=Scope.RECIPIENT, retryable=True, enhanced="x.2.2"),
    _rule(
        Reason.MAILBOX_FULL,
        scope=Scope.RECIPIENT,
        retryable=True,
        phases=(Phase.RCPT, *_CONTENT),
        text=r"mailbox (is )?full|over ?quota|quota (is )?(exceeded|full)",
    ),
    # RFC 6647 2: greylisting; codes differ, words do not.
    _rule(Reason.GREYLISTED, scope=Scope.RECIPIENT, codes="4xx", text=r"gr[ae]y.?list"),
    # RFC 5248 and its registry: X.7.28 mail flood detected. Floods ebb, so 5.7.28 is tried again.
    _rule(Reason.RATE_LIMITED, retryable=True, enhanced="x.7.28"),
    # Gmail: 450 4.2.1 receiving mail too quickly; Exchange: 432 4.3.2 connections limit exceeded.
    _rule(Reason.RATE_LIMITED, codes="4xx", text=_RATE),
    # RFC 3463 3.6: 4.5.3 too many recipients. There is one, so it counts those before.
    _rule(Reason.RATE_LIMITED, enhanced="4.5.3"),
    # RFC 6647 5 recommends 4.7.1 for greylisting; 4.2.1 is what others use.
    _rule(Reason.GREYLISTED, scope=Scope.RECIPIENT, enhanced="4.7.1|4.2.1"),
    _rule(Reason.RATE_LIMITED, enhanced="4.7.x"),
    # RFC 5321 3.8: the server closes the connection.
    _rule(Reason.SERVER_BUSY, scope=Scope.RECIPIENT, codes="421"),
    # RFC 6531 3.5: X.6.7 non-ASCII addresses not permitted for that recipient, X.6.9 no SMTPUTF8.
    _rule(Reason.INVALID_ADDRESS, scope=Scope.RECIPIENT, enhanced="x.6.7|x.6.9"),
    # The sender. RFC 3463 3.2: X.1.7 syntax, X.1.8 bad address; Exchange: X.7.60 may not send as
    # this sender. No recipient would fare better.
    _rule(Reason.INVALID_CONFIG, scope=Scope.PROCESSOR, enhanced="x.1.7|x.1.8"),
    _rule(Reason.POLICY_DENIED, scope=Scope.PROCESSOR, enhanced="x.7.60"),
    # RFC 5321 4.2.3: 501, 553, 555 to MAIL are about the sender, as X.1.x are.
    _rule(Reason.INVALID_CONFIG, scope=Scope.PROCESSOR, phases=(Phase.MAIL,), codes="501|553|555"),
    _rule(Reason.INVALID_CONFIG, scope=Scope.PROCESSOR, phases=(Phase.MAIL,), enhanced="5.1.x"),
    # Policy. RFC 7505 4: X.1.10 null MX; RFC 3463 3.8: X.7.1 not authorized, such as relaying;
    # RFC 7372: X.7.20 to X.7.26 about DKIM, SPF and DMARC.
    _rule(
        Reason.CONTENT_REJECTED,
        scope=Scope.MESSAGE,
        phases=_CONTENT,
        codes="5xx",
        text=r"\bspam\b|virus|malware|content|attachment",
    ),
    # RFC 3463 3.2: X.1.3 bad syntax; RFC 5321 4.2.3: 501 to RCPT.
    _rule(Reason.INVALID_ADDRESS, scope=Scope.RECIPIENT, enhanced="x.1.3"),
    _rule(Reason.INVALID_ADDRESS, scope=Scope.RECIPIENT, phases=(Phase.RCPT,), codes="501|555"),
    # RFC 3463 3.2: X.1.0 other, X.1.1 mailbox, X.1.2 system, X.1.4 ambiguous, X.1.5 to X.1.6
    # moved; RFC 7505 4.2: X.1.10 null MX; 3.3: X.2.1 disabled; 3.5: X.4.4 no route, and Exchange's
    # 5.4.1 for an unknown recipient.
    _rule(Reason.RECIPIENT_REJECTED, scope=Scope.RECIPIENT, enhanced="x.1.x|5.2.x|5.4.x"),
    _rule(Reason.POLICY_DENIED, enhanced="5.7.x"),
    _rule(Reason.CONTENT_REJECTED, scope=Scope.MESSAGE, enhanced="x.6.x"),
    # RFC 3463 3.4: X.3.1 system full, X.3.2 not accepting; 3.5: X.4.x network.
    _rule(Reason.SERVER_BUSY, enhanced="x.3.1|x.3.2|4.x.x"),
    # RFC 5321 4.5.3.1.10: 552 to RCPT has to be taken for 452.
    _rule(
        Reason.MAILBOX_FULL,
        scope=Scope.RECIPIENT,
        retryable=True,
        phases=(Phase.RCPT,),
        codes="552",
    ),
    # RFC 5321 4.2.3: 552 exceeded storage allocation, after the message: it is too large.
    _rule(Reason.TOO_LARGE, scope=Scope.MESSAGE, phases=_CONTENT, codes="552"),
    # RFC 5321 4.2.3: 503 bad sequence; the server has lost the thread, a new connection helps.
    _rule(Reason.SERVER_BUSY, scope=Scope.RECIPIENT, retryable=True, codes="503"),
    # RFC 5321 4.2.3: 450, 451, 452, 455, and any 4yz that is not known: try again.
    _rule(Reason.SERVER_BUSY, codes="4xx"),
    # RFC 5321 4.2.3: 550, 551, 553, 554 and, RFC 7504, 521 and 556.
    _rule(Reason.POLICY_DENIED, phases=(Phase.MAIL,), codes="5xx"),
    _rule(Reason.RECIPIENT_REJECTED, phases=(Phase.RCPT,), codes="5xx"),
    _rule(Reason.CONTENT_REJECTED, phases=_CONTENT, codes="5xx"),
)


def refusal(phase: Phase, reply: Reply) -> DeliveryError:
    """Return what a negative reply means.

    Parameters
    ----------
    phase
        What it answers.
    reply
        The reply, 4yz or 5yz.
    """
    rule = next((rule for rule in _RULES if rule.fits(phase, reply)), _UNEXPECTED)
    return DeliveryError(
        rule.reason,
        f"the server refused {phase}: {reply}",
        scope=rule.scope or _scope_of(phase, permanent=reply.permanent),
        retryable=not reply.permanent if rule.retryable is None else rule.retryable,
        code=reply.code,
        enhanced_code=reply.enhanced_code,
    )


_UNEXPECTED = _rule(Reason.SERVER_BUSY, scope=Scope.RECIPIENT, retryable=True)
"""For RSET, to which there is nothing to refuse."""


def _scope_of(phase: Phase, *, permanent: bool) -> Scope:
    """Return what a refusal affects that does not say so itself.

    MAIL is the same for every message, so it is the processor that is refused; one that is busy
    just now pauses the connection only.
    """
    match phase:
        case Phase.RCPT:
            return Scope.RECIPIENT
        case Phase.DATA | Phase.MESSAGE:
            return Scope.MESSAGE
        case _:
            return Scope.PROCESSOR if permanent else Scope.RECIPIENT
