"""The meaning of a refusal for a delivery."""

from __future__ import annotations

import re

from ....api.reasons import Reason
from ...errors import DeliveryError, Scope
from .envelope import Envelope, Named
from .reply import Phase, Reply
from .rule import rule
from .table import RULES

_UNEXPECTED = rule(
    "a refusal of RSET", Reason.SERVER_BUSY, source="RFC 5321 4.1.1.5", retryable=True
)
"""Refusal of a command that gives a server nothing to refuse."""

_PARTICULAR = re.compile(
    r"<[^>]*>|\S+@\S+|\bhttps?:\S+|\S*\d\S*|\b(?:[\w-]+\.)+[\w-]+\b|[^\w\s]", re.ASCII
)
"""Parts that differ between replies of one meaning: addresses, URLs, numbers, ids, hosts."""

MAX_SIGNATURE = 160
"""Characters of a signature."""


def refusal(phase: Phase, reply: Reply, envelope: Envelope | None = None) -> DeliveryError:
    """Return what a negative reply means.

    Parameters
    ----------
    phase
        What it answers.
    reply
        The reply, 4yz or 5yz.
    envelope
        The mail it is about, if there is one.
    """
    named = envelope.named_in(reply.words) if envelope is not None else Named()
    found = next((row for row in RULES if row.fits(phase, reply, named)), _UNEXPECTED)
    message = f"the server refused {phase}: {reply}"
    return DeliveryError(
        found.reason,
        f"{message}; {found.remedy}" if found.remedy else message,
        scope=found.scope or Scope.RECIPIENT,
        retryable=not reply.permanent if found.retryable is None else found.retryable,
        code=reply.code,
        enhanced_code=reply.enhanced_code,
        conclusive=found.conclusive or not reply.permanent,
        signature=signature(phase, reply),
    )


def signature(phase: Phase, reply: Reply) -> str:
    """Return what two refusals have in common that say the same of two mails."""
    words = " ".join(_PARTICULAR.sub(" ", reply.text.lower()).split())
    codes = " ".join(filter(None, (str(reply.code), reply.enhanced_code)))
    return f"{phase.name} {codes} {words}"[:MAX_SIGNATURE]
