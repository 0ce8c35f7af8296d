"""Backstage's own signals client, from npm and unmodified, gets its signals here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from notifications_operator.gateway.principals import Principal, UserPrincipal
from notifications_operator.gateway.signals.hub import Hub
from tests.support.backstage import SignalsClient, signals_client
from tests.support.signals import CHANNEL, publish, serving, until

ADA = "user:default/ada"
PRINCIPALS: dict[str, Principal] = {"ada": UserPrincipal(entity_ref=ADA)}


async def listening(hub: Hub, client: SignalsClient) -> None:
    """Wait until a signal comes through; what was sent before the client listened is lost."""
    coming = asyncio.create_task(client.next())
    number = 0
    async with asyncio.timeout(120):
        while not coming.done():
            number += 1
            await publish(hub, {"probe": number}, ADA)
            await asyncio.wait([coming], timeout=0.05)
    last = coming.result()[1]["probe"]
    while last < number:
        last = (await message(client))["probe"]


async def message(client: SignalsClient) -> Any:
    async with asyncio.timeout(60):
        channel, found = await client.next()
    assert channel == CHANNEL
    return found


async def test_it_hears_what_is_for_it() -> None:
    news = {"action": "new_notification", "notification_id": "1", "notification": {"id": "1"}}
    async with (
        serving(PRINCIPALS) as served,
        signals_client(f"http://{served.authority}", token="ada") as client,
    ):
        await client.tell(subscribe=CHANNEL)
        await listening(served.hub, client)
        await publish(served.hub, {"number": 1}, "user:default/bob")
        await publish(served.hub, {"number": 2}, channel="other")
        await publish(served.hub, news, ADA)
        await publish(served.hub, {"text": "\ud800 </script> ü"})
        assert await message(client) == news
        assert await message(client) == {"text": "\ud800 </script> ü"}


async def test_it_leaves_when_nobody_listens() -> None:
    async with (
        serving(PRINCIPALS) as served,
        signals_client(f"http://{served.authority}", token="ada") as client,
    ):
        await client.tell(subscribe=CHANNEL)
        await listening(served.hub, client)
        await client.tell(unsubscribe=CHANNEL)
        await until(lambda: served.hub.connections == 0)


async def test_it_comes_back_after_a_restart() -> None:
    async with (
        serving(PRINCIPALS) as served,
        signals_client(f"http://{served.authority}", token="ada") as client,
    ):
        await client.tell(subscribe=CHANNEL)
        await listening(served.hub, client)
        await served.stop()
        async with serving(PRINCIPALS, port=served.port) as again:
            await listening(again.hub, client)


async def test_it_comes_back_with_a_new_token_when_the_old_one_expired() -> None:
    expires = datetime.now(UTC) + timedelta(seconds=5)
    principals = {**PRINCIPALS, "short": UserPrincipal(entity_ref=ADA, expires=expires)}
    async with (
        serving(principals) as served,
        signals_client(f"http://{served.authority}", token="short") as client,
    ):
        await client.tell(subscribe=CHANNEL)
        await listening(served.hub, client)
        await client.tell(token="ada")
        await until(lambda: served.tokens.shown["ada"] > 0)
        assert datetime.now(UTC) >= expires
        await listening(served.hub, client)


async def test_it_tries_again_until_its_token_is_good() -> None:
    async with (
        serving(PRINCIPALS) as served,
        signals_client(f"http://{served.authority}", token="mallory") as client,
    ):
        await client.tell(subscribe=CHANNEL)
        await until(lambda: served.tokens.shown["mallory"] > 1)
        assert served.hub.connections == 0
        await client.tell(token="ada")
        await listening(served.hub, client)
