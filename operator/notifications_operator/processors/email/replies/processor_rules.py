"""Rules for refusals of everything that a processor sends."""

from __future__ import annotations

from functools import partial

from ....api.reasons import Reason
from ...errors import Scope
from . import vocabulary as said
from .envelope import Party
from .reply import Phase
from .rule import MAIL, SESSION, Rule, rule

_processor = partial(rule, scope=Scope.PROCESSOR, retryable=True)
"""Makes a rule. All are retryable: a server can let in tomorrow what it refuses today."""

_SENDER_REMEDY = (
    "correct spec.email.sender, or verify its address or domain with the provider and let the "
    "account use it"
)
_DOMAIN_REMEDY = "correct the SPF, DKIM and DMARC records of the domain in spec.email.sender"
_HOST_REMEDY = (
    "make the server accept the operator's address and host name: look at its reverse DNS, at "
    "block lists, and at who may use the server"
)
_NAME_REMEDY = (
    "if the server wants another name in EHLO, put it into spec.email.transportConfig.name"
)
_ACCOUNT_REMEDY = "look at the account with the provider: its state, its plan and its limits"
_PASSWORDS_REMEDY = (
    "let the account log in by password, or use spec.email.transportConfig.oauth2 instead"
)
_LOGIN_REMEDY = "put a user name and a password that the server accepts into the Secret"
_TLS_REMEDY = "let spec.email.transportConfig use TLS"

OPENING: tuple[Rule, ...] = (
    _processor("any refusal", Reason.TLS_FAILED, source="RFC 3207 4", phases=(Phase.STARTTLS,)),
    _processor(
        "421", Reason.CONNECT_FAILED, source="RFC 5321 3.8", phases=(Phase.AUTH,), codes="421"
    ),
    _processor(
        "words for a limit of the account",
        Reason.POLICY_DENIED,
        source="SendGrid",
        phases=(Phase.AUTH,),
        words=said.QUOTA,
        remedy=_ACCOUNT_REMEDY,
    ),
    _processor(
        "words for passwords that are switched off",
        Reason.AUTH_FAILED,
        source="Microsoft 365",
        phases=(Phase.AUTH,),
        words=said.PASSWORDS_OFF,
        remedy=_PASSWORDS_REMEDY,
    ),
    _processor(
        "any other refusal",
        Reason.AUTH_FAILED,
        source="RFC 4954 6",
        phases=(Phase.AUTH,),
        remedy=_LOGIN_REMEDY,
    ),
    _processor(
        "words for a rate, or too many connections",
        Reason.RATE_LIMITED,
        source="Postfix, Exim, Exchange",
        phases=(Phase.GREETING, Phase.HELLO),
        words=said.RATE,
    ),
    _processor(
        "any other refusal",
        Reason.CONNECT_FAILED,
        source="RFC 5321 4.1.1.1",
        phases=(Phase.HELLO,),
        remedy=_NAME_REMEDY,
    ),
    _processor(
        "words for the client's host or a block list",
        Reason.CONNECT_FAILED,
        source="Exim, Postfix postscreen(8)",
        phases=(Phase.GREETING,),
        words=f"{said.HOST}|{said.BLOCK_LIST}",
        remedy=_HOST_REMEDY,
    ),
    _processor(
        "any other refusal", Reason.CONNECT_FAILED, source="RFC 5321 3.1, 4.3.2", phases=SESSION
    ),
)
"""Refusals before the first mail: nothing was sent, and no recipient would fare better."""

LIMITS: tuple[Rule, ...] = (
    _processor(
        "x.3.1",
        Reason.SERVER_BUSY,
        source="RFC 3463 3.4",
        phases=(Phase.MAIL,),
        enhanced="x.3.1",
    ),
    _processor(
        "words for a used-up limit of the account: of a day, of a month",
        Reason.POLICY_DENIED,
        source="Gmail, Microsoft 365, Amazon SES",
        phases=MAIL,
        words=said.QUOTA,
        unless=said.SHORT,
        remedy=_ACCOUNT_REMEDY,
    ),
    _processor(
        "5.1.90, 5.7.705",
        Reason.POLICY_DENIED,
        source="Microsoft 365",
        phases=MAIL,
        enhanced="5.1.90|5.7.705",
        remedy=_ACCOUNT_REMEDY,
    ),
    _processor(
        "words for a full mailbox, which is the sender's",
        Reason.POLICY_DENIED,
        source="RFC 3463 3.3",
        phases=(Phase.MAIL,),
        words=said.FULL,
        remedy=_ACCOUNT_REMEDY,
    ),
    _processor(
        "words for a rate, or for too many messages or connections",
        Reason.RATE_LIMITED,
        source="Amazon SES, Exchange, Postfix anvil(8)",
        phases=(Phase.MAIL, Phase.DATA, Phase.MESSAGE),
        words=said.RATE,
        unless=f"{said.FULL}|{said.SIZE}",
    ),
    _processor(
        "words for a rate of the sender, the account or the client's host",
        Reason.RATE_LIMITED,
        source="Exim ratelimit, SendGrid",
        phases=(Phase.RCPT,),
        words=said.RATE_OF_OURS,
        unless=f"{said.FULL}|{said.SIZE}",
    ),
    _processor(
        "x.7.28, 4.7.5xx, 4.7.6xx, 4.7.8xx",
        Reason.RATE_LIMITED,
        source="RFC 5248, Microsoft 365",
        phases=MAIL,
        enhanced="x.7.28|4.7.[568]xx",
    ),
)
"""Limits on what the account may send in a time."""

ACCESS: tuple[Rule, ...] = (
    _processor(
        "words for STARTTLS or the session's encryption",
        Reason.TLS_FAILED,
        source="RFC 3207 4, Postfix reject_plaintext_session",
        phases=MAIL,
        words=said.TLS_OF_SESSION,
        remedy=_TLS_REMEDY,
    ),
    _processor(
        "other words for encryption",
        Reason.TLS_FAILED,
        source="RFC 3207 4",
        phases=(Phase.MAIL, Phase.DATA, Phase.MESSAGE),
        words=said.TLS,
        remedy=_TLS_REMEDY,
    ),
    _processor(
        "x.7.10",
        Reason.TLS_FAILED,
        source="RFC 5248",
        phases=(Phase.MAIL, Phase.DATA, Phase.MESSAGE),
        enhanced="x.7.10",
        remedy=_TLS_REMEDY,
    ),
    _processor(
        "words for SPF, DKIM or DMARC",
        Reason.POLICY_DENIED,
        source="RFC 7372",
        phases=MAIL,
        words=said.SENDER_DOMAIN,
        remedy=_DOMAIN_REMEDY,
    ),
    _processor(
        "x.7.20 to x.7.24, x.7.26, x.7.27, x.7.29",
        Reason.POLICY_DENIED,
        source="RFC 7372, RFC 7505, RFC 8617",
        phases=MAIL,
        enhanced="x.7.2[0-4679]",
        remedy=_DOMAIN_REMEDY,
    ),
    _processor(
        "words for a sender that is not logged in",
        Reason.AUTH_FAILED,
        source="Postfix reject_sender_login_mismatch",
        phases=MAIL,
        words=said.SENDER_LOGIN,
        remedy=_LOGIN_REMEDY,
    ),
    _processor(
        "words for a login",
        Reason.AUTH_FAILED,
        source="RFC 4954 6",
        phases=(Phase.MAIL, Phase.DATA, Phase.MESSAGE),
        words=said.LOGIN,
        remedy=_LOGIN_REMEDY,
    ),
    _processor(
        "x.7.57",
        Reason.AUTH_FAILED,
        source="Exchange",
        phases=MAIL,
        enhanced="x.7.57",
        remedy=_LOGIN_REMEDY,
    ),
    _processor(
        "words for a failed verification of the sender",
        Reason.INVALID_CONFIG,
        source="Exim",
        phases=MAIL,
        words=said.SENDER_VERIFICATION,
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "words for an account that may not send",
        Reason.POLICY_DENIED,
        source="Mailgun, Microsoft 365",
        phases=MAIL,
        words=said.ACCOUNT,
        remedy=_ACCOUNT_REMEDY,
    ),
    _processor(
        "words for EHLO",
        Reason.POLICY_DENIED,
        source="Postfix smtpd_helo_restrictions",
        phases=MAIL,
        words=said.HELLO,
        remedy=_NAME_REMEDY,
    ),
    _processor(
        "words for the client's host or a block list",
        Reason.POLICY_DENIED,
        source="Postfix smtpd_client_restrictions, reject_rbl_client",
        phases=MAIL,
        words=f"{said.HOST}|{said.BLOCK_LIST}",
        remedy=_HOST_REMEDY,
    ),
    _processor(
        "x.7.25, 5.7.506, 5.7.606 to 5.7.649, 5.7.708",
        Reason.POLICY_DENIED,
        source="RFC 7372, Microsoft 365",
        phases=MAIL,
        enhanced="x.7.25|5.7.506|5.7.6[0-4]x|5.7.708",
        remedy=_HOST_REMEDY,
    ),
)
"""Refusals of the client: its login, its host, its account."""

SENDER: tuple[Rule, ...] = (
    _processor(
        "words for an address that is not verified, unless it is the recipient's",
        Reason.INVALID_CONFIG,
        source="Amazon SES",
        phases=MAIL,
        words=said.UNVERIFIED,
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "words for a missing permission, unless it is for the recipient's address",
        Reason.POLICY_DENIED,
        source="Amazon SES",
        phases=MAIL,
        words=said.NOT_AUTHORIZED,
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "words for a sender that is not known, not verified or not the account's",
        Reason.INVALID_CONFIG,
        source="Postfix smtpd_sender_restrictions, SendGrid",
        phases=MAIL,
        words=said.WRONG_SENDER,
        unless=said.ADDRESS_REJECTED,
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "x.1.7, x.1.8",
        Reason.INVALID_CONFIG,
        source="RFC 3463 3.2",
        phases=MAIL,
        enhanced="x.1.7|x.1.8",
        # Microsoft 365 says 5.1.8 of an account that it has blocked.
        unless=r"\boutbound\b",
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "words that refuse the sender",
        Reason.POLICY_DENIED,
        source="Postfix check_sender_access",
        phases=MAIL,
        words=said.REFUSED_SENDER,
        unless=said.ADDRESS_REJECTED,
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "the sender's address or domain, not the recipient's, as one that is not known",
        Reason.INVALID_CONFIG,
        source="Exim sender verification",
        phases=MAIL,
        words=f"{said.WRONG}|{said.UNKNOWN}",
        unless=said.ADDRESS_REJECTED,
        names_domain=Party.SENDER,
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "5yz with the sender's address, not the recipient's",
        Reason.POLICY_DENIED,
        source="sendmail, Zoho",
        phases=MAIL,
        codes="5xx",
        names=Party.SENDER,
        unless=f"{said.ADDRESS_REJECTED}|{said.HARMFUL}",
        remedy=_SENDER_REMEDY,
    ),
)
"""Refusals whose words name the sender."""

SENDER_OTHERWISE: tuple[Rule, ...] = (
    _processor(
        "other words for the sender, or for what the account may send",
        Reason.POLICY_DENIED,
        source="Exchange, Microsoft 365",
        phases=MAIL,
        words=said.SENDER,
        unless=said.ADDRESS_REJECTED,
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "x.7.60, 5.2.252, 5.7.501 to 5.7.503, 5.7.511, 5.7.750",
        Reason.POLICY_DENIED,
        source="Exchange, Microsoft 365",
        phases=MAIL,
        enhanced="x.7.60|5.2.252|5.7.50[123]|5.7.511|5.7.750",
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "an IP address that is refused",
        Reason.POLICY_DENIED,
        source="Yahoo",
        phases=MAIL,
        words=said.REFUSED_IP,
        unless=said.ADDRESS_REJECTED,
        remedy=_HOST_REMEDY,
    ),
    _processor(
        "words against relaying, not at RCPT",
        Reason.POLICY_DENIED,
        source="Zoho",
        phases=(Phase.MAIL, Phase.DATA, Phase.MESSAGE),
        words=said.RELAY,
        remedy=_SENDER_REMEDY,
    ),
)
"""Refusals of the sender that mention neither recipient nor mailbox."""

BEGINNING: tuple[Rule, ...] = (
    _processor(
        "530, 534, 535, 538",
        Reason.AUTH_FAILED,
        source="RFC 4954 6, RFC 5248",
        phases=(Phase.MAIL,),
        codes="530|534|535|538",
        remedy=_LOGIN_REMEDY,
    ),
    _processor(
        "x.7.8, x.7.9, x.7.11, x.7.12",
        Reason.AUTH_FAILED,
        source="RFC 4954 6, RFC 5248",
        phases=(Phase.MAIL,),
        enhanced="x.7.8|x.7.9|x.7.11|x.7.12",
        remedy=_LOGIN_REMEDY,
    ),
    _processor(
        "454",
        Reason.AUTH_FAILED,
        source="RFC 4954 6",
        phases=(Phase.MAIL,),
        codes="454",
        remedy=_LOGIN_REMEDY,
    ),
    _processor(
        "4.7.x", Reason.RATE_LIMITED, source="Gmail", phases=(Phase.MAIL,), enhanced="4.7.x"
    ),
    _processor(
        "other 4yz, 503",
        Reason.SERVER_BUSY,
        source="RFC 5321 4.2.3",
        phases=(Phase.MAIL,),
        codes="4xx|503",
    ),
    _processor(
        "words for an address or a mailbox that is not known",
        Reason.INVALID_CONFIG,
        source="GMX",
        phases=(Phase.MAIL,),
        words=f"{said.UNKNOWN}|{said.WRONG}",
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "5.1.x",
        Reason.INVALID_CONFIG,
        source="RFC 5321 4.2.3, RFC 3463 3.2",
        phases=(Phase.MAIL,),
        enhanced="5.1.x",
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "501, 553, 555",
        Reason.INVALID_CONFIG,
        source="RFC 5321 4.2.3",
        phases=(Phase.MAIL,),
        codes="501|553|555",
        remedy=_SENDER_REMEDY,
    ),
    _processor(
        "other 5yz",
        Reason.POLICY_DENIED,
        source="RFC 5321 4.2.3",
        phases=(Phase.MAIL,),
        codes="5xx",
        remedy=_SENDER_REMEDY,
    ),
)
"""Other refusals of MAIL, which hold for every recipient."""
