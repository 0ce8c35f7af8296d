"""Backstage's WebSocket protocol over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from notifications_operator.gateway.identity.cookies import SESSION_COOKIE, SessionAuthenticator
from notifications_operator.gateway.identity.sessions import Session, Sessions
from notifications_operator.gateway.principals import Principal, ServicePrincipal, UserPrincipal
from notifications_operator.gateway.signals.settings import SignalsSettings
from tests.support.signals import (
    CHANNEL,
    RawClient,
    Served,
    closed,
    message,
    obeyed,
    publish,
    serving,
    until,
)

ADA, BOB = "user:default/ada", "user:default/bob"
PRINCIPALS: dict[str, Principal] = {
    "ada": UserPrincipal(entity_ref=ADA),
    "bob": UserPrincipal(entity_ref=BOB),
    "late": UserPrincipal(entity_ref=ADA, expires=datetime.now(UTC) - timedelta(seconds=1)),
    "robot": ServicePrincipal(subject="robot", namespace="inbox"),
}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(PRINCIPALS, portals=["https://portal.example.com"]) as found:
        yield found


async def test_signals_reach_their_users(served: Served) -> None:
    ada, bob = await served.connect("ada"), await served.connect("bob")
    news = {"action": "new_notification", "notification_id": "1", "notification": {"id": "1"}}
    await publish(served.hub, news, ADA)
    await publish(served.hub, {"number": 2})
    assert json.loads(await ada.recv()) == {"channel": CHANNEL, "message": news}
    assert await message(ada) == await message(bob) == {"number": 2}
    await ada.close()
    await bob.close()


async def test_the_token_is_echoed_as_subprotocol(served: Served) -> None:
    client = await served.connect("ada")
    assert client.subprotocol == "ada"
    assert client.response is not None
    assert "sec-websocket-extensions" not in client.response.headers
    await client.close()


async def test_deflate_is_not_negotiated(served: Served) -> None:
    client = await served.connect("ada", compression="deflate")
    assert client.protocol.extensions == []
    await client.close()


async def test_a_client_that_unsubscribed_or_left_hears_nothing(served: Served) -> None:
    client = await served.connect("ada", channels=(CHANNEL, "other"))
    await client.send(json.dumps({"action": "unsubscribe", "channel": CHANNEL}))
    await obeyed(client)
    await publish(served.hub, {"number": 1})
    await publish(served.hub, {"number": 2}, channel="other")
    assert await message(client) == {"number": 2}
    await client.close()
    await until(lambda: served.hub.connections == 0)


@pytest.mark.parametrize(
    ("token", "options", "status", "name"),
    [
        (None, {}, 401, "AuthenticationError"),
        ("mallory", {}, 401, "AuthenticationError"),
        ("late", {}, 401, "AuthenticationError"),
        (None, {"headers": {"Cookie": "session=nobody"}}, 401, "AuthenticationError"),
        ("robot", {}, 403, "NotAllowedError"),
        ("ada", {"origin": "https://evil.example.com"}, 403, "NotAllowedError"),
        ("ada", {"origin": "null"}, 403, "NotAllowedError"),
        (None, {"headers": {"Sec-WebSocket-Protocol": "bearer, ada"}}, 400, "InputError"),
    ],
)
async def test_refusals_have_upstream_s_envelope(
    served: Served,
    token: str | None,
    options: dict[str, Any],
    status: int,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    response = (await served.refusal(token, **options)).response
    assert response.status_code == status
    body = json.loads(response.body)
    assert body["error"]["name"] == name
    assert body["request"] == {"method": "GET", "url": "/api/signals"}
    assert body["response"] == {"statusCode": status}
    assert response.headers.get_all("content-type") == ["application/json"]
    assert response.headers.get_all("content-length") == [str(len(response.body))]
    assert response.headers.get_all("www-authenticate") == ["Bearer"] * (status == 401)
    assert served.hub.connections == 0
    await served.stop()
    assert caplog.messages == []


@pytest.mark.parametrize("origin", ["http://{authority}", "https://portal.example.com", None])
async def test_own_pages_portals_and_other_programs_may_connect(
    served: Served, origin: str | None
) -> None:
    text = None if origin is None else origin.format(authority=served.authority)
    client = await served.connect("ada", origin=text)
    await publish(served.hub, {"number": 1}, ADA)
    assert await message(client) == {"number": 1}
    await client.close()


@pytest.mark.parametrize(
    "headers",
    [{"Cookie": "session=ada"}, {"Authorization": "Bearer ada"}],
    ids=["cookie", "header"],
)
async def test_who_has_no_token_in_the_subprotocol_is_asked_as_elsewhere(
    served: Served, headers: dict[str, str]
) -> None:
    client = await served.connect(None, headers=headers)
    assert client.subprotocol is None
    await publish(served.hub, {"number": 1}, ADA)
    assert await message(client) == {"number": 1}
    await client.close()


async def test_the_subprotocol_s_token_counts_more_than_a_cookie(served: Served) -> None:
    assert (
        await served.refusal("mallory", headers={"Cookie": "session=ada"})
    ).response.status_code == 401


class OneSession(Sessions):
    """Has one session, and no database."""

    def __init__(self) -> None:
        pass

    async def use(self, session_id: str) -> Session | None:
        if session_id != "of-ada":
            return None
        return Session(
            key="key-of-ada", entity_ref=ADA, expires=datetime.now(UTC) + timedelta(hours=1)
        )


async def test_a_session_s_cookie_counts_from_our_own_page_alone() -> None:
    cookie = {"Cookie": f"{SESSION_COOKIE}=of-ada"}
    own, portal = "https://gateway.example.com", "https://portal.example.com"
    sessions = SessionAuthenticator(OneSession(), origin=own)
    async with serving(PRINCIPALS, sessions, portals=[own, portal]) as served:
        client = await served.connect(None, headers=cookie, origin=own)
        await publish(served.hub, {"number": 1}, ADA)
        assert await message(client) == {"number": 1}
        assert served.hub.sessions == ["key-of-ada"]
        await client.close()
        for options in ({}, {"origin": portal}):
            refused = await served.refusal(None, headers=cookie, **options)
            assert refused.response.status_code == 403
        # A portal has tokens.
        client = await served.connect("bob", headers=cookie, origin=portal)
        await publish(served.hub, {"number": 2}, BOB)
        assert await message(client) == {"number": 2}
        await client.close()


async def test_expiry_closes_at_its_moment() -> None:
    expires = datetime.now(UTC) + timedelta(seconds=2)
    principals = {"ada": UserPrincipal(entity_ref=ADA, expires=expires)}
    async with serving(principals) as served:
        client = await served.connect("ada")
        await publish(served.hub, {"number": 1}, ADA)
        assert await message(client) == {"number": 1}
        assert await closed(client) == 4401
        assert datetime.now(UTC) >= expires
        assert (await served.refusal("ada")).response.status_code == 401


async def test_shutdown_closes_with_1012(served: Served) -> None:
    clients = [await served.connect("ada") for _ in range(3)]
    await served.stop()
    assert {await closed(client) for client in clients} == {1012}
    assert served.hub.connections == 0


async def test_pings_are_sent_and_who_does_not_answer_is_terminated() -> None:
    assert SignalsSettings().ping_interval == 30, "upstream's"
    settings = SignalsSettings(ping_interval=0.2)
    async with serving(PRINCIPALS, settings=settings) as served:
        living = await served.connect("ada")
        silent = await RawClient.connect(served, "bob")
        assert b"\x89\x04" in await silent.rest()
        await until(lambda: served.hub.connections == 1)
        await publish(served.hub, {"number": 1})
        assert await message(living) == {"number": 1}
        silent.close()
        await living.close()


async def test_sockets_of_one_user_are_bounded() -> None:
    settings = SignalsSettings(max_sockets_per_user=1)
    async with serving(PRINCIPALS, settings=settings) as served:
        client = await served.connect("ada")
        response = (await served.refusal("ada")).response
        assert (response.status_code, response.headers["retry-after"]) == (429, "5")
        await client.close()


async def test_health_and_what_is_no_upgrade(served: Served) -> None:
    base = f"http://{served.authority}/api/signals"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}/health") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        for path in ("", "/", "/other"):
            async with session.get(base + path) as answer:
                assert answer.status == 404
                assert (await answer.json())["error"]["name"] == "NotFoundError"


@pytest.mark.parametrize("path", ["/api/signals/", "/api/signals/other", "/api/signal", "/"])
async def test_there_is_no_socket_elsewhere(served: Served, path: str) -> None:
    assert (await served.refusal("ada", path=path)).response.status_code == 403
