"""The catalog over time: what its ConfigMaps hold, and when the directory is made anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from .directory import Conflict, Directory
from .parsing import (
    MAX_PROBLEMS,
    Damage,
    DocumentProblem,
    KeptEntity,
    ParsedSource,
    Source,
    SourceKey,
)

MOST_SETTLES = 5
"""Changes that never rest are served after this many times the settling time all the same."""

KEEP_SECONDS = 24 * 3600.0
"""Seconds for which an entity is served that a partly unreadable key has lost.

Long enough to notice and repair a broken document, and short enough that somebody who left does
not get mail for ever because another document stays broken.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CatalogStore:
    """Collects the versions of ConfigMaps and says when to build a directory of them.

    A state machine without clock, tasks or I/O; it belongs to one thread. Its user applies what
    the watch brings, sleeps for `due`, and then does what `rebuild` does, in a thread if the
    catalog is large. The versions of one ConfigMap must be applied in their order.

    An entity that a version of its key lacks is gone, unless it may stand in a document of the key
    that cannot be read: the document that names it, or one that could not be read as far as a
    name. Such an entity is kept for `KEEP_SECONDS` and served unless anything defines it anew. A
    key that is gone holds nothing, and nothing is kept over a restart.

    Parameters
    ----------
    settle
        Seconds for which changes must rest before they are served, so that what is applied
        together is served together. Changes that do not rest are served after five times that.
    removal_settle
        Seconds for which a ConfigMap that was removed is served on, unless it comes back: one
        that is deleted and created again must not empty a group in between.
    zero
        The moment at which the clock showed 0, for messages.
    """

    def __init__(
        self, *, settle: float = 2, removal_settle: float = 30, zero: datetime = _EPOCH
    ) -> None:
        self._settle = settle
        self._removal_settle = removal_settle
        self._zero = zero
        self._sources: dict[SourceKey, ParsedSource] = {}
        self._removals: dict[SourceKey, float] = {}
        self._lapses: dict[SourceKey, float] = {}
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
        held = parsed if before is None else _keeping(parsed, before, now)
        self._hold(held)
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
            self._drop(key)

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
        times = [*self._removals.values(), *self._lapses.values()]
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
            self._drop(key)
        for key in [key for key, due in self._lapses.items() if due <= now]:
            self._hold(_without_lapsed(self._sources[key], now))
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
            *self._about_kept(held),
            *(
                DocumentProblem(key=conflict.ignored_key, message=str(conflict))
                for conflict in self._conflicts.get(key, [])[:MAX_PROBLEMS]
            ),
        )

    def _about_kept(self, held: ParsedSource) -> Iterator[DocumentProblem]:
        for key, entities in sorted(held.kept.items()):
            last = self._zero + timedelta(seconds=max(kept.until for kept in entities))
            yield DocumentProblem(
                key=key,
                message=f"{len(entities)} of its entities are served as they were before it "
                f"broke, until {last:%Y-%m-%dT%H:%M:%SZ} at the latest",
            )
        for key, amount in sorted(held.lapsed.items()):
            yield DocumentProblem(
                key=key,
                message=f"{amount} of the entities that it held before it broke are not kept "
                "any longer",
            )

    def _hold(self, source: ParsedSource) -> None:
        self._sources[source.key] = source
        self._lapses.pop(source.key, None)
        if source.kept:
            self._lapses[source.key] = min(
                kept.until for items in source.kept.values() for kept in items
            )

    def _drop(self, key: SourceKey) -> None:
        del self._sources[key]
        self._lapses.pop(key, None)

    def note_change(self, now: float) -> None:
        """Take note that the directory must be made anew, soon."""
        if self._changed_since is None:
            self._changed_since = now
        latest = self._changed_since + MOST_SETTLES * self._settle
        self._change_due = min(now + self._settle, latest)


def _keeping(parsed: ParsedSource, before: ParsedSource, now: float) -> ParsedSource:
    """Add to a version what its broken keys may still hold of what was served before."""
    if not parsed.damage:
        return parsed
    defined = {entity.ref for entities in parsed.entities.values() for entity in entities}
    kept: dict[str, tuple[KeptEntity, ...]] = {}
    for key, damage in parsed.damage.items():
        kept[key] = tuple(
            item
            for item in _served(before, key, until=now + KEEP_SECONDS)
            if item.entity.ref not in defined and _is_kept(item, damage, now)
        )
    lapsed = {key: amount for key, amount in before.lapsed.items() if key in parsed.damage}
    return replace(parsed, kept={key: items for key, items in kept.items() if items}, lapsed=lapsed)


def _served(before: ParsedSource, key: str, *, until: float) -> Iterator[KeptEntity]:
    """Yield what a key served: what it defined until the given moment, the rest until its own."""
    for entity in before.entities.get(key, ()):
        yield KeptEntity(entity=entity, until=until)
    yield from before.kept.get(key, ())


def _is_kept(item: KeptEntity, damage: Damage, now: float) -> bool:
    return item.until > now and damage.may_hold(item.entity.ref)


def _without_lapsed(source: ParsedSource, now: float) -> ParsedSource:
    """Return a source without the entities that were kept until now."""
    kept: dict[str, tuple[KeptEntity, ...]] = {}
    lapsed = dict(source.lapsed)
    for key, items in source.kept.items():
        kept[key] = tuple(item for item in items if item.until > now)
        if gone := len(items) - len(kept[key]):
            lapsed[key] = lapsed.get(key, 0) + gone
    return replace(source, kept={key: items for key, items in kept.items() if items}, lapsed=lapsed)
