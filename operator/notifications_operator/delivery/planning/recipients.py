"""Whom a Notification is for, and which of its refs the catalog does not know; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...api.notification import Notification
from ...api.reasons import Reason
from ...catalog import Directory, Entity, EntityRef, Resolution, resolve, resolve_broadcast
from ..ledger.ledger import Ledger
from ..ledger.rows import Row, is_user
from .changes import Change

REMARK_LIMIT = 10
"""Most remarks about the recipients that are shown."""


def resolve_recipients(notification: Notification, directory: Directory) -> Resolution:
    """Resolve the recipients against the catalog as it is now."""
    recipients = notification.spec.recipients
    if recipients.type == "broadcast":
        return resolve_broadcast(directory)
    return resolve(
        directory,
        refs=[EntityRef.parse(text) for text in recipients.included],
        exclude=[EntityRef.parse(text) for text in recipients.excluded],
    )


@dataclass(frozen=True, kw_only=True)
class News:
    """Refs that the catalog has come to know; some may be unnamed, as the status is bounded."""

    known: Sequence[str]
    unnamed: bool

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.known) or self.unnamed


def resolve_news(
    news: News, resolution: Resolution, notification: Notification, directory: Directory
) -> Resolution:
    """Return whom the refs mean that became known; ``resolution`` is whom all of them mean."""
    if news.unnamed:
        return resolution
    excluded = notification.spec.recipients.excluded
    return resolve(
        directory,
        refs=[EntityRef.parse(text) for text in news.known],
        exclude=[EntityRef.parse(text) for text in excluded],
    )


def remarks(notification: Notification, directory: Directory, resolution: Resolution) -> list[str]:
    """Return what is odd about the recipients though it stops nothing."""
    excluded = [EntityRef.parse(text) for text in notification.spec.recipients.excluded]
    odd = [f"{ref} has no owner" for ref in resolution.ownerless]
    odd += [f"the excluded {ref} is not in the catalog" for ref in excluded if ref not in directory]
    if members := resolution.members_without_entity:
        odd.insert(0, f"the catalog has no entity of {named(list(map(str, members)))}")
    return odd[:REMARK_LIMIT]


def still_unknown(ledger: Ledger, resolution: Resolution, change: Change) -> list[str]:
    """Return the refs that are unknown; what was resolved once stays resolved.

    Members without an entity are among them if they were when the recipients were settled,
    because nobody else was reached.
    """
    unknown = [str(ref) for ref in resolution.unresolved]
    if change.first or change.recipients:
        return unknown
    before = set(ledger.unresolved)
    members = [str(ref) for ref in resolution.members_without_entity]
    if ledger.unresolved_count > len(before):
        return unknown + members if before.intersection(members) else unknown
    return [ref for ref in unknown + members if ref in before]


def settled_count(resolution: Resolution) -> int:
    """Return how many users the recipients resolved to, whether or not the catalog has them."""
    return len(resolution.users) + len(resolution.members_without_entity)


def members_not_awaited(ledger: Ledger, resolution: Resolution) -> Sequence[EntityRef]:
    """Return the members without an entity whom the Notification does not wait for."""
    waited_for = set(ledger.unresolved)
    return [ref for ref in resolution.members_without_entity if str(ref) not in waited_for]


def unknown_message(refs: Sequence[str]) -> str:
    """Name unknown refs, not too many of them."""
    return f"the catalog does not know {named(refs)}"


def named(refs: Sequence[str]) -> str:
    """Return some refs as text, not too many of them."""
    more = f" and {len(refs) - 10} more" if len(refs) > 10 else ""
    return f"{', '.join(refs[:10])}{more}"


def users_of(rows: Iterable[Row], directory: Directory) -> list[Entity]:
    """Return the users that rows are for and that the catalog still has, in stable order."""
    users: dict[EntityRef, Entity] = {}
    for row in rows:
        if is_user(row.recipient) and row.reason != Reason.CANCELLED:
            entity = directory.get(EntityRef.parse(row.recipient))
            if entity is not None:
                users[entity.ref] = entity
    return [users[ref] for ref in sorted(users)]
