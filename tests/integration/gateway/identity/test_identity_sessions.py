"""Sessions as rows, and the cookie that leads to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from notifications_operator.gateway.callers.limits import FailureLimit
from notifications_operator.gateway.errors import (
    AuthenticationError,
    NotAllowedError,
    SessionEndedError,
    TooManyRequestsError,
)
from notifications_operator.gateway.identity.cookies import SESSION_COOKIE, SessionAuthenticator
from notifications_operator.gateway.identity.sessions import Sessions, session
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.principals import Access, UserPrincipal
from tests.support.issuer import connection

ORIGIN = "https://notifications.example.com"
START = datetime(2027, 1, 15, 8, tzinfo=UTC)
IDLE = timedelta(hours=8)
ABSOLUTE = timedelta(hours=24)


class Clock:
    """A moment that a test decides."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(database: Database, clock: Clock) -> Sessions:
    return Sessions(database, idle_timeout=IDLE, absolute_timeout=ABSOLUTE, clock=clock)


@pytest.fixture
def authenticator(sessions: Sessions) -> SessionAuthenticator:
    return SessionAuthenticator(sessions, origin=ORIGIN)


async def count(database: Database) -> int:
    async def work(connection: AsyncConnection) -> int:
        result = await connection.execute(select(func.count()).select_from(session))
        return int(result.scalar_one())

    return await database.read(work)


async def test_session(sessions: Sessions) -> None:
    session_id = await sessions.create("user:default/ada")
    found = await sessions.use(session_id)
    assert found is not None
    assert (found.entity_ref, found.expires) == ("user:default/ada", START + IDLE)


async def test_every_login_has_a_new_id(sessions: Sessions) -> None:
    ids = {await sessions.create("user:default/ada") for _ in range(5)}
    assert len(ids) == 5
    assert min(map(len, ids)) >= 43


async def test_table_holds_no_id(sessions: Sessions, database: Database) -> None:
    session_id = await sessions.create("user:default/ada")

    async def work(connection: AsyncConnection) -> Any:
        return (await connection.execute(select(session))).one()

    assert session_id not in str(await database.read(work))


@pytest.mark.parametrize("session_id", ["", "made-up", "' OR 1=1 --", "\u00e4", "x" * 100_000])
async def test_unknown_id(session_id: str, sessions: Sessions) -> None:
    await sessions.create("user:default/ada")
    assert await sessions.use(session_id) is None


async def test_idle_session_ends(sessions: Sessions, clock: Clock) -> None:
    session_id = await sessions.create("user:default/ada")
    clock.now += IDLE - timedelta(seconds=1)
    assert await sessions.use(session_id) is not None
    clock.now += IDLE - timedelta(seconds=1)
    assert await sessions.use(session_id) is not None, "it was used in between"
    clock.now += IDLE
    assert await sessions.use(session_id) is None


async def test_used_session_ends_too(sessions: Sessions, clock: Clock) -> None:
    session_id = await sessions.create("user:default/ada")
    for _ in range(3):
        clock.now += timedelta(hours=7)
        assert await sessions.use(session_id) is not None
    found = await sessions.use(session_id)
    assert found is not None
    assert found.expires == START + ABSOLUTE, "not eight hours after the last request"
    clock.now = START + ABSOLUTE
    assert await sessions.use(session_id) is None


async def test_use_is_written_once_a_minute(
    sessions: Sessions, clock: Clock, database: Database
) -> None:
    session_id = await sessions.create("user:default/ada")

    async def last_seen() -> datetime:
        async def work(connection: AsyncConnection) -> datetime:
            seen: datetime = (await connection.execute(select(session.c.last_seen))).scalar_one()
            return seen

        return await database.read(work)

    clock.now += timedelta(seconds=59)
    await sessions.use(session_id)
    assert await last_seen() == START
    clock.now += timedelta(seconds=1)
    await sessions.use(session_id)
    assert await last_seen() == START + timedelta(seconds=60)


async def test_ended_session(sessions: Sessions) -> None:
    first, second = [await sessions.create("user:default/ada") for _ in range(2)]
    await sessions.end(first)
    await sessions.end(first)
    assert await sessions.use(first) is None
    assert await sessions.use(second) is not None


async def test_ended_sessions_are_deleted(
    sessions: Sessions, clock: Clock, database: Database
) -> None:
    for _ in range(3):
        await sessions.create("user:default/ada")
    clock.now += IDLE
    await sessions.create("user:default/bob")
    assert await count(database) == 1


def cookie(session_id: str) -> dict[str, str]:
    return {"cookie": f"other=1; {SESSION_COOKIE}={session_id}"}


JSON = {"content-type": "application/json"}
OWN = {"origin": ORIGIN}


async def test_reading_by_cookie(sessions: Sessions, authenticator: SessionAuthenticator) -> None:
    session_id = await sessions.create("user:default/ada")
    for method in ("GET", "HEAD"):
        request = connection(method=method, headers=cookie(session_id))
        found = await sessions.use(session_id)
        assert found is not None
        assert session_id not in found.key
        assert await authenticator.authenticate(request) == UserPrincipal(
            entity_ref="user:default/ada", expires=START + IDLE, session=found.key
        )


async def test_without_cookie(authenticator: SessionAuthenticator) -> None:
    assert await authenticator.authenticate(connection()) is None
    assert await authenticator.authenticate(connection(headers=cookie(""))) is None


async def test_ended_session_by_cookie(
    sessions: Sessions, authenticator: SessionAuthenticator
) -> None:
    session_id = await sessions.create("user:default/ada")
    await sessions.end(session_id)
    with pytest.raises(SessionEndedError, match="The session has ended; log in again") as caught:
        await authenticator.authenticate(connection(headers=cookie(session_id)))
    cleared = caught.value.headers["Set-Cookie"]
    assert cleared.startswith(f'{SESSION_COOKIE}="";')
    assert {"Max-Age=0", "Path=/", "Secure", "HttpOnly"} <= set(cleared.split("; "))


@pytest.mark.parametrize("value", ["made-up", "' OR 1=1 --", "A" * 44, "A" * 42 + "%"])
async def test_what_was_never_a_session(value: str, authenticator: SessionAuthenticator) -> None:
    with pytest.raises(AuthenticationError, match="The session has ended") as caught:
        await authenticator.authenticate(connection(headers=cookie(value)))
    assert not isinstance(caught.value, SessionEndedError)


async def test_a_page_that_polls_with_an_ended_session_is_no_attack(
    sessions: Sessions, authenticator: SessionAuthenticator, clock: Clock
) -> None:
    access = Access(authenticator, failures=FailureLimit(per_minute=2))
    logged_out, left = [await sessions.create("user:default/ada") for _ in range(2)]
    await sessions.end(logged_out)
    clock.now += IDLE
    for session_id in [logged_out, left] * 10:
        with pytest.raises(SessionEndedError):
            await access.user(connection(headers=cookie(session_id)))
    # Who guesses is still held to the limit.
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            await access.user(connection(headers=cookie("made-up")))
    with pytest.raises(TooManyRequestsError):
        await access.user(connection(headers=cookie("made-up")))
    with pytest.raises(TooManyRequestsError):
        await access.user(connection("unknown"))
    # The page is told to log in all the same.
    with pytest.raises(SessionEndedError):
        await access.user(connection(headers=cookie(left)))


@pytest.mark.parametrize("authorization", ["Bearer abc", "Basic abc", ""])
async def test_other_credentials_go_before_the_cookie(
    authorization: str, sessions: Sessions, authenticator: SessionAuthenticator
) -> None:
    session_id = await sessions.create("user:default/ada")
    headers = {**cookie(session_id), "authorization": authorization}
    assert await authenticator.authenticate(connection(headers=headers)) is None


@pytest.mark.parametrize(
    "headers",
    [
        {**JSON, **OWN},
        {"content-type": "Application/JSON; charset=utf-8", **OWN},
        {**JSON, "sec-fetch-site": "same-origin"},
        {**JSON, **OWN, "sec-fetch-site": "same-origin"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_changing_by_cookie(
    method: str,
    headers: dict[str, str],
    sessions: Sessions,
    authenticator: SessionAuthenticator,
) -> None:
    session_id = await sessions.create("user:default/ada")
    request = connection(method=method, headers={**cookie(session_id), **headers})
    assert await authenticator.authenticate(request) is not None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (OWN, "need Content-Type: application/json"),
        ({**OWN, "content-type": "text/plain"}, "need Content-Type"),
        ({**OWN, "content-type": "application/x-www-form-urlencoded"}, "need Content-Type"),
        ({**OWN, "content-type": "text/plain; application/json"}, "need Content-Type"),
        ({**OWN, "content-type": "application/jsonp"}, "need Content-Type"),
        (JSON, "own page only"),
        ({**JSON, "origin": "https://evil.example"}, "own page only"),
        ({**JSON, "origin": "null"}, "own page only"),
        ({**JSON, "origin": "http://notifications.example.com"}, "own page only"),
        ({**JSON, "origin": f"{ORIGIN}:8443"}, "own page only"),
        ({**JSON, "origin": f"{ORIGIN}.evil.example"}, "own page only"),
        ({**JSON, "origin": f"{ORIGIN}/"}, "own page only"),
        ({**JSON, "origin": ""}, "own page only"),
        (
            {**JSON, "origin": "https://evil.example", "sec-fetch-site": "same-origin"},
            "own page only",
        ),
        ({**JSON, "sec-fetch-site": "same-site"}, "own page only"),
        ({**JSON, "sec-fetch-site": "cross-site"}, "own page only"),
        ({**JSON, "sec-fetch-site": "none"}, "own page only"),
        ({**JSON, "referer": f"{ORIGIN}/"}, "own page only"),
    ],
)
async def test_forged_changes(
    headers: dict[str, str],
    expected: str,
    sessions: Sessions,
    authenticator: SessionAuthenticator,
) -> None:
    session_id = await sessions.create("user:default/ada")
    request = connection(method="POST", headers={**cookie(session_id), **headers})
    with pytest.raises(NotAllowedError, match=expected):
        await authenticator.authenticate(request)


async def test_two_origins(sessions: Sessions, authenticator: SessionAuthenticator) -> None:
    session_id = await sessions.create("user:default/ada")
    request = connection(method="POST", headers={**cookie(session_id), **JSON, **OWN})
    request.scope["headers"].append((b"origin", b"https://evil.example"))
    with pytest.raises(NotAllowedError):
        await authenticator.authenticate(request)


async def test_sockets(sessions: Sessions, authenticator: SessionAuthenticator) -> None:
    session_id = await sessions.create("user:default/ada")
    own = connection(kind="websocket", path="/api/signals", headers={**cookie(session_id), **OWN})
    assert await authenticator.authenticate(own) is not None
    for headers in ({}, {"origin": "https://evil.example"}):
        foreign = connection(
            kind="websocket", path="/api/signals", headers={**cookie(session_id), **headers}
        )
        with pytest.raises(NotAllowedError):
            await authenticator.authenticate(foreign)
