"""What the campaign against the gateway leaves behind, beside mails and ledgers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from tests.support.kubernetes import Object

BROADCAST = "broadcast"
"""Whose the one row of a broadcast is, by the operator's ledger."""


@dataclass(kw_only=True)
class Post:
    """A request to send, however often it was asked, and what was answered.

    Attributes
    ----------
    title
        What it says; no other post says it.
    subject
        Whose token it was sent with.
    users
        Who must find it in their inbox; `BROADCAST` alone for everybody.
    key
        Its ``Idempotency-Key``; without one it is asked once.
    scope
        Posts of one subject in one scope are about the same users and come one after the other.
    asked, answered
        How often it was sent, and how often 200 came back.
    resources
        The Notifications that the answers named: ``<namespace>/<name>``.
    rows
        The rows that the answers named: whose each is, by its id.
    """

    title: str
    subject: str
    body: Object
    users: frozenset[str]
    key: str | None = None
    scope: str | None = None
    asked: int = 0
    answered: int = 0
    resources: set[str] = field(default_factory=set)
    rows: dict[UUID, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A Notification in the cluster, in the end."""

    resource: str
    title: str
    origin: str
    state: str


@dataclass(frozen=True, kw_only=True)
class InboxRow:
    """A row of PostgreSQL's, in the end."""

    id: UUID
    user: str
    title: str
    origin: str
    scope: str | None


@dataclass(frozen=True, kw_only=True)
class Writing:
    """A row that was stored or overwritten, by PostgreSQL's own account.

    Attributes
    ----------
    identity
        Of the delivery; it says whether two writings are of the same one.
    """

    id: UUID
    user: str
    title: str
    identity: str
    moment: datetime


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a person asked to be marked, and whether 200 was the answer.

    Attributes
    ----------
    mark
        ``read`` or ``saved``.
    """

    user: str
    id: UUID
    mark: str
    value: bool
    answered: bool


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A notification as a person is shown it."""

    read: bool
    saved: bool


@dataclass(frozen=True, kw_only=True)
class GatewayEvidence:
    """All that the gateway is judged by.

    Attributes
    ----------
    marks
        In the order in which each person asked.
    views
        What each person is shown by REST in the end.
    pages
        What the page of each person knew then, by its last look and the signals since: which
        notifications there are, and whether they are read.
    """

    posts: Sequence[Post]
    stored: Sequence[Stored]
    rows: Sequence[InboxRow]
    writings: Sequence[Writing] = ()
    marks: Sequence[Mark] = ()
    views: Mapping[str, Mapping[UUID, Shown]] = field(default_factory=dict)
    pages: Mapping[str, Mapping[UUID, bool]] = field(default_factory=dict)
    leaks: Sequence[str] = ()
    crashes: Sequence[str] = ()
