"""Generates the table of ``docs/email.md``: the meanings of a server's answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.replies import Phase
from notifications_operator.processors.email.replies.rule import Rule
from notifications_operator.processors.email.replies.table import RULES
from notifications_operator.processors.errors import Scope

DOCUMENT = Path("docs/email.md")

_GENERATED = re.compile(
    r"(?P<begin><!-- generated: replies -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
_SLOWS_DOWN = {Reason.RATE_LIMITED, Reason.SERVER_BUSY}
_ABOUT = {
    Scope.RECIPIENT: "the recipient",
    Scope.MESSAGE: "the message",
    Scope.PROCESSOR: "the processor",
}
_PHASES = {
    Phase.GREETING: "connection",
    Phase.HELLO: "EHLO",
    Phase.STARTTLS: "STARTTLS",
    Phase.AUTH: "AUTH",
    Phase.MAIL: "MAIL",
    Phase.RCPT: "RCPT",
    Phase.DATA: "DATA",
    Phase.MESSAGE: "message",
}


def generate(root: Path) -> dict[Path, str]:
    """Return the document with the table in its place, by path relative to the repository.

    Raises
    ------
    ValueError
        If the document lacks the place for the table.
    """
    text = (root / DOCUMENT).read_text(encoding="utf-8")
    filled, places = _GENERATED.subn(rf"\g<begin>{_escaped(_table(RULES))}\g<end>", text)
    if places != 1:
        raise ValueError(f"{DOCUMENT} must have one place <!-- generated: replies -->")
    return {DOCUMENT: filled}


def _table(rules: Iterable[Rule]) -> str:
    lines = [
        "| Answer | To | Reason | About | Tried again | From |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    # Consecutive rules with the same meaning share a row.
    for meaning, group in groupby(rules, key=_meaning):
        same = list(group)
        answers = " · ".join(dict.fromkeys(rule.answer for rule in same))
        sources = ", ".join(_distinct(rule.source for rule in same))
        lines.append(f"| {answers} | {' | '.join(meaning)} | {sources} |")
    return "\n".join(lines) + "\n"


def _meaning(rule: Rule) -> tuple[str, str, str, str]:
    phases = [name for phase, name in _PHASES.items() if rule.phases and phase in rule.phases]
    about = _ABOUT[rule.scope] if rule.scope is not None else ""
    return ", ".join(phases), f"`{rule.reason}`", about, _again(rule)


def _again(rule: Rule) -> str:
    if rule.scope is Scope.PROCESSOR:
        return "yes, slower" if rule.reason in _SLOWS_DOWN else "after a pause"
    if rule.retryable is not None:
        return "yes" if rule.retryable else "no"
    refused_for_good = "no" if rule.conclusive else "by evidence"
    classes = _classes(rule)
    if classes == {"4"}:
        return "yes"
    if classes == {"5"}:
        return refused_for_good
    return "if it is 4yz" if rule.conclusive else f"if it is 4yz, else {refused_for_good}"


def _classes(rule: Rule) -> set[str]:
    """Return the first digits of what a rule fits: transient, permanent (RFC 5321 4.2.1)."""
    if rule.codes is not None:
        return {str(code)[0] for code in range(400, 600) if rule.codes.fullmatch(str(code))}
    named = {item[0] for item in rule.enhanced.pattern.split("|")} if rule.enhanced else set()
    return named if named in ({"4"}, {"5"}) else {"4", "5"}


def _distinct(sources: Iterable[str]) -> Sequence[str]:
    return list(dict.fromkeys(name for source in sources for name in source.split(", ")))


def _escaped(table: str) -> str:
    return table.replace("\\", r"\\")
