"""The catalog over time: what its ConfigMaps hold, and when the directory is made anew."""

from __future__ import annotations

from dataclasses import replace

from .directory import Conflict, Directory
from .entities import Entity
from .parsing import MAX_PROBLEMS, DocumentProblem, ParsedSource, Source, SourceKey

MOST_SETTLES = 5
"""Changes that never rest are served after this many times the settling time all the same."""


class CatalogStore:
    """Collects the versions of ConfigMaps and says when to build a directory of them.

    A state machine without clock, tasks or I/O; it belongs to one thread. Its user applies what
    the watch brings, sleeps for `due`, and then does what `rebuild` does, in a thread if the
    catalog is large. The versions of one ConfigMap must be applied in their order.

    A key of a ConfigMap with a broken document goes on serving the entities that it served before
    and that nothing defines anew; other keys serve what they hold now, and a key that is gone
    nothing. So an entity that was taken out on purpose stays only while something else in its key
    is broken.

    Parameters
    ----------
    settle
        Seconds for which changes must rest before they are served, so that what is applied
        together is served together. Changes that do not rest are served after five times that.
    removal_settle
        Seconds for which a ConfigMap that was removed is served on, unless it comes back: one
        that is deleted and created again must not empty a group in between.
    """

    def __init__(self, *, settle: float = 2, removal_settle: float = 30) -> None:
        self._settle = settle
        self._removal_settle = removal_settle
        self._sources: dict[SourceKey, ParsedSource] = {}
        self._removals: dict[SourceKey, float] = {}
        self._changed_since: float | None = None
        self._change_due: float | None = None
        self._synced = False
        self._directory: Directory | None = None
        self._conflicts: dict[SourceKey, list[Conflict]] = {}

    @property
    def directory(self) -> Directory | None:
        """The directory adopted last; None before the first."""
        return self._directory

    def apply(self, parsed: ParsedSource, now: float) -> None:
        """Take a new version of a ConfigMap, at `now` (seconds of any clock that only rises)."""
        before = self._sources.get(parsed.key)
        held = parsed if before is None else _keeping(parsed, before)
        self._sources[parsed.key] = held
        self._removals.pop(parsed.key, None)
        if before is None or (before.entities, before.kept) != (held.entities, held.kept):
            self.note_change(now)

    def is_current(self, source: Source) -> bool:
        """Return whether this very version of a ConfigMap was the last one applied.

        If so, reading it again would be in vain.
        """
        held = self._sources.get(source.key)
        return (
            held is not None
            and source.key not in self._removals
            and (held.uid, held.resource_version) == (source.uid, source.resource_version)
        )

    def remove(self, key: SourceKey, now: float) -> None:
        """Take note that a ConfigMap is gone, or is no longer part of the catalog."""
        if key not in self._sources:
            return
        if self._synced:
            self._removals.setdefault(key, now + self._removal_settle)
        else:
            del self._sources[key]

    def mark_synced(self, now: float) -> None:
        """Take note that all ConfigMaps there are have been applied; the directory is now due."""
        if not self._synced:
            self._synced = True
            self._changed_since = self._change_due = now

    def due(self, now: float) -> float | None:
        """Return the seconds until the directory must be made anew, at least 0.

        None means that nothing has changed, or that the catalog is not yet synced.
        """
        if not self._synced:
            return None
        times = [*self._removals.values()]
        if self._change_due is not None:
            times.append(self._change_due)
        return max(0.0, min(times) - now) if times else None

    def take_due(self, now: float) -> tuple[ParsedSource, ...] | None:
        """Return what to build the directory of, if that is due, and take it as done.

        The result may be handed to `Directory.build` in another thread; its directory comes back
        by `adopt`.
        """
        if self.due(now) != 0:
            return None
        for key in [key for key, due in self._removals.items() if due <= now]:
            del self._removals[key]
            del self._sources[key]
        self._changed_since = self._change_due = None
        return tuple(self._sources.values())

    def adopt(self, directory: Directory) -> None:
        """Make a directory the current one."""
        self._directory = directory
        self._conflicts = {}
        for conflict in directory.conflicts:
            self._conflicts.setdefault(conflict.ignored, []).append(conflict)

    def rebuild(self, now: float) -> Directory | None:
        """Build and adopt the directory if that is due, in one go."""
        sources = self.take_due(now)
        if sources is None:
            return None
        directory = Directory.build(sources)
        self.adopt(directory)
        return directory

    def problems(self, key: SourceKey) -> tuple[DocumentProblem, ...]:
        """Return what is wrong with a ConfigMap, for its Events.

        These are the problems of its newest version, what is served of older ones because of them,
        and, once a directory was built of it, definitions that another one takes precedence over
        (the first `MAX_PROBLEMS` of these).
        """
        held = self._sources.get(key)
        if held is None:
            return ()
        return (
            *held.problems,
            *(
                DocumentProblem(
                    key=data_key,
                    message=f"{len(held.kept[data_key])} of its entities are served as they were "
                    "before it broke",
                )
                for data_key in sorted(held.kept)
            ),
            *(
                DocumentProblem(key=conflict.ignored_key, message=str(conflict))
                for conflict in self._conflicts.get(key, [])[:MAX_PROBLEMS]
            ),
        )

    def note_change(self, now: float) -> None:
        """Take note that the directory must be made anew, soon."""
        if self._changed_since is None:
            self._changed_since = now
        latest = self._changed_since + MOST_SETTLES * self._settle
        self._change_due = min(now + self._settle, latest)


def _keeping(parsed: ParsedSource, before: ParsedSource) -> ParsedSource:
    """Add to a version what its broken keys served before and what it does not define itself."""
    if not parsed.broken_keys:
        return parsed
    defined = {entity.ref for entities in parsed.entities.values() for entity in entities}
    kept: dict[str, tuple[Entity, ...]] = {}
    for key in parsed.broken_keys:
        served = (*before.entities.get(key, ()), *before.kept.get(key, ()))
        kept[key] = tuple(entity for entity in served if entity.ref not in defined)
    return replace(parsed, kept={key: entities for key, entities in kept.items() if entities})
