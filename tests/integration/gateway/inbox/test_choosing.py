"""Settings: shown and obeyed alike, replaced whole, asked for by the operator in pages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.errors import InputError
from notifications_operator.gateway.inbox.choosing import Preferences, own_choices
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.filters import Filters
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.inbox.matrix import MOST_CHOICES, Key, SettingsMatrix
from tests.integration.gateway.inbox.builders import (
    ADA,
    ALL,
    BOB,
    EVERYBODY,
    deliver,
    row,
    titles,
)


def matrix(**channels: dict[str, Any]) -> SettingsMatrix:
    """Build a matrix: ``Web={"plugin:a": True, "plugin:a/topic": False, "": False}``."""
    built = []
    for channel, choices in channels.items():
        origins: dict[str, dict[str, Any]] = {}
        for key, enabled in choices.items():
            origin, _, topic = key.partition("/")
            if not origin:
                continue
            entry = origins.setdefault(origin, {"id": origin, "enabled": True, "topics": []})
            if topic:
                entry["topics"].append({"id": topic, "enabled": enabled})
            else:
                entry["enabled"] = enabled
        entry = {"id": channel, "origins": list(origins.values())}
        built.append(entry | ({"enabled": choices[""]} if "" in choices else {}))
    return SettingsMatrix.model_validate({"channels": built})


async def ask(inbox: Inbox, origin: str = "plugin:a", topic: str | None = None) -> Preferences:
    return await inbox.preferences(origin, topic, ["Web", "Email"], after=None, limit=100)


async def test_some_users_are_asked_about_in_any_number(inbox: Inbox) -> None:
    users = [f"user:default/u{number}" for number in range(2500)]
    for user, topic in ((users[0], "t"), (users[2499], "t"), (users[5], "other")):
        await inbox.save_settings(user, matrix(Web={"plugin:a": True, f"plugin:a/{topic}": False}))
    await inbox.save_settings(BOB, matrix(Web={"plugin:a": False}))
    await inbox.save_settings(users[7], matrix(Email={"plugin:a": False}))
    assert await inbox.muted_by(users, origin="plugin:A", topic="T") == {users[0], users[2499]}
    assert await inbox.muted_by(users, origin="plugin:a", topic=None) == frozenset()
    assert await inbox.muted_by(users, origin="plugin:nobodys", topic="t") == frozenset()
    assert await inbox.muted_by([BOB], origin="plugin:a", topic="t") == {BOB}
    assert await inbox.muted_by([], origin="plugin:a", topic="t") == frozenset()


async def test_nothing_is_said_at_first(inbox: Inbox) -> None:
    found = await inbox.settings(ADA)
    assert found.to_json() == {
        "channels": [{"id": "Web", "origins": []}, {"id": "Email", "origins": []}]
    }


async def test_matrix_shows_what_one_knows_broadcasts_included(inbox: Inbox) -> None:
    await deliver(
        inbox,
        row(origin="plugin:b", topic="t"),
        row(origin="plugin:b"),
        row(EVERYBODY, origin="plugin:a", topic="u"),
        row(BOB, origin="plugin:secret"),
    )
    web, email = (await inbox.settings(ADA)).to_json()["channels"]
    assert web["origins"] == email["origins"]
    assert web["origins"] == [
        {"id": "plugin:a", "enabled": True, "topics": [{"id": "u", "enabled": True}]},
        {"id": "plugin:b", "enabled": True, "topics": [{"id": "t", "enabled": True}]},
    ]


async def test_saved_matrix_is_shown(inbox: Inbox) -> None:
    await deliver(inbox, row(origin="plugin:a", topic="t"), row(origin="plugin:b", topic="t"))
    chosen = matrix(
        Web={"plugin:a": True, "plugin:a/t": False, "plugin:b": False, "plugin:b/t": True},
        Email={"": False},
    )
    found = await inbox.save_settings(ADA, chosen)
    assert found == await inbox.settings(ADA)
    web, email = found.to_json()["channels"]
    assert web["origins"] == [
        {"id": "plugin:a", "enabled": True, "topics": [{"id": "t", "enabled": False}]},
        {"id": "plugin:b", "enabled": False, "topics": [{"id": "t", "enabled": False}]},
    ]
    assert email["enabled"] is False, "the choice about the whole channel is kept"
    assert not any(origin["enabled"] for origin in email["origins"])
    assert (await inbox.settings(BOB)).channels[1].enabled is None


async def test_saving_replaces_all_and_nothing_is_valid(inbox: Inbox) -> None:
    await deliver(inbox, row(origin="plugin:a"))
    await inbox.save_settings(ADA, matrix(Web={"plugin:a": False}, Email={"plugin:a": False}))
    await inbox.save_settings(ADA, matrix(Web={"plugin:a": False}))
    web, email = (await inbox.settings(ADA)).channels
    assert (web.origins[0].enabled, email.origins[0].enabled) == (False, True)
    found = await inbox.save_settings(ADA, SettingsMatrix())
    assert [channel.origins[0].enabled for channel in found.channels] == [True, True]


async def test_unknown_channel_is_refused_and_changes_nothing(inbox: Inbox) -> None:
    await inbox.save_settings(ADA, matrix(Web={"": False}))
    with pytest.raises(InputError, match="Invalid channel 'Pigeon'; valid: Web, Email"):
        await inbox.save_settings(ADA, matrix(Pigeon={"": True}))
    assert (await inbox.settings(ADA)).channels[0].enabled is False


async def test_channels_of_defaults_can_be_saved(database: Database) -> None:
    inbox = Inbox(database, defaults=matrix(web={"": True}, Pager={"": False}))
    shown = await inbox.settings(ADA)
    assert [channel.id for channel in shown.channels] == ["Web", "Pager"]
    assert await inbox.save_settings(ADA, shown) == shown


async def test_what_was_shown_can_be_saved_and_follows_later_defaults(database: Database) -> None:
    inbox = Inbox(database, defaults=matrix(Web={"": False}))
    shown = await inbox.settings(ADA)
    assert await inbox.save_settings(ADA, shown) == shown
    later = Inbox(database, defaults=matrix(Web={"": True}))
    assert (await later.settings(ADA)).channels[0].enabled is True


async def test_names_are_compared_in_any_case(inbox: Inbox) -> None:
    await deliver(inbox, row(EVERYBODY, origin="plugin:Foo", topic="Bar"))
    await inbox.save_settings(ADA, matrix(web={"PLUGIN:foo": True, "PLUGIN:foo/bar": False}))
    (origin,) = (await inbox.settings(ADA)).channels[0].origins
    assert (origin.id, origin.topics[0].id, origin.topics[0].enabled) == (
        "plugin:Foo",
        "Bar",
        False,
    )
    assert await titles(inbox) == []
    found = await inbox.preferences("plugin:FOO", "BAR", ["WEB"], after=None, limit=9)
    assert [(item.user, item.channels) for item in found.exceptions] == [(ADA, {"WEB": False})]


async def test_concurrent_saves_leave_one_of_them(inbox: Inbox) -> None:
    choices = [
        matrix(Web={f"plugin:{number}": False, "plugin:all": number % 2 == 0})
        for number in range(8)
    ]
    await deliver(inbox, row(origin="plugin:all"), *(row(origin=f"plugin:{n}") for n in range(8)))
    await asyncio.gather(*(inbox.save_settings(ADA, one) for one in choices))
    origins = {
        origin.id: origin.enabled for origin in (await inbox.settings(ADA)).channels[0].origins
    }
    (chosen,) = (number for number in range(8) if not origins[f"plugin:{number}"])
    assert origins["plugin:all"] is (chosen % 2 == 0)


async def test_muted_broadcasts_are_not_in_the_inbox(inbox: Inbox) -> None:
    muted, _, own, _ = await deliver(
        inbox,
        row(EVERYBODY, title="muted", origin="plugin:a", topic="t"),
        row(EVERYBODY, title="same origin", origin="plugin:a"),
        row(title="own", origin="plugin:a", topic="t"),
        row(EVERYBODY, title="other", origin="plugin:b", topic="t"),
    )
    await inbox.save_settings(ADA, matrix(Web={"plugin:a": True, "plugin:a/t": False}))
    assert set(await titles(inbox)) == {"same origin", "own", "other"}
    assert await inbox.status(ADA) == (3, 0)
    assert await inbox.topics(ADA, ALL) == ["t"]
    assert await inbox.mark_all_read(ADA, ALL) == 3
    assert set(await titles(inbox, BOB)) == {"muted", "same origin", "other"}
    assert await inbox.get(ADA, muted) is not None, "a link to it leads there"
    await inbox.save_settings(ADA, SettingsMatrix())
    assert await titles(inbox, filters=Filters(read=False)) == ["muted"]
    assert own is not None


async def test_defaults_mute_broadcasts(database: Database) -> None:
    inbox = Inbox(database, defaults=matrix(Web={"": False, "plugin:a": True}))
    await deliver(inbox, row(EVERYBODY, title="a", origin="plugin:a"), row(EVERYBODY, title="b"))
    assert await titles(inbox) == ["a"]


@pytest.mark.parametrize(
    "chosen", [{"plugin:A": False}, {"": False}], ids=["the origin", "the channel"]
)
async def test_a_noisy_origin_is_muted_however_many_topics_it_has(
    inbox: Inbox, chosen: dict[str, bool]
) -> None:
    # Two parameters for each would be more than PostgreSQL's protocol can number.
    rows = [row(EVERYBODY, origin="plugin:a", topic=f"t{number}") for number in range(20_000)]
    for start in range(0, len(rows), 1000):
        await inbox.deliver(rows[start : start + 1000])
    await inbox.deliver([row(title="own", origin="plugin:a", topic="mine")])
    await inbox.save_settings(ADA, matrix(Web=chosen))
    assert await inbox.status(ADA) == (1, 0)
    assert await titles(inbox) == ["own"]
    assert await inbox.topics(ADA, ALL) == ["mine"]
    assert await inbox.mark_all_read(ADA, ALL) == 1


async def test_as_many_choices_as_are_kept_are_obeyed(inbox: Inbox) -> None:
    names = [f"t{number}" for number in range(MOST_CHOICES)]
    rows = [row(EVERYBODY, title=name, origin="plugin:a", topic=name) for name in names]
    for start in range(0, len(rows), 1000):
        await inbox.deliver(rows[start : start + 1000])
    off = {f"plugin:a/{name}": False for name in names[1:]}
    await inbox.save_settings(ADA, matrix(Web={"plugin:a": True, **off}))
    with pytest.raises(InputError, match="5001 choices"):
        await inbox.save_settings(ADA, matrix(Web={"plugin:a": True, "plugin:b": True, **off}))
    assert await titles(inbox) == ["t0"]
    assert await titles(inbox, filters=Filters(search="t")) == ["t0"]
    assert await inbox.topics(ADA, ALL) == ["t0"]
    assert await inbox.status(ADA) == (1, 0)
    assert await inbox.mark_all_read(ADA, ALL) == 1


async def test_topics_of_an_origin_that_is_off_are_not_stored(
    inbox: Inbox, database: Database
) -> None:
    await inbox.save_settings(
        ADA, matrix(Web={"plugin:a": False, "plugin:a/t": True, "plugin:a/u": False})
    )

    async def stored(connection: AsyncConnection) -> dict[Key, bool]:
        return await own_choices(connection, ADA)

    assert await database.read(stored) == {("web", "plugin:a", ""): False}


async def test_topics_that_are_as_their_origin_are_no_choices(database: Database) -> None:
    """A page sends back all that it shows; of what the defaults say it must be kept."""
    inbox = Inbox(database, defaults=matrix(Web={"plugin:a": True, "plugin:a/t": False}))
    many = {f"plugin:a/{number}": True for number in range(6000)}
    await inbox.save_settings(ADA, matrix(Web={"plugin:a": True, "plugin:a/t": True} | many))

    async def stored(connection: AsyncConnection) -> dict[Key, bool]:
        return await own_choices(connection, ADA)

    assert await database.read(stored) == {
        ("web", "plugin:a", ""): True,
        ("web", "plugin:a", "t"): True,
    }
    assert await inbox.muted_by([ADA, BOB], origin="plugin:a", topic="t") == {BOB}
    assert await inbox.muted_by([ADA, BOB], origin="plugin:a", topic="7") == frozenset()


async def test_origins_and_topics_are_muted_side_by_side(database: Database) -> None:
    inbox = Inbox(database, defaults=matrix(Web={"plugin:d": True, "plugin:d/t": False}))
    await deliver(
        inbox,
        *(
            row(EVERYBODY, title=f"{origin} {topic}", origin=f"plugin:{origin}", topic=topic)
            for origin in "aBcd"
            for topic in (None, "t", "U")
        ),
    )
    await inbox.save_settings(
        ADA,
        matrix(Web={"plugin:a": False, "plugin:a/t": True, "plugin:b": True, "plugin:b/u": False}),
    )
    shown = {"B None", "B t", "c None", "c t", "c U", "d None", "d U"}
    assert set(await titles(inbox)) == shown
    assert await inbox.status(ADA) == (len(shown), 0)
    assert await inbox.mark_all_read(ADA, ALL) == len(shown)


async def test_preferences_are_defaults_and_those_who_differ(database: Database) -> None:
    inbox = Inbox(
        database, channels=["Email"], defaults=matrix(Email={"": False, "plugin:a": True})
    )
    everyone = await ask(inbox)
    assert everyone == Preferences(defaults={"Web": True, "Email": True}, exceptions=(), next=None)
    assert (await ask(inbox, "plugin:b")).defaults == {"Web": True, "Email": False}
    await inbox.save_settings(ADA, matrix(Email={"plugin:a": False, "plugin:b": True}))
    await inbox.save_settings(BOB, matrix(Web={"plugin:a": True}, Email={"plugin:a": True}))

    found = await ask(inbox)
    assert [(item.user, item.channels) for item in found.exceptions] == [
        (ADA, {"Web": True, "Email": False})
    ]
    found = await ask(inbox, "plugin:b", "any topic")
    assert [(item.user, item.channels) for item in found.exceptions] == [
        (ADA, {"Web": True, "Email": True})
    ]


async def test_preferences_come_in_pages(inbox: Inbox) -> None:
    users = [f"user:default/u{number:03}" for number in range(25)]
    for number, user in enumerate(users):
        await inbox.save_settings(
            user, matrix(Web={"": number % 3 != 0}, Email={"plugin:a": number % 2 == 0})
        )
    seen: list[str] = []
    after = None
    pages = 0
    while True:
        found = await inbox.preferences("plugin:a", "t", ["Web", "Email"], after=after, limit=4)
        seen += [item.user for item in found.exceptions]
        pages += 1
        if found.next is None:
            break
        after = found.next
    assert seen == [user for n, user in enumerate(users) if n % 3 == 0 or n % 2]
    assert 1 < pages < 10


async def test_preferences_of_no_channel_are_none(inbox: Inbox) -> None:
    found = await inbox.preferences("plugin:a", None, [], after=None, limit=9)
    assert found == Preferences(defaults={}, exceptions=(), next=None)


ENABLED = st.booleans()
CHOICES = st.dictionaries(
    st.sampled_from(["", "plugin:a", "plugin:b", "plugin:a/t", "plugin:a/u"]), ENABLED, max_size=4
)
MATRICES = st.fixed_dictionaries({}, optional={"Web": CHOICES, "Email": CHOICES})


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    defaults=MATRICES,
    chosen=MATRICES,
    origin=st.sampled_from(["plugin:a", "plugin:b"]),
    topic=st.sampled_from([None, "t", "u"]),
)
async def test_what_is_shown_is_what_is_obeyed(
    database: Database,
    defaults: dict[str, dict[str, bool]],
    chosen: dict[str, dict[str, bool]],
    origin: str,
    topic: str | None,
) -> None:
    inbox = Inbox(database, channels=["Web", "Email"], defaults=matrix(**defaults))
    await inbox.deliver(
        [row(ADA, uid=f"{origin} {topic}", identity="1", origin=origin, topic=topic)]
    )
    await inbox.save_settings(ADA, matrix(**chosen))

    shown = {}
    for channel in (await inbox.settings(ADA)).channels:
        entry = next(item for item in channel.origins if item.id == origin)
        topics = {item.id: item.enabled for item in entry.topics}
        shown[channel.id] = topics[topic] if topic else entry.enabled
    found = await ask(inbox, origin, topic)
    obeyed = {item.user: item.channels for item in found.exceptions}
    assert obeyed.get(ADA, found.defaults) == shown
    assert set(obeyed) <= {ADA}
    assert all(wishes != found.defaults for wishes in obeyed.values())
    muted = await inbox.muted_by([ADA, BOB], origin=origin, topic=topic)
    assert muted == {user for user in (ADA, BOB) if not obeyed.get(user, found.defaults)["Web"]}
