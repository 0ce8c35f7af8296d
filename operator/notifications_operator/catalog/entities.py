"""Entities of the catalog, reduced to what notifications need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .refs import EntityRef

SLACK_ANNOTATION = "slack.com/bot-notify"
"""Where to reach an entity in Slack (notifications-backend-module-slack)."""

KEPT_ANNOTATIONS = frozenset({SLACK_ANNOTATION})
"""Annotations that processors read; all others are dropped when an entity is read."""

NO_ANNOTATIONS: Mapping[str, str] = MappingProxyType({})
"""Shared by all entities without annotations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One entity: who it is, how to reach it, and its relations as it states them itself.

    Relations that only the other side states are known to the `Directory`, not here. All refs are
    complete and without repetition, in the order written.

    Attributes
    ----------
    ref
        The entity's name.
    display_name
        ``spec.profile.displayName``, else ``metadata.title``.
    email
        ``spec.profile.email`` exactly as written, which need not be an address.
    annotations
        Those of `KEPT_ANNOTATIONS` that the entity has.
    members
        ``spec.members`` and relations ``hasMember``.
    member_of
        ``spec.memberOf`` and relations ``memberOf``.
    children
        ``spec.children`` and relations ``parentOf``.
    parents
        ``spec.parent`` and relations ``childOf``.
    owners
        ``spec.owner``, then relations ``ownedBy`` in their order.
    owner_of
        Relations ``ownerOf``.
    """

    ref: EntityRef
    display_name: str | None = None
    email: str | None = None
    annotations: Mapping[str, str] = field(default_factory=lambda: NO_ANNOTATIONS, hash=False)
    members: tuple[EntityRef, ...] = ()
    member_of: tuple[EntityRef, ...] = ()
    children: tuple[EntityRef, ...] = ()
    parents: tuple[EntityRef, ...] = ()
    owners: tuple[EntityRef, ...] = ()
    owner_of: tuple[EntityRef, ...] = ()

    @property
    def kind(self) -> str:
        """The kind, in lower case."""
        return self.ref.kind
