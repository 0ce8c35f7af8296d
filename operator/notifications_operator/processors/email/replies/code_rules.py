"""Rules for refusals whose text says nothing: by their codes and what they answer."""

from __future__ import annotations

from functools import partial

from ....api.reasons import Reason
from ...errors import Scope
from . import vocabulary as said
from .recipient_rules import LOGIN_REMEDY
from .reply import Phase
from .rule import CONTENT, DELIVERY, Rule, rule

_recipient = partial(rule, scope=Scope.RECIPIENT, phases=DELIVERY)

CODES: tuple[Rule, ...] = (
    _recipient(
        "530, 534, 535, 538",
        Reason.AUTH_FAILED,
        source="RFC 4954 6",
        retryable=True,
        conclusive=False,
        phases=(Phase.RCPT,),
        codes="530|534|535|538",
        remedy=LOGIN_REMEDY,
    ),
    _recipient(
        "x.7.8, x.7.10, x.7.11",
        Reason.AUTH_FAILED,
        source="RFC 5248",
        retryable=True,
        conclusive=False,
        phases=(Phase.RCPT,),
        enhanced="x.7.8|x.7.10|x.7.11",
    ),
    rule(
        "530, 534, 535, 538",
        Reason.AUTH_FAILED,
        source="RFC 4954 6",
        scope=Scope.PROCESSOR,
        retryable=True,
        phases=CONTENT,
        codes="530|534|535|538",
        remedy="put a user name and a password that the server accepts into the Secret",
    ),
    _recipient(
        "454",
        Reason.AUTH_FAILED,
        source="RFC 4954 6",
        codes="454",
    ),
    _recipient("4.5.3", Reason.RATE_LIMITED, source="RFC 3463 3.6", enhanced="4.5.3"),
    _recipient(
        "4yz with words for a temporary fault",
        Reason.SERVER_BUSY,
        source="RFC 5321 4.2.3",
        codes="4xx",
        words=said.BUSY,
    ),
    _recipient("4.7.1, 4.2.1", Reason.GREYLISTED, source="RFC 6647 5", enhanced="4.7.1|4.2.1"),
    _recipient("other 4.7.x", Reason.RATE_LIMITED, source="Gmail", enhanced="4.7.x"),
    _recipient("421", Reason.SERVER_BUSY, source="RFC 5321 3.8", codes="421"),
    _recipient(
        "501, 555",
        Reason.INVALID_ADDRESS,
        source="RFC 5321 4.2.3",
        phases=(Phase.RCPT,),
        codes="501|555",
    ),
    _recipient(
        "x.1.1, x.1.2, x.1.4, x.1.6, x.1.10, 5.2.x",
        Reason.RECIPIENT_REJECTED,
        source="RFC 3463 3.2 and 3.3, RFC 7505 4.2",
        enhanced="x.1.1|x.1.2|x.1.4|x.1.6|x.1.10|5.2.x",
    ),
    _recipient(
        "other x.1.x, 5.4.x",
        Reason.RECIPIENT_REJECTED,
        source="RFC 3463 3.2 and 3.5",
        conclusive=False,
        enhanced="x.1.x|5.4.x",
    ),
    _recipient(
        "5.7.x",
        Reason.POLICY_DENIED,
        source="RFC 3463 3.8",
        conclusive=False,
        enhanced="5.7.x",
    ),
    _recipient(
        "x.3.1, x.3.2, 4.x.x",
        Reason.SERVER_BUSY,
        source="RFC 3463 3.4 and 3.5",
        conclusive=False,
        enhanced="x.3.1|x.3.2|4.x.x",
    ),
    _recipient(
        "552",
        Reason.MAILBOX_FULL,
        source="RFC 5321 4.5.3.1.10",
        retryable=True,
        phases=(Phase.RCPT,),
        codes="552",
    ),
    rule(
        "552",
        Reason.TOO_LARGE,
        source="RFC 5321 4.2.3, RFC 1870 6.1",
        scope=Scope.MESSAGE,
        retryable=False,
        phases=CONTENT,
        codes="552",
    ),
    _recipient("503", Reason.SERVER_BUSY, source="RFC 5321 4.2.3", retryable=True, codes="503"),
    _recipient("other 4yz", Reason.SERVER_BUSY, source="RFC 5321 4.2.3", codes="4xx"),
    _recipient(
        "5yz with words for a policy or a denial",
        Reason.POLICY_DENIED,
        source="RFC 5321 4.2.3",
        conclusive=False,
        codes="5xx",
        words=said.DENIED,
    ),
    _recipient(
        "other 5yz",
        Reason.RECIPIENT_REJECTED,
        source="RFC 5321 4.2.3, RFC 7504",
        conclusive=False,
        codes="5xx",
        phases=(Phase.RCPT,),
    ),
    _recipient(
        "other 5yz",
        Reason.CONTENT_REJECTED,
        source="RFC 5321 4.2.3",
        conclusive=False,
        codes="5xx",
        phases=CONTENT,
    ),
)
