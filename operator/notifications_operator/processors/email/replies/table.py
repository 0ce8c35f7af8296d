"""The table of rules: the first that fits decides.

Words come before codes, because servers give one code to many things: 5.7.1 is said of senders,
hosts, recipients and messages alike. Among words, those that can mean only one party come first.
"""

from __future__ import annotations

from . import code_rules, message_rules, processor_rules, recipient_rules
from .rule import Rule

RULES: tuple[Rule, ...] = (
    *processor_rules.OPENING,
    *recipient_rules.RESTRICTED,
    *message_rules.SIZE,
    *message_rules.FORM,
    *processor_rules.LIMITS,
    *recipient_rules.RATES,
    *recipient_rules.MISSING,
    *message_rules.LINKS,
    *processor_rules.ACCESS,
    *processor_rules.SENDER,
    *recipient_rules.LOGIN,
    *recipient_rules.MAILBOX,
    *recipient_rules.UNKNOWN,
    *recipient_rules.RELAYING,
    *recipient_rules.HARM,
    *message_rules.HARM,
    *processor_rules.SENDER_OTHERWISE,
    *processor_rules.BEGINNING,
    *code_rules.CODES,
)
