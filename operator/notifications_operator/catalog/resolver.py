"""Who receives a notification: from the refs it names to users."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

from .directory import Directory
from .entities import Entity
from .refs import EntityRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Users that refs resolve to, and refs that resolve to nobody.

    Attributes
    ----------
    users
        The users, each once, in the order of their refs.
    unresolved
        Refs that somebody relies on and that the catalog does not know, in the order in which
        they were met: those asked for, and owners of entities.
    members_without_entity
        Users whom only groups of the catalog name, as members. They can be reached by whatever
        needs nothing but their refs, and are no reason to wait.
    dangling
        Child groups that a group of the catalog names and that do not exist. They reach nobody,
        and are no reason to wait either.
    ownerless
        Entities that are neither user nor group and have no owner, so that they reach nobody.
    """

    users: tuple[Entity, ...]
    unresolved: tuple[EntityRef, ...] = ()
    members_without_entity: tuple[EntityRef, ...] = ()
    dangling: tuple[EntityRef, ...] = ()
    ownerless: tuple[EntityRef, ...] = ()

    def relying_on_members(self) -> Resolution:
        """Return the same with members that lack an entity as refs that somebody relies on."""
        return replace(
            self,
            unresolved=(*self.unresolved, *self.members_without_entity),
            members_without_entity=(),
        )


def resolve(
    directory: Directory, *, refs: Sequence[EntityRef], exclude: Sequence[EntityRef] = ()
) -> Resolution:
    """Resolve refs to users, as upstream's ``DefaultNotificationRecipientResolver``.

    A user means itself; a group its members and, downwards without limit, those of its child
    groups; anything else its first owner. An excluded user is left out however it is reached.
    Nothing else that is excluded is gone into, but what is reached another way still counts.

    Parameters
    ----------
    directory
        The catalog.
    refs
        Whom the notification is for.
    exclude
        Whom it is not for; refs that do not exist exclude nothing.
    """
    return _Search(directory, exclude).run(refs)


def resolve_broadcast(directory: Directory) -> Resolution:
    """Resolve a broadcast: all users of the catalog."""
    return Resolution(users=directory.users())


class _Search:
    """One breadth-first search, which goes into every entity at most once."""

    def __init__(self, directory: Directory, exclude: Sequence[EntityRef]) -> None:
        self._directory = directory
        self._users: list[Entity] = []
        self._unresolved: dict[EntityRef, None] = {}
        self._members: dict[EntityRef, None] = {}
        self._dangling: dict[EntityRef, None] = {}
        self._ownerless: list[EntityRef] = []
        self._met = set(exclude)
        self._queue: deque[Entity] = deque()

    def run(self, refs: Sequence[EntityRef]) -> Resolution:
        self._meet(refs, self._unresolved)
        while self._queue:
            self._go_into(self._queue.popleft())
        return Resolution(
            users=tuple(sorted(self._users, key=lambda user: user.ref)),
            unresolved=tuple(self._unresolved),
            members_without_entity=_without(self._members, self._unresolved),
            dangling=_without(self._dangling, self._unresolved),
            ownerless=tuple(self._ownerless),
        )

    def _meet(self, refs: Sequence[EntityRef], missing: dict[EntityRef, None]) -> None:
        for ref in refs:
            if ref in self._met:
                continue
            entity = self._directory.get(ref)
            if entity is None:
                missing[ref] = None
                continue
            self._met.add(ref)
            if entity.kind == "user":
                self._users.append(entity)
            else:
                self._queue.append(entity)

    def _go_into(self, entity: Entity) -> None:
        if entity.kind == "group":
            self._meet(self._directory.members_of(entity.ref), self._members)
            self._meet(self._directory.children_of(entity.ref), self._dangling)
            return
        owner = self._directory.owner_of(entity.ref)
        if owner is None:
            self._ownerless.append(entity.ref)
        else:
            self._meet((owner,), self._unresolved)


def _without(refs: Iterable[EntityRef], others: Container[EntityRef]) -> tuple[EntityRef, ...]:
    return tuple(ref for ref in refs if ref not in others)
