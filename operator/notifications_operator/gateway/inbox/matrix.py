"""Who wants what by which channel: upstream's matrix of settings, and how it is read.

The most specific choice wins, the user's before the default; what is said of an origin bounds its
topics. The same function answers what is shown and what is sent (unlike upstream).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    model_validator,
)

WEB = "Web"
"""The channel of the inbox itself."""

LONGEST_NAME = 1020
"""Most bytes of a folded name: an origin and a topic must fit into one index tuple."""

MOST_CHOICES = 5000
"""Most choices of one user: each list and each count reads those of a channel, and all its muted
topics are parameters of one statement, of which PostgreSQL takes 32,767."""


def fold(name: str) -> str:
    """Return the form in which names are compared: upstream's settings ignore case."""
    return name.casefold()


def _check_name(name: str) -> str:
    if "\0" in name:
        raise ValueError("must not contain NUL")
    if len(fold(name).encode()) > LONGEST_NAME:
        raise ValueError(f"must have at most {LONGEST_NAME} bytes")
    return name


SettingId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=512),
    AfterValidator(_check_name),
]

Key = tuple[str, str, str]
"""Channel, origin, topic, all folded; an empty topic is the origin, an empty origin the channel."""


class _Model(BaseModel):
    """Unknown properties are tolerated in bodies, as upstream."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TopicSetting(_Model):
    """Whether notifications of one topic are wanted."""

    id: SettingId
    enabled: StrictBool


class OriginSetting(_Model):
    """Whether notifications of one origin are wanted, and of which of its topics."""

    id: SettingId
    enabled: StrictBool
    topics: list[TopicSetting] = Field(default_factory=list)


class ChannelSetting(_Model):
    """What is wanted by one channel."""

    id: SettingId
    enabled: StrictBool | None = None
    """For origins about which nothing is said; unset: wanted."""
    origins: list[OriginSetting] = Field(default_factory=list)


class SettingsMatrix(_Model):
    """Upstream's ``NotificationSettings``."""

    channels: list[ChannelSetting] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_are_unique(self) -> SettingsMatrix:
        _refuse_twice("channels", self.channels)
        for channel in self.channels:
            _refuse_twice(f"origins of channel {channel.id}", channel.origins)
            for origin in channel.origins:
                _refuse_twice(f"topics of origin {origin.id}", origin.topics)
        return self

    def choices(self) -> dict[Key, bool]:
        """Return all that the matrix says, by key."""
        return dict(self._choices())

    def _choices(self) -> Iterator[tuple[Key, bool]]:
        for channel in self.channels:
            name = fold(channel.id)
            if channel.enabled is not None:
                yield (name, "", ""), channel.enabled
            for origin in channel.origins:
                yield (name, fold(origin.id), ""), origin.enabled
                for topic in origin.topics:
                    yield (name, fold(origin.id), fold(topic.id)), topic.enabled

    def to_json(self) -> dict[str, Any]:
        """Return upstream's JSON: a channel about which nothing is said has no ``enabled``."""
        return self.model_dump(mode="json", exclude_none=True)


def _refuse_twice(
    where: str, settings: Iterable[ChannelSetting | OriginSetting | TopicSetting]
) -> None:
    seen: set[str] = set()
    for setting in settings:
        if fold(setting.id) in seen:
            raise ValueError(f"{where}: {setting.id!r} is there twice; name each once")
        seen.add(fold(setting.id))


def relevant_keys(channel: str, origin: str, topic: str | None) -> list[Key]:
    """Return the keys of the choices that decide about one notification, most specific first."""
    name, source = fold(channel), fold(origin)
    keys = [(name, source, ""), (name, "", "")]
    return [(name, source, fold(topic)), *keys] if topic else keys


def without_topics_of_origins_off(choices: Mapping[Key, bool]) -> dict[Key, bool]:
    """Return choices without those that never matter, whatever the defaults are.

    Parameters
    ----------
    choices
        What a matrix says: of each topic that it names, it names the origin.
    """
    return {
        (channel, origin, topic): enabled
        for (channel, origin, topic), enabled in choices.items()
        if not topic or choices[channel, origin, ""]
    }


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What one user chose, over the defaults."""

    own: Mapping[Key, bool]
    defaults: Mapping[Key, bool]

    def channel(self, channel: str) -> bool | None:
        """Return what is said of a whole channel, or ``None``."""
        key = (fold(channel), "", "")
        return self.own.get(key, self.defaults.get(key))

    def wants(self, channel: str, origin: str, topic: str | None) -> bool:
        """Return whether notifications of an origin and topic are wanted by a channel."""
        name, source = fold(channel), fold(origin)
        enabled = self._first((name, source, ""), (name, "", ""))
        if not enabled or not topic:
            return enabled
        key = (name, source, fold(topic))
        return self.own.get(key, self.defaults.get(key, enabled))

    def _first(self, *keys: Key) -> bool:
        for layer in (self.own, self.defaults):
            for key in keys:
                if key in layer:
                    return layer[key]
        return True


def effective_matrix(
    choices: Choices, channels: Iterable[str], sources: Iterable[tuple[str, str | None]]
) -> SettingsMatrix:
    """Return what holds for a user, for everything there is to choose about.

    Parameters
    ----------
    choices
        What the user chose, and the defaults.
    channels
        The channels there are, by the names that are shown.
    sources
        Origins and topics that the user knows; those of the defaults among them.
    """
    # Not validated: what is stored is shown, whatever bounds there were.
    origins = _group(sources)
    return SettingsMatrix.model_construct(
        channels=[
            ChannelSetting.model_construct(
                id=channel,
                enabled=choices.channel(channel),
                origins=[
                    OriginSetting.model_construct(
                        id=origin,
                        enabled=choices.wants(channel, origin, None),
                        topics=[
                            TopicSetting.model_construct(
                                id=topic, enabled=choices.wants(channel, origin, topic)
                            )
                            for topic in topics
                        ],
                    )
                    for origin, topics in origins
                ],
            )
            for channel in channels
        ]
    )


def sources_of(matrix: SettingsMatrix) -> Iterator[tuple[str, str | None]]:
    """Yield the origins and topics that a matrix names."""
    for channel in matrix.channels:
        for origin in channel.origins:
            yield origin.id, None
            for topic in origin.topics:
                yield origin.id, topic.id


def unique_names(names: Iterable[str]) -> list[str]:
    """Return names in their order, of those that differ in case only the first."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(fold(name), name)
    return list(found.values())


def _group(sources: Iterable[tuple[str, str | None]]) -> list[tuple[str, list[str]]]:
    spellings: dict[str, str] = {}
    topics: dict[str, list[str]] = {}
    for origin, topic in sorted(sources, key=lambda source: (source[0], source[1] or "")):
        key = fold(origin)
        spellings.setdefault(key, origin)
        topics.setdefault(key, [])
        if topic:
            topics[key].append(topic)
    return [(spellings[key], unique_names(topics[key])) for key in spellings]
