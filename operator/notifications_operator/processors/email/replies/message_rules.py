"""Rules for refusals of a message, whoever gets it."""

from __future__ import annotations

from functools import partial

from ....api.reasons import Reason
from ...errors import Scope
from . import vocabulary as said
from .reply import Phase
from .rule import CONTENT, MAIL, Rule, rule

_message = partial(rule, scope=Scope.MESSAGE, retryable=False, codes="5xx")
"""Makes a rule for permanent refusals: after a temporary one the same mail may be accepted."""

SIZE: tuple[Rule, ...] = (
    _message("5.3.4", Reason.TOO_LARGE, source="RFC 3463 3.4", phases=MAIL, enhanced="5.3.4"),
    _message(
        "5yz with words for the size",
        Reason.TOO_LARGE,
        source="RFC 1870 6",
        phases=(Phase.MAIL, *CONTENT),
        words=said.SIZE,
        unless=said.FULL,
    ),
    rule(
        "5yz with words for the size",
        Reason.TOO_LARGE,
        source="RFC 1870 6",
        scope=Scope.RECIPIENT,
        phases=(Phase.RCPT,),
        codes="5xx",
        words=said.SIZE,
        unless=said.FULL,
    ),
)

FORM: tuple[Rule, ...] = (
    _message(
        "5yz with words for the form of the message",
        Reason.CONTENT_REJECTED,
        source="Gmail",
        phases=CONTENT,
        words=said.MALFORMED,
    ),
)

LINKS: tuple[Rule, ...] = (
    _message(
        "5yz with words for a link on a list",
        Reason.CONTENT_REJECTED,
        source="SpamAssassin, Rspamd",
        phases=CONTENT,
        words=said.LISTED_LINK,
        unless=said.NOT_OF_MESSAGE,
    ),
)
"""Links, which are on block lists of their own."""

HARM: tuple[Rule, ...] = (
    _message(
        "5yz with words for spam, viruses, attachments or links",
        Reason.CONTENT_REJECTED,
        source="Gmail, Amavis, Rspamd",
        phases=CONTENT,
        words=said.HARMFUL,
    ),
    _message(
        "5.6.x", Reason.CONTENT_REJECTED, source="RFC 3463 3.7", phases=CONTENT, enhanced="5.6.x"
    ),
)
