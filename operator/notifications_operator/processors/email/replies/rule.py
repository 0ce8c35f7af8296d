"""The form of a rule: which replies it fits, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ....api.reasons import Reason
from ...errors import Scope
from .envelope import Named, Party
from .reply import Phase, Reply

SESSION = (Phase.GREETING, Phase.HELLO, Phase.STARTTLS, Phase.AUTH)
"""Phases before the first mail."""

DELIVERY = (Phase.RCPT, Phase.DATA, Phase.MESSAGE)
"""Phases in which a refusal can be one recipient's."""

CONTENT = (Phase.DATA, Phase.MESSAGE)
"""Phases in which a refusal can be about the message."""

MAIL = (Phase.MAIL, *DELIVERY)
"""Phases of a mail."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One row of the table.

    Attributes
    ----------
    answer, source
        What it fits, and where that comes from, for the documentation.
    reason
        What `DeliveryError` says then.
    scope
        What is affected; ``None``: what the phase is about.
    retryable
        Whether trying again can help; ``None``: what the reply code says.
    conclusive
        Whether the reply says whose fault it is.
    remedy
        What the user can do about it.
    phases, codes, enhanced, words, unless
        What a reply must have; ``None``: anything. `words` must be found in its text, `unless`
        must not.
    names, names_domain
        The party whose address, or whose address or domain, its text must have.
    unless_names
        The party whose address it must not have.
    """

    answer: str
    source: str
    reason: Reason
    scope: Scope | None
    retryable: bool | None
    conclusive: bool
    remedy: str
    phases: frozenset[Phase] | None
    codes: re.Pattern[str] | None
    enhanced: re.Pattern[str] | None
    words: re.Pattern[str] | None
    unless: re.Pattern[str] | None
    names: Party | None
    names_domain: Party | None
    unless_names: Party | None

    def fits(self, phase: Phase, reply: Reply, named: Named) -> bool:
        """Whether the rule is for this reply to a phase, whose text names these."""
        return (
            (self.phases is None or phase in self.phases)
            and (self.codes is None or self.codes.fullmatch(str(reply.code)) is not None)
            and (
                self.enhanced is None
                or self.enhanced.fullmatch(reply.enhanced_code or "") is not None
            )
            and (self.names is None or self.names is named.by_address)
            and (self.names_domain is None or self.names_domain is named.by_domain)
            and (self.unless_names is None or self.unless_names is not named.by_address)
            and (self.words is None or self.words.search(reply.words) is not None)
            and (self.unless is None or self.unless.search(reply.words) is None)
        )


def rule(
    answer: str,
    reason: Reason,
    *,
    source: str,
    scope: Scope | None = None,
    retryable: bool | None = None,
    conclusive: bool = True,
    remedy: str = "",
    phases: Collection[Phase] | None = None,
    codes: str | None = None,
    enhanced: str | None = None,
    words: str | None = None,
    unless: str | None = None,
    names: Party | None = None,
    names_domain: Party | None = None,
    unless_names: Party | None = None,
) -> Rule:
    """Write a rule; in `codes` and `enhanced` an ``x`` stands for any number."""
    return Rule(
        answer=answer,
        source=source,
        reason=reason,
        scope=scope,
        retryable=retryable,
        conclusive=conclusive,
        remedy=remedy,
        phases=frozenset(phases) if phases is not None else None,
        codes=re.compile(codes.replace("x", r"\d")) if codes else None,
        enhanced=re.compile(enhanced.replace(".", r"\.").replace("x", r"\d+"))
        if enhanced
        else None,
        words=re.compile(words) if words else None,
        unless=re.compile(unless) if unless else None,
        names=names,
        names_domain=names_domain,
        unless_names=unless_names,
    )
