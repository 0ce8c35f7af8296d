"""Signals reach those who listen, once encoded; who is too slow or stays too long is closed."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.gateway.errors import ServiceUnavailableError, TooManyRequestsError
from notifications_operator.gateway.signals.hub import (
    MAX_CHANNEL_LENGTH,
    MAX_CHANNELS,
    CloseCode,
    Closing,
    Connection,
    Hub,
)
from notifications_operator.gateway.signals.outbox import Signal
from notifications_operator.gateway.signals.settings import SignalsSettings
from notifications_operator.telemetry.gateway import REGISTRY

ADA, BOB = "user:default/ada", "user:default/bob"
CHANNEL = "notifications"


class Listener:
    """Stands in for the owner of a socket: a task that takes what comes."""

    def __init__(
        self,
        hub: Hub,
        user: str,
        *channels: str,
        reads: bool = True,
        expires: datetime | None = None,
        session: str | None = None,
    ) -> None:
        self.hub = hub
        self.got: list[Any] = []
        self.closings: list[Closing] = []
        self.connection = hub.connect(
            user, expires=expires, close=self.closings.append, session=session
        )
        for channel in channels:
            hub.subscribe(self.connection, channel)
        self.task = asyncio.create_task(self._read()) if reads else None

    async def _read(self) -> None:
        while True:
            self.got.append(json.loads(await self.connection.next())["message"])

    def leave(self) -> None:
        self.hub.disconnect(self.connection)
        if self.task is not None:
            self.task.cancel()


def hub(**settings: Any) -> Hub:
    return Hub(SignalsSettings(**settings))


def never(closing: Closing) -> None:
    raise AssertionError(closing)


def signal(message: dict[str, Any], *users: str, channel: str = CHANNEL) -> Signal:
    """Return a signal; without users it is for everybody."""
    return Signal(users=users or None, channel=channel, message=message)


async def settle() -> None:
    """Let everybody take what waits."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_signal_reaches_its_users_on_its_channel_and_nobody_else() -> None:
    found = hub()
    ada, ada_too = Listener(found, ADA, CHANNEL), Listener(found, ADA, CHANNEL)
    elsewhere, bob = Listener(found, ADA, "other"), Listener(found, BOB, CHANNEL)
    await found.publish([signal({"number": 1}, ADA), signal({"number": 2}, ADA, BOB, ADA)])
    await settle()
    assert ada.got == ada_too.got == [{"number": 1}, {"number": 2}]
    assert bob.got == [{"number": 2}]
    assert elsewhere.got == []
    for listener in (ada, ada_too, elsewhere, bob):
        listener.leave()


async def test_a_broadcast_reaches_every_subscriber_of_its_channel() -> None:
    found = hub()
    ada, bob, silent = (
        Listener(found, ADA, CHANNEL),
        Listener(found, BOB, CHANNEL, "other"),
        Listener(found, BOB),
    )
    await found.publish([signal({"a": 1}), signal({"b": 1}, channel="other")])
    await settle()
    assert (ada.got, bob.got, silent.got) == ([{"a": 1}], [{"a": 1}, {"b": 1}], [])
    for listener in (ada, bob, silent):
        listener.leave()


async def test_what_is_sent_has_upstream_s_form() -> None:
    found = hub()
    connection = found.connect(ADA, expires=None, close=never)
    found.subscribe(connection, CHANNEL)
    await found.publish([signal({"action": "new_notification", "notification_id": "x"}, ADA)])
    assert json.loads(await connection.next()) == {
        "channel": CHANNEL,
        "message": {"action": "new_notification", "notification_id": "x"},
    }


async def test_a_message_is_encoded_once_for_all_and_costs_no_task() -> None:
    found = hub()
    connections = [
        found.connect(f"user:default/{n}", expires=None, close=never) for n in range(1000)
    ]
    for connection in connections:
        found.subscribe(connection, CHANNEL)
    tasks = len(asyncio.all_tasks())
    await found.publish([signal({"text": "x"})])
    assert len(asyncio.all_tasks()) == tasks
    texts = [await connection.next() for connection in connections]
    assert all(text is texts[0] for text in texts)


async def test_what_has_no_utf_8_can_be_sent() -> None:
    found = hub()
    connection = found.connect(ADA, expires=None, close=never)
    found.subscribe(connection, CHANNEL)
    title = "half a pair \ud800, \u202e, \u0000 and </script>"
    await found.publish([signal({"title": title}, ADA)])
    text = await connection.next()
    assert json.loads(text.encode()) == {"channel": CHANNEL, "message": {"title": title}}


async def test_unsubscribed_and_gone_connections_get_nothing() -> None:
    found = hub()
    ada = Listener(found, ADA, CHANNEL)
    found.unsubscribe(ada.connection, CHANNEL)
    found.unsubscribe(ada.connection, CHANNEL)
    found.unsubscribe(ada.connection, "never subscribed")
    bob = Listener(found, BOB, CHANNEL)
    bob.leave()
    await found.publish([signal({})])
    await settle()
    assert (ada.got, bob.got, found.connections) == ([], [], 1)
    ada.leave()
    assert found.connections == 0


async def test_subscribing_twice_is_subscribing_once() -> None:
    found = hub()
    ada = Listener(found, ADA, CHANNEL, CHANNEL)
    await found.publish([signal({"number": 1})])
    found.unsubscribe(ada.connection, CHANNEL)
    await found.publish([signal({"number": 2})])
    await settle()
    assert ada.got == [{"number": 1}]
    ada.leave()


async def test_channels_are_bounded() -> None:
    found = hub()
    ada = Listener(found, ADA, *(f"channel-{number}" for number in range(MAX_CHANNELS + 1)))
    long = Listener(found, ADA, "x" * (MAX_CHANNEL_LENGTH + 1))
    await found.publish(
        [
            signal({"number": 1}, channel=f"channel-{MAX_CHANNELS - 1}"),
            signal({"number": 2}, channel=f"channel-{MAX_CHANNELS}"),
            signal({"number": 3}, channel="x" * (MAX_CHANNEL_LENGTH + 1)),
        ]
    )
    await settle()
    assert (ada.got, long.got) == ([{"number": 1}], [])
    ada.leave()
    long.leave()


async def test_a_slow_reader_is_closed_and_others_get_everything() -> None:
    found = hub(max_queued_messages=10)
    slow = Listener(found, ADA, CHANNEL, reads=False)
    quick = Listener(found, BOB, CHANNEL)
    await found.publish([signal({"number": number}) for number in range(1000)])
    await settle()
    assert [closing.code for closing in slow.closings] == [CloseCode.TRY_AGAIN_LATER]
    assert quick.got == [{"number": number} for number in range(1000)]
    assert quick.closings == []
    slow.leave()
    quick.leave()


async def test_what_waits_is_bounded_in_bytes_too_unless_it_is_one_message() -> None:
    found = hub(max_queued_bytes=1000)
    ada = Listener(found, ADA, CHANNEL, reads=False)
    await found.publish([signal({"text": "x" * 5000}, ADA)])
    assert ada.closings == []
    await found.publish([signal({}, ADA)])
    assert [closing.code for closing in ada.closings] == [CloseCode.TRY_AGAIN_LATER]
    ada.leave()


async def test_room_comes_back_with_what_is_read() -> None:
    found = hub(max_queued_bytes=100)
    ada = Listener(found, ADA, CHANNEL, reads=False)
    for _ in range(50):
        await found.publish([signal({"text": "x" * 20}, ADA)])
        await ada.connection.next()
    assert ada.closings == []
    ada.leave()


async def test_a_connection_is_closed_when_its_token_expires_and_only_once() -> None:
    found = hub(max_queued_messages=1)
    soon = datetime.now(UTC) + timedelta(seconds=0.05)
    ada = Listener(found, ADA, CHANNEL, reads=False, expires=soon)
    async with asyncio.timeout(30):
        while not ada.closings:
            await asyncio.sleep(0.01)
    assert datetime.now(UTC) >= soon
    await found.publish([signal({})] * 5)
    assert [closing.code for closing in ada.closings] == [CloseCode.TOKEN_EXPIRED]
    ada.leave()


def sample(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(f"notifications_gateway_{name}", labels)
    assert found is not None
    return found


async def test_sockets_are_counted() -> None:
    found = hub(max_queued_messages=1)
    open_before = sample("sockets")
    slow_before = sample("sockets_closed_total", reason="try_again_later")
    slow, other = Listener(found, ADA, CHANNEL, reads=False), Listener(found, BOB)
    assert sample("sockets") == open_before + 2
    await found.publish([signal({})] * 3)
    assert sample("sockets_closed_total", reason="try_again_later") == slow_before + 1
    slow.leave()
    other.leave()
    assert sample("sockets") == open_before


async def test_who_left_is_not_closed_any_more() -> None:
    found = hub()
    expires = datetime.now(UTC) + timedelta(seconds=0.05)
    ada = Listener(found, ADA, expires=expires)
    ada.leave()
    other = Listener(found, BOB, expires=expires)
    async with asyncio.timeout(30):
        while not other.closings:
            await asyncio.sleep(0.01)
    assert ada.closings == []
    other.leave()


async def test_connections_are_bounded_and_their_place_comes_back() -> None:
    found = hub(max_sockets=3, max_sockets_per_user=2)
    ada = [Listener(found, ADA), Listener(found, ADA)]
    with pytest.raises(TooManyRequestsError):
        Listener(found, ADA)
    bob = Listener(found, BOB)
    with pytest.raises(ServiceUnavailableError):
        Listener(found, "user:default/eve")
    ada[0].leave()
    again = Listener(found, ADA)
    assert found.connections == 3
    for listener in (ada[1], bob, again):
        listener.leave()
    assert found.connections == 0


async def test_connections_that_come_and_go_while_signals_are_handed_out_do_no_harm() -> None:
    found = hub(max_queued_messages=1)
    listeners = [Listener(found, f"user:default/{n}", CHANNEL, reads=False) for n in range(20)]

    async def come_and_go() -> None:
        for number, listener in enumerate(listeners):
            listener.leave()
            listeners[number] = Listener(found, ADA, CHANNEL, reads=False)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(come_and_go())
        tasks.create_task(found.publish([signal({})] * 10))
    for listener in listeners:
        listener.leave()
    assert found.connections == 0


USERS = st.sampled_from(["a", "b", "c"])
CHANNELS = st.sampled_from(["x", "y"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), USERS),
        st.tuples(st.just("disconnect"), st.integers(0, 5)),
        st.tuples(st.just("subscribe"), st.integers(0, 5), CHANNELS),
        st.tuples(st.just("unsubscribe"), st.integers(0, 5), CHANNELS),
        st.tuples(
            st.just("publish"),
            st.one_of(st.none(), st.lists(USERS, max_size=3).map(tuple)),
            CHANNELS,
        ),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_each_hears_what_a_naive_list_says(steps: list[Any]) -> None:
    asyncio.run(_compare(steps))


async def _compare(steps: list[Any]) -> None:
    found = hub()
    connections: list[Connection] = []
    gone: set[int] = set()
    channels: dict[int, set[str]] = defaultdict(set)
    expected: dict[int, list[int]] = defaultdict(list)
    for number, step in enumerate(steps):
        match step:
            case ("connect", user):
                connections.append(found.connect(user, expires=None, close=never))
            case ("publish", users, channel):
                await found.publish([Signal(users=users, channel=channel, message={"n": number})])
                for index, connection in enumerate(connections):
                    addressed = users is None or connection.user in users
                    if index not in gone and channel in channels[index] and addressed:
                        expected[index].append(number)
            case (action, index, *rest):
                if index >= len(connections) or index in gone:
                    continue
                if action == "disconnect":
                    found.disconnect(connections[index])
                    gone.add(index)
                elif action == "subscribe":
                    found.subscribe(connections[index], rest[0])
                    channels[index].add(rest[0])
                else:
                    found.unsubscribe(connections[index], rest[0])
                    channels[index].discard(rest[0])
    assert found.connections == len(connections) - len(gone)
    for index, connection in enumerate(connections):
        if index not in gone:
            heard = [json.loads(await connection.next())["message"]["n"] for _ in expected[index]]
            assert heard == expected[index]
            await found.publish([Signal(users=(), channel="x", message={})])


async def test_a_session_that_ends_takes_its_connections_along() -> None:
    found = hub()
    ended = [Listener(found, ADA, CHANNEL, reads=False, session="one") for _ in range(2)]
    other = Listener(found, ADA, CHANNEL, session="two")
    token = Listener(found, ADA, CHANNEL)
    await found.publish([signal({"number": 1}, ADA)])
    found.end_session("one")
    found.end_session("one")
    await found.publish([signal({"number": 2}, ADA)])
    await settle()
    assert [[closing.code for closing in listener.closings] for listener in ended] == [[4401]] * 2
    for listener in ended:
        # What waited is not sent any more.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listener.connection.next(), 0.01)
    assert [item["number"] for item in other.got] == [item["number"] for item in token.got]
    assert len(token.got) == 2
    assert set(found.sessions) == {"one", "two"}
    for listener in (*ended, other, token):
        listener.leave()
    assert (found.connections, found.sessions) == (0, [])
    found.end_session("two")
