"""What a campaign leaves behind to be judged: mails, doubts and what the cluster says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple


class Key(NamedTuple):
    """One recipient of one processor and one Notification."""

    processor: str
    notification: str
    recipient: str


class Expectation(StrEnum):
    """What must become of a delivery if nothing is wrong with the mail servers."""

    MAIL = "mail"
    SKIP = "skip"
    NEWEST = "newest"
    """Mail, unless a newer one of the same scope came first."""


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A message that reached a mail server completely, by that server's own ledger.

    Attributes
    ----------
    begun
        When the server asked for the message, if it is known: with its answer to DATA.
    edition
        How often the Notification's payload had been edited when the mail was made.
    accepted
        Whether the server took responsibility for it.
    answered
        Whether the server's answer was sent; if not, the delivery is in doubt.
    """

    key: Key
    message_id: str
    moment: datetime
    begun: datetime | None = None
    edition: int = 0
    accepted: bool = True
    answered: bool = True


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A claim without a record that a killed process left (DESIGN section 2.2).

    Attributes
    ----------
    moment
        When nothing of the killed process could arrive any more, and the next was not started.
    """

    key: Key
    moment: datetime


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A claim that a later leader found without a record, while its process may have lived on.

    Attributes
    ----------
    claimed
        When the claim was stored; its process may have sent at any time after it, once.
    found
        When another process decided what to do about it.
    """

    key: Key
    claimed: datetime
    found: datetime


@dataclass(frozen=True, kw_only=True)
class Row:
    """A delivery as the cluster has it in the end."""

    key: Key
    state: str
    reason: str | None
    attempts: int
    holder: str | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a campaign is judged by.

    Attributes
    ----------
    expected
        Every delivery there must be: by the campaign's own reading of its catalog.
    holding
        Processors with ``onAmbiguous: Hold``.
    editions
        How often the payload of a Notification was edited; 0 if it is not there.
    asked
        Who was to get a mail again because a person asked for it, and when.
    reopened
        Deliveries that had failed for good and were opened again by the same request: their
        attempts are counted anew.
    refused
        How often a processor's mail server refused a recipient for good.
    refused_messages
        How many of these refusals were of the message: they end the Notification's others too.
    interrupted
        Processors and recipients whose mail server went away within a message. The operator may
        have sent all of it by then, and cannot know how much arrived.
    orphans
        Claims of leaders that were cut off, paused or killed while another was there.
    overruled
        What a process did that did not lead any more.
    held_up
        Deliveries that were late, or failed, by a fault that was not theirs.
    bodies
        The Notifications in the end.
    strangers
        Mails that belong to no Notification of the campaign.
    violations
        What the operator did that RFC 5321 forbids.
    leaks
        What the operator still had when nothing was left to do.
    crashes
        Ends of the operator that nobody asked for.
    """

    expected: dict[Key, Expectation]
    holding: frozenset[str]
    mails: list[Mail]
    doubts: list[Doubt]
    rows: list[Row]
    bodies: list[dict[str, Any]]
    editions: dict[str, int] = field(default_factory=dict)
    asked: list[Doubt] = field(default_factory=list)
    reopened: list[Doubt] = field(default_factory=list)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused_messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    interrupted: frozenset[tuple[str, str]] = frozenset()
    orphans: list[Orphan] = field(default_factory=list)
    overruled: list[str] = field(default_factory=list)
    held_up: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
