"""The index of all entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from .entities import Entity
from .parsing import ParsedSource, SourceKey
from .refs import EntityRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """An entity that is defined more than once; only one of the definitions is served."""

    ref: EntityRef
    served: SourceKey
    served_key: str
    ignored: SourceKey
    ignored_key: str

    def __str__(self) -> str:
        return f"{self.ref} is defined in {self.served} ({self.served_key}) too; that one is served"


class Directory:
    """All entities and their relations in both directions; immutable.

    A relation that only one side states holds for both, as in Backstage, which gives every
    relation its counterpart. Equal sources make equal directories, in whatever order they come.
    """

    def __init__(self, entities: Iterable[Entity], conflicts: Sequence[Conflict] = ()) -> None:
        self._entities: dict[tuple[str, str, str], Entity] = {
            entity.ref: entity for entity in sorted(entities, key=lambda entity: entity.ref)
        }
        self._users = tuple(entity for entity in self._entities.values() if entity.kind == "user")
        self._members, self._children, self._owners = _relations(self._entities.values())
        self._conflicts = tuple(conflicts)

    @classmethod
    def build(cls, sources: Iterable[ParsedSource]) -> Self:
        """Index the entities of several sources.

        Of several definitions of one entity the first is served, by namespace and name of the
        source, key and position in it; the others become `conflicts`. Entities that a source only
        keeps from an older version come after all others and conflict with nothing. Takes about
        a second for 100,000 entities, so it belongs in a thread.
        """
        ordered = sorted(sources, key=lambda source: source.key)
        served: dict[EntityRef, _Definition] = {}
        conflicts = []
        for definition in _definitions(ordered):
            first = served.setdefault(definition.entity.ref, definition)
            if first is not definition:
                conflicts.append(
                    Conflict(
                        ref=definition.entity.ref,
                        served=first.source,
                        served_key=first.key,
                        ignored=definition.source,
                        ignored_key=definition.key,
                    )
                )
        entities = {ref: definition.entity for ref, definition in served.items()}
        for source in ordered:
            for key in sorted(source.kept):
                for kept in source.kept[key]:
                    entities.setdefault(kept.entity.ref, kept.entity)
        return cls(entities.values(), conflicts)

    def get(self, ref: EntityRef) -> Entity | None:
        """Return the entity of that name, if there is one."""
        return self._entities.get(ref)

    def user(self, ref: str) -> Entity | None:
        """Return the user of that name, written as `EntityRef` writes it, if there is one.

        It is asked about every delivery, and far cheaper than to parse the ref.
        """
        kind, _, rest = ref.partition(":")
        namespace, _, name = rest.partition("/")
        return self._entities.get((kind, namespace, name)) if kind == "user" else None

    def users(self) -> tuple[Entity, ...]:
        """Return all entities of kind User, in the order of their refs."""
        return self._users

    @property
    def user_count(self) -> int:
        """How many entities of kind User there are."""
        return len(self._users)

    def members_of(self, group: EntityRef) -> tuple[EntityRef, ...]:
        """Return the users that belong to a group itself, in the order of refs.

        Some may not exist as entities.
        """
        return self._members.get(group, ())

    def children_of(self, group: EntityRef) -> tuple[EntityRef, ...]:
        """Return the groups directly below a group, in the order of refs; some may not exist."""
        return self._children.get(group, ())

    def owner_of(self, entity: EntityRef) -> EntityRef | None:
        """Return the first owner of an entity, which may not exist.

        That is ``spec.owner``, else the first relation ``ownedBy``, else the first by ref of the
        entities that state a relation ``ownerOf`` to it.
        """
        return self._owners.get(entity)

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """Definitions that are not served, in the order of the sources."""
        return self._conflicts

    def __contains__(self, ref: object) -> bool:
        return ref in self._entities

    def __len__(self) -> int:
        return len(self._entities)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Directory):
            return NotImplemented
        return self._entities == other._entities and self._conflicts == other._conflicts


class _Definition(NamedTuple):
    """An entity, and where it is defined."""

    entity: Entity
    source: SourceKey
    key: str


def _definitions(sources: Iterable[ParsedSource]) -> Iterator[_Definition]:
    for source in sources:
        for key in sorted(source.entities):
            for entity in source.entities[key]:
                yield _Definition(entity, source.key, key)


_Targets = dict[EntityRef, set[EntityRef]]


def _relations(
    entities: Iterable[Entity],
) -> tuple[
    Mapping[EntityRef, tuple[EntityRef, ...]],
    Mapping[EntityRef, tuple[EntityRef, ...]],
    Mapping[EntityRef, EntityRef],
]:
    """Join what both sides state: members and children by group, and first owners."""
    members: _Targets = {}
    children: _Targets = {}
    stated_owners: dict[EntityRef, EntityRef] = {}
    counterparts: dict[EntityRef, EntityRef] = {}
    for entity in entities:
        if entity.members:
            members.setdefault(entity.ref, set()).update(entity.members)
        if entity.kind == "user":
            for group in entity.member_of:
                members.setdefault(group, set()).add(entity.ref)
        if entity.children:
            children.setdefault(entity.ref, set()).update(entity.children)
        for parent in entity.parents:
            children.setdefault(parent, set()).add(entity.ref)
        if entity.owners:
            stated_owners[entity.ref] = entity.owners[0]
        for owned in entity.owner_of:
            counterparts.setdefault(owned, entity.ref)
    return _ordered(members), _ordered(children), {**counterparts, **stated_owners}


def _ordered(targets: _Targets) -> Mapping[EntityRef, tuple[EntityRef, ...]]:
    return {source: tuple(sorted(refs)) for source, refs in targets.items()}
