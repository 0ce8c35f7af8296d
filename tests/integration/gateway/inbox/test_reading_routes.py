"""The reading routes: upstream's answers, its errors, and no way to what is another's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import HTTPConnection

from notifications_operator.api.notification import Severity
from notifications_operator.gateway.errors import install_error_handlers
from notifications_operator.gateway.inbox.database import Database
from notifications_operator.gateway.inbox.inbox import Inbox
from notifications_operator.gateway.principals import (
    Access,
    Principal,
    ServicePrincipal,
    UserPrincipal,
)
from notifications_operator.gateway.rest.reading import read_router
from tests.integration.gateway.inbox.builders import (
    ADA,
    BEGIN,
    BOB,
    EVERYBODY,
    Clock,
    deliver,
    only,
    row,
    titles,
)

BASE = "/api/notifications"
JSON = dict[str, Any]


class Tokens:
    """The token is who asks."""

    async def authenticate(self, connection: HTTPConnection) -> Principal | None:
        _, _, token = connection.headers.get("authorization", "").partition(" ")
        if token == "service":
            return ServicePrincipal(subject="external:ci", namespace="inbox")
        return UserPrincipal(entity_ref=token) if token else None


async def read_body(request: Request) -> bytes:
    return await request.body()


def application(inbox: Inbox) -> FastAPI:
    application = FastAPI(redirect_slashes=False)
    install_error_handlers(application)
    router = read_router(inbox, Access(Tokens()), read_body=read_body)
    application.include_router(router, prefix=BASE)
    return application


@pytest.fixture
async def client(inbox: Inbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client who is Ada."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application(inbox)),
        base_url=f"http://gateway{BASE}",
        headers={"Authorization": f"Bearer {ADA}"},
    ) as client:
        yield client


def refused(response: httpx.Response, status: int, name: str) -> str:
    """Check upstream's envelope; returns the message."""
    body = response.json()
    assert (response.status_code, body["error"]["name"]) == (status, name), body
    assert body["response"] == {"statusCode": status}
    assert body["request"]["method"] == response.request.method
    message: str = body["error"]["message"]
    return message


def found_titles(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [item["payload"]["title"] for item in response.json()["notifications"]]


READS = [
    "/notifications",
    "/",
    "",
    "/status",
    "/topics",
    "/settings",
    f"/notifications/{UUID(int=1)}",
]
POSTS: list[tuple[str, JSON]] = [
    ("/notifications/update", {"ids": []}),
    ("/update", {"ids": []}),
    ("/notifications/read-all", {}),
    ("/settings", {"channels": []}),
]


@pytest.mark.parametrize("path", ["/notifications", "/", ""])
async def test_list_is_upstreams(client: httpx.AsyncClient, inbox: Inbox, path: str) -> None:
    (id_,) = await deliver(inbox, row(topic="t", metadata={"a": 1}))
    response = await client.get(path)
    assert response.status_code == 200
    assert response.json() == {
        "totalCount": 1,
        "notifications": [
            {
                "id": str(id_),
                "user": ADA,
                "created": "2030-01-31T12:00:00.000Z",
                "updated": None,
                "read": None,
                "saved": None,
                "origin": "plugin:builds",
                "payload": {
                    "title": "Build failed",
                    "description": None,
                    "link": None,
                    "severity": "normal",
                    "topic": "t",
                    "scope": None,
                    "icon": None,
                    "metadata": {"a": 1},
                },
            }
        ],
    }


@pytest.mark.parametrize("path", ["/notifications", ""])
async def test_one_notification(client: httpx.AsyncClient, inbox: Inbox, path: str) -> None:
    mine, everyones, theirs = await deliver(inbox, row(), row(EVERYBODY), row(BOB))
    for id_ in (mine, everyones):
        response = await client.get(f"{path}/{id_}")
        assert response.json()["id"] == str(id_)
    assert (await client.get(f"{path}/{everyones}")).json()["user"] is None
    assert (await client.get(f"{path}/{str(mine).upper()}")).json()["id"] == str(mine)
    assert refused(await client.get(f"{path}/{theirs}"), 404, "NotFoundError") == "Not found"
    for wrong in (uuid4(), "health", "1", f"{mine}x", "%00"):
        refused(await client.get(f"{path}/{wrong}"), 404, "NotFoundError")


async def test_filters_reach_the_inbox(client: httpx.AsyncClient, inbox: Inbox) -> None:
    read, saved, _ = await deliver(
        inbox,
        row(title="read", topic="a", severity=Severity.LOW, created=BEGIN - timedelta(hours=1)),
        row(title="saved", description="100%", severity=Severity.HIGH),
        row(title="new", topic="a", created=BEGIN + timedelta(days=1)),
    )
    await inbox.update(ADA, [read], read=True, saved=None)
    await inbox.update(ADA, [saved], read=None, saved=True)

    async def found(**query: Any) -> list[str]:
        return found_titles(await client.get("/notifications", params=query))

    assert await found() == ["new", "saved", "read"]
    assert await found(read="true") == ["read"]
    assert await found(read="false") == ["new", "saved"]
    assert await found(saved="true") == ["saved"]
    assert await found(topic="a") == ["new", "read"]
    assert await found(topic="", search="") == ["new", "saved", "read"]
    assert await found(search="100%") == ["saved"]
    assert await found(minimumSeverity="high") == ["saved"]
    assert await found(createdAfter="2030-02-01T00:00:00.000Z") == ["new"]
    assert await found(createdAfter="2030-02-01T13:00:00.000+01:00") == ["new"]
    assert await found(createdAfter="2030-01-31T12:00:00.001Z") == ["new"]
    assert await found(createdAfter="Fri, 01 Feb 2030 00:00:00 GMT") == ["new"]
    assert await found(createdAfter="2030-02") == ["new"]
    assert await found(orderField="created,asc") == ["read", "saved", "new"]
    assert await found(orderField="title") == ["new", "read", "saved"]
    assert await found(orderField=["topic,asc", "created,asc"]) == ["read", "new", "saved"]
    assert await found(limit=1, offset=1) == ["saved"]
    response = await client.get("/notifications", params={"limit": 0, "topic": "a"})
    assert response.json() == {"totalCount": 2, "notifications": []}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sort=created", "Unknown query parameter 'sort'"),
        ("limit=1&constructor=1", "Unknown query parameter 'constructor'"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=1&limit=2", "'limit' is given twice"),
        ("limit=99999999999999999999", "limit"),
        ("offset=-1", "offset"),
        ("orderField=secret", "cannot sort by 'secret'; valid: created, topic"),
        ("orderField=created,sideways", "'sideways' is no direction; valid: asc, desc"),
        ("orderField=created,", "'' is no direction"),
        ("orderField=created%3BDROP%20TABLE", "cannot sort by"),
        ("orderField=", "cannot sort by ''"),
        ("read=yes", "read"),
        ("read=", "read"),
        ("read=True", "read"),
        ("saved=1", "saved"),
        ("createdAfter=yesterday", "Unexpected date format"),
        ("createdAfter=0001-01-01T00:00:00%2B14:00", "Unexpected date format"),
        ("createdAfter=99999-01-01", "Unexpected date format"),
        ("minimumSeverity=HIGH", "minimumSeverity"),
        ("minimumSeverity=urgent", "critical|high|normal|low"),
        ("search=%00", "NUL"),
        ("topic=%00", "NUL"),
        ("search=" + "x" * 1001, "at most 1000 characters"),
    ],
)
async def test_wrong_queries_are_refused(
    client: httpx.AsyncClient, query: str, message: str
) -> None:
    assert message in refused(await client.get(f"/notifications?{query}"), 400, "InputError")


@pytest.mark.parametrize("query", ["search=%ff%fe", "search=%ed%a0%80", "topic=%f0%9f%98%80"])
async def test_strange_bytes_in_queries_find_nothing(client: httpx.AsyncClient, query: str) -> None:
    assert found_titles(await client.get(f"/notifications?{query}")) == []


@pytest.mark.parametrize("path", [*READS[3:], "/topics?limit=1"])
async def test_parameters_of_other_routes_are_unknown(client: httpx.AsyncClient, path: str) -> None:
    url = path if "?" in path else f"{path}?orderField=created"
    assert "Unknown query parameter" in refused(await client.get(url), 400, "InputError")


@pytest.mark.parametrize(("path", "body"), POSTS)
async def test_posts_take_no_parameters(client: httpx.AsyncClient, path: str, body: JSON) -> None:
    response = await client.post(f"{path}?read=true", json=body)
    assert "Unknown query parameter 'read'" in refused(response, 400, "InputError")


async def test_only_users_read(client: httpx.AsyncClient) -> None:
    requests = [client.build_request("GET", path) for path in READS]
    requests += [client.build_request("POST", path, json=body) for path, body in POSTS]
    for request in requests:
        request.headers["Authorization"] = "Bearer service"
        message = refused(await client.send(request), 403, "NotAllowedError")
        assert message == "This endpoint does not allow 'service' credentials"
        del request.headers["Authorization"]
        response = await client.send(request)
        assert refused(response, 401, "AuthenticationError") == "Missing credentials"


async def test_query_is_judged_before_credentials(client: httpx.AsyncClient) -> None:
    response = await client.get("/notifications?x=1", headers={"Authorization": ""})
    refused(response, 400, "InputError")


@pytest.mark.parametrize("path", ["/notifications/update", "/update"])
async def test_update(client: httpx.AsyncClient, inbox: Inbox, clock: Clock, path: str) -> None:
    mine, theirs = await deliver(inbox, row(), row(BOB))
    clock.advance(seconds=1)
    body = {"ids": [str(mine), str(theirs), str(uuid4())], "read": True, "more": 1}
    (found,) = (await client.post(path, json=body)).json()
    assert (found["id"], found["read"]) == (str(mine), "2030-01-31T12:00:01.000Z")
    assert (await only(inbox, BOB)).read is None
    response = await client.post(path, json={"ids": [str(theirs)], "saved": True})
    assert response.json() == []
    (found,) = (await client.post(path, json={"ids": [str(mine)], "read": None})).json()
    assert found["read"] is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "ids: Field required"),
        ([], "body: "),
        ("text", "body: "),
        ({"ids": "x"}, "ids: "),
        ({"ids": [1]}, "ids.0: "),
        ({"ids": ["1"]}, "ids.0: Value error, '1' is no UUID"),
        ({"ids": [str(uuid4()), "../etc"]}, "'../etc' is no UUID"),
        ({"ids": [], "read": "true"}, "read: "),
        ({"ids": [], "saved": 1}, "saved: "),
        ({"ids": ["x"] * 30_000}, "ids.0: "),
        ({"ids": [str(uuid4())] * 25_001}, "ids: List should have at most 25000 items"),
    ],
)
async def test_wrong_updates_are_refused(
    client: httpx.AsyncClient, body: Any, message: str
) -> None:
    response = await client.post("/notifications/update", json=body)
    assert message in refused(response, 400, "InputError")
    assert len(response.text) < 2000


async def test_read_all(client: httpx.AsyncClient, inbox: Inbox) -> None:
    await deliver(inbox, row(title="a", topic="t"), row(EVERYBODY, title="b"), row(BOB))
    path = "/notifications/read-all"
    assert (await client.post(path, json={"topic": "t", "search": "A"})).json() == {"updated": 1}
    assert found_titles(await client.get("/notifications?read=true")) == ["a"]
    assert (await client.post(path, json={})).json() == {"updated": 1}
    assert (await client.get("/status")).json() == {"unread": 0, "read": 2}
    assert await inbox.status(BOB) == (2, 0)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"topics": "t"},
        {"read": True},
        {"saved": "true"},
        {"createdAfter": "soon"},
        {"minimumSeverity": 1},
        {"search": "a\0"},
    ],
)
async def test_wrong_filters_mark_nothing(
    client: httpx.AsyncClient, inbox: Inbox, body: Any
) -> None:
    await deliver(inbox, row())
    refused(await client.post("/notifications/read-all", json=body), 400, "InputError")
    assert await inbox.status(ADA) == (1, 0)


async def test_status_and_topics(client: httpx.AsyncClient, inbox: Inbox) -> None:
    await deliver(inbox, row(topic="b"), row(EVERYBODY, topic="a"), row(BOB, topic="c"))
    assert (await client.get("/status")).json() == {"unread": 2, "read": 0}
    assert (await client.get("/topics")).json() == {"topics": ["a", "b"]}
    response = await client.get("/topics?read=true&search=x&saved=false&minimumSeverity=low")
    assert response.json() == {"topics": []}


async def test_settings(client: httpx.AsyncClient, inbox: Inbox) -> None:
    await deliver(inbox, row(EVERYBODY, origin="plugin:a", title="muted"))
    shown = (await client.get("/settings")).json()
    assert shown == {
        "channels": [
            {"id": name, "origins": [{"id": "plugin:a", "enabled": True, "topics": []}]}
            for name in ("Web", "Email")
        ]
    }
    shown["channels"][0]["origins"][0]["enabled"] = False
    response = await client.post("/settings", json=shown)
    assert (response.status_code, response.json()) == (200, shown)
    assert await titles(inbox) == []
    assert await titles(inbox, BOB) == ["muted"]
    assert (await client.post("/settings", json={"channels": []})).status_code == 200
    assert await titles(inbox) == ["muted"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "body: "),
        ({"channels": [{"id": "Pigeon", "origins": []}]}, "Invalid channel 'Pigeon'"),
        ({"channels": [{"origins": []}]}, "channels.0.id: Field required"),
        ({"channels": [{"id": "Web", "enabled": 1, "origins": []}]}, "channels.0.enabled: "),
        ({"channels": [{"id": n} for n in range(50)]}, "channels.9.id: "),
    ],
)
async def test_wrong_settings_are_refused(
    client: httpx.AsyncClient, body: Any, message: str
) -> None:
    response = await client.post("/settings", json=body)
    assert message in refused(response, 400, "InputError")


async def test_more_choices_than_are_kept_are_refused(
    client: httpx.AsyncClient, inbox: Inbox
) -> None:
    await deliver(inbox, row(EVERYBODY, origin="plugin:a", topic="t1", title="shown"))
    topics = [{"id": f"t{number}", "enabled": False} for number in range(33_000)]
    origin = {"id": "plugin:a", "enabled": True, "topics": topics}
    body = {"channels": [{"id": "Web", "origins": [origin]}]}
    response = await client.post("/settings", json=body)
    message = refused(response, 400, "InputError")
    assert "33001" in message
    assert "5000" in message
    assert await titles(inbox) == ["shown"], "nothing was changed"
    origin["enabled"] = False
    response = await client.post("/settings", json=body)
    assert response.status_code == 200, "of an origin that is off no topic is a choice"
    assert await titles(inbox) == []


async def test_absent_database_is_said(client: httpx.AsyncClient, database: Database) -> None:
    await database.close()
    for path in READS:
        response = await client.get(path)
        refused(response, 503, "ServiceUnavailableError")
        assert int(response.headers["Retry-After"]) > 0
    for path, body in POSTS:
        refused(await client.post(path, json=body), 503, "ServiceUnavailableError")


async def test_no_answer_shows_sql(inbox: Inbox, database: Database) -> None:
    await inbox.status(ADA)

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("ALTER TABLE notification RENAME TO elsewhere"))

    await database.write(work)
    transport = httpx.ASGITransport(application(inbox), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {ADA}"}
    mark = {"ids": [str(uuid4())], "read": True}
    async with httpx.AsyncClient(
        transport=transport, base_url=f"http://gateway{BASE}", headers=headers
    ) as client:
        answers = [await client.get(path) for path in READS]
        answers.append(await client.post("/notifications/update", json=mark))
        answers.append(await client.post("/notifications/read-all", json={}))
    for answer in answers:
        error = answer.json()["error"]
        assert answer.status_code == 500
        assert error["message"].startswith("An internal error occurred logId=")
        for word in ("select", "update", "table", "elsewhere", "sqlalchemy"):
            assert word not in str(error).lower()


def test_document_names_all_routes(inbox: Inbox) -> None:
    document = application(inbox).openapi()
    paths = {path.removeprefix(BASE): methods for path, methods in document["paths"].items()}
    assert {path: set(methods) for path, methods in paths.items()} == {
        "/notifications": {"get"},
        "/notifications/update": {"post"},
        "/notifications/read-all": {"post"},
        "/notifications/{id}": {"get"},
        "/status": {"get"},
        "/topics": {"get"},
        "/settings": {"get", "post"},
        "/": {"get"},
        "/{id}": {"get"},
        "/update": {"post"},
    }
    deprecated = [p for p, item in paths.items() if all(m.get("deprecated") for m in item.values())]
    assert deprecated == ["/", "/{id}", "/update"]
    names = {parameter["name"] for parameter in paths["/notifications"]["get"]["parameters"]}
    assert names == {
        "limit", "offset", "orderField", "topic", "search", "read", "saved", "createdAfter",
        "minimumSeverity",
    }  # fmt: skip
    references = [part.split('"')[0] for part in str(document).replace("'", '"').split("#/")[1:]]
    for reference in references:
        target: Any = document
        for key in reference.split("/"):
            target = target[key]
