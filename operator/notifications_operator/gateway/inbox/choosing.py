"""What users chose, in the database: replaced as a whole, and asked for by the operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    union,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from .matrix import Choices, Key, fold, relevant_keys, unique_names
from .tables import BROADCAST, notification, user_setting
from .types import MutedBroadcasts

_USERS_PER_STATEMENT = 1000


@dataclass(frozen=True, kw_only=True)
class UserPreferences:
    """What a user wants whose wishes differ from the defaults, by channel."""

    user: str
    channels: Mapping[str, bool]


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Who wants the notifications of one origin and topic.

    Attributes
    ----------
    defaults
        For everybody who is not in the exceptions, by channel.
    exceptions
        Users in order, each with all channels that were asked about.
    next
        The user to go on after, or ``None`` at the end.
    """

    defaults: Mapping[str, bool]
    exceptions: Sequence[UserPreferences]
    next: str | None


# Made once: every list and every count asks for them.
_OWN_CHOICES = select(
    user_setting.c.channel, user_setting.c.origin, user_setting.c.topic, user_setting.c.enabled
).where(user_setting.c.recipient == bindparam("asked_user", type_=Text()))
_OWN_CHOICES_OF_CHANNEL = _OWN_CHOICES.where(
    user_setting.c.channel == bindparam("asked_channel", type_=Text())
)


async def own_choices(
    connection: AsyncConnection, user: str, *, channel: str | None = None
) -> dict[Key, bool]:
    """Return what a user chose, of all channels or of one."""
    statement = _OWN_CHOICES if channel is None else _OWN_CHOICES_OF_CHANNEL
    asked = {"asked_user": user} | ({} if channel is None else {"asked_channel": fold(channel)})
    result = await connection.execute(statement, asked)
    return {(row.channel, row.origin, row.topic): row.enabled for row in result}


async def replace_choices(
    connection: AsyncConnection, user: str, choices: Mapping[Key, bool]
) -> None:
    """Make these all that a user chose."""
    if connection.dialect.name == "postgresql":
        # Two of one user's requests at once would otherwise mix what they say.
        lock = func.pg_advisory_xact_lock(func.hashtextextended(f"user_setting {user}", 0))
        await connection.execute(select(lock))
    await connection.execute(delete(user_setting).where(user_setting.c.recipient == user))
    rows = [
        {
            "recipient": user,
            "channel": channel,
            "origin": origin,
            "topic": topic,
            "enabled": enabled,
        }
        for (channel, origin, topic), enabled in choices.items()
    ]
    if rows:
        await connection.execute(insert(user_setting), rows)


async def known_sources(
    connection: AsyncConnection, *recipients: str
) -> list[tuple[str, str | None]]:
    """Return the origins and topics of what was sent to some recipients."""
    statement = (
        select(notification.c.origin, notification.c.topic)
        .distinct()
        .where(notification.c.recipient.in_(recipients))
    )
    return [(row.origin, row.topic) for row in await connection.execute(statement)]


async def muted_broadcasts(
    connection: AsyncConnection, user: str, channel: str, defaults: Mapping[Key, bool]
) -> MutedBroadcasts:
    """Return which broadcasts a user does not want by a channel.

    Of an origin that is off the topics are not looked at: `Choices.wants` none of them, and there
    may be more than a statement can have parameters.
    """
    own = await own_choices(connection, user, channel=channel)
    choices = Choices(own=own, defaults=defaults)
    said = [enabled for (name, _, _), enabled in defaults.items() if name == fold(channel)]
    if all(own.values()) and all(said):
        return MutedBroadcasts()
    origins = await _broadcast_origins(connection)
    off = frozenset(origin for origin in origins if not choices.wants(channel, origin, None))
    partly = _origins_with_topics_off(choices, channel)
    asked = [origin for origin in origins if origin not in off and fold(origin) in partly]
    topics = frozenset(
        (origin, topic)
        for origin, topic in await _broadcast_topics(connection, asked)
        if not choices.wants(channel, origin, topic)
    )
    return MutedBroadcasts(origins=off, topics=topics)


def _origins_with_topics_off(choices: Choices, channel: str) -> set[str]:
    return {
        origin
        for layer in (choices.own, choices.defaults)
        for (name, origin, topic), enabled in layer.items()
        if topic and not enabled and name == fold(channel)
    }


async def _broadcast_origins(connection: AsyncConnection) -> list[str]:
    statement = select(notification.c.origin).distinct()
    found = await connection.execute(statement.where(notification.c.recipient == BROADCAST))
    return list(found.scalars())


async def _broadcast_topics(
    connection: AsyncConnection, origins: Sequence[str]
) -> list[tuple[str, str]]:
    if not origins:
        return []
    statement = (
        select(notification.c.origin, notification.c.topic)
        .distinct()
        .where(
            notification.c.recipient == BROADCAST,
            notification.c.origin.in_(origins),
            notification.c.topic.is_not(None),
        )
    )
    return [(row.origin, row.topic) for row in await connection.execute(statement)]


async def preferences(
    connection: AsyncConnection,
    defaults: Mapping[Key, bool],
    *,
    origin: str,
    topic: str | None,
    channels: Sequence[str],
    after: str | None,
    limit: int,
) -> Preferences:
    """Return who wants the notifications of an origin and topic by which channels; one page."""
    nobody = Choices(own={}, defaults=defaults)
    asked = unique_names(channels)
    usual = {channel: nobody.wants(channel, origin, topic) for channel in asked}
    users = await _deviating(connection, usual, origin, topic, after=after, limit=limit)
    if not users:
        return Preferences(defaults=usual, exceptions=(), next=None)
    # They are all who differ between the first and the last: a range is shorter than a list.
    setting = user_setting.c.recipient
    between = setting.between(users[0], users[-1])
    chosen = await _relevant(connection, between, origin, topic, asked)
    exceptions = []
    for user in users:
        choices = Choices(own=chosen.get(user, {}), defaults=defaults)
        wanted = {channel: choices.wants(channel, origin, topic) for channel in asked}
        if wanted != usual:
            exceptions.append(UserPreferences(user=user, channels=wanted))
    return Preferences(
        defaults=usual, exceptions=exceptions, next=users[-1] if len(users) == limit else None
    )


async def muted_by(
    connection: AsyncConnection,
    defaults: Mapping[Key, bool],
    users: Sequence[str],
    *,
    origin: str,
    topic: str | None,
    channel: str,
) -> frozenset[str]:
    """Return those of some users who do not want an origin and topic by a channel."""
    usual = Choices(own={}, defaults=defaults).wants(channel, origin, topic)
    muted = set() if usual else set(users)
    if len(users) > _USERS_PER_STATEMENT and not await _deviating(
        connection, {channel: usual}, origin, topic, after=None, limit=1
    ):
        return frozenset(muted)
    for start in range(0, len(users), _USERS_PER_STATEMENT):
        among = user_setting.c.recipient.in_(users[start : start + _USERS_PER_STATEMENT])
        chosen = await _relevant(connection, among, origin, topic, [channel])
        for user, own in chosen.items():
            if Choices(own=own, defaults=defaults).wants(channel, origin, topic):
                muted.discard(user)
            else:
                muted.add(user)
    return frozenset(muted)


async def _deviating(
    connection: AsyncConnection,
    usual: Mapping[str, bool],
    origin: str,
    topic: str | None,
    *,
    after: str | None,
    limit: int,
) -> list[str]:
    """Return the users who may differ: one of their choices is not what is usual.

    `Choices.wants` rises with every choice, so that whoever chose only what is usual gets that.
    """
    branches = [
        _having(key, enabled=not enabled, after=after, limit=limit)
        for channel, enabled in usual.items()
        for key in relevant_keys(channel, origin, topic)
    ]
    if not branches:
        return []
    some = union(*(select(branch.subquery()) for branch in branches)).subquery()
    statement = select(some.c.recipient).order_by(some.c.recipient).limit(limit)
    return list((await connection.execute(statement)).scalars())


def _having(key: Key, *, enabled: bool, after: str | None, limit: int) -> Select[tuple[str]]:
    """Select the first users who chose something about one key, by the index."""
    setting = user_setting.c
    channel, origin, topic = key
    statement = select(setting.recipient).where(
        setting.channel == channel,
        setting.origin == origin,
        setting.topic == topic,
        setting.enabled == enabled,
    )
    if after is not None:
        statement = statement.where(setting.recipient > after)
    return statement.order_by(setting.recipient).limit(limit)


async def _relevant(
    connection: AsyncConnection,
    users: ColumnElement[bool],
    origin: str,
    topic: str | None,
    channels: Sequence[str],
) -> dict[str, dict[Key, bool]]:
    setting = user_setting.c
    keys = [key for channel in channels for key in relevant_keys(channel, origin, topic)]
    statement = select(user_setting).where(
        users, tuple_(setting.channel, setting.origin, setting.topic).in_(keys)
    )
    found: dict[str, dict[Key, bool]] = {}
    for row in await connection.execute(statement):
        found.setdefault(row.recipient, {})[row.channel, row.origin, row.topic] = row.enabled
    return found
