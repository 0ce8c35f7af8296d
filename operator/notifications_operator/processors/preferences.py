"""What users want to get by which channel, as a Notification's plan needs to know it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Question:
    """Who wants what an origin sends about a topic, by each of some channels?"""

    origin: str
    topic: str | None
    channels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """The answer: what holds for everybody, and who wants it the other way.

    Both are by channel; a channel that is not named is wanted.
    """

    defaults: Mapping[str, bool] = field(default_factory=dict)
    differing: Mapping[str, Set[str]] = field(default_factory=dict)

    def wants(self, user: str, channel: str) -> bool:
        """Return whether a user, by entity ref, wants it by a channel."""
        return self.defaults.get(channel, True) is not (user in self.differing.get(channel, ()))


class PreferencesUnavailable(Exception):
    """Nobody can say now what users want; the message says why."""


class PreferenceSource(Protocol):
    """Knows what users want."""

    async def ask(self, question: Question) -> Preferences:
        """Answer a question, or raise `PreferencesUnavailable`."""
