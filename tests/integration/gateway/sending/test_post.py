"""``POST /notifications`` over real sockets, with a cluster in memory behind it."""

from __future__ import annotations

import asyncio
import codecs
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from notifications_operator.api.references import NOTIFICATIONS
from notifications_operator.gateway.inbox.ids import row_id
from tests.support.cluster import lost_answer
from tests.support.gateway import (
    BROADCAST,
    ENTITIES_TOKEN,
    NAMESPACE,
    SUBJECT,
    TOKEN,
    NotificationCluster,
    RunningGateway,
    running_gateway,
    static,
    write_callers,
)

PATH = "/api/notifications/notifications"


@pytest.fixture
def cluster() -> NotificationCluster:
    return NotificationCluster()


@pytest.fixture
async def gateway(tmp_path: Path, cluster: NotificationCluster) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path, cluster) as running:
        yield running


def assert_error(response: httpx.Response, status: int, name: str, text: str) -> None:
    """Check upstream's envelope."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["error"]["name"] == name
    assert text in body["error"]["message"]
    assert body["request"] == {
        "method": response.request.method,
        "url": response.request.url.path,
    }
    assert body["response"] == {"statusCode": status}
    assert "Traceback" not in response.text
    assert "SELECT" not in response.text.upper()


@pytest.mark.parametrize(
    "path", ["/api/notifications", "/api/notifications/", "/api/notifications/notifications"]
)
async def test_the_request_of_the_issue(
    gateway: RunningGateway, cluster: NotificationCluster, path: str
) -> None:
    response = await gateway.post(path=path)
    assert response.status_code == 200, response.text
    stored = cluster.only()
    assert stored["spec"] == {
        "recipients": {"type": "broadcast"},
        "payload": BROADCAST["payload"],
        "origin": SUBJECT,
        "ttlSecondsAfterFinished": 86_400,
        "suspend": False,
    }
    name = stored["metadata"]["name"]
    assert response.headers["Notification-Resource"] == f"{NAMESPACE}/{name}"
    (row,) = response.json()
    uid = stored["metadata"]["uid"]
    assert UUID(row["id"]) == row_id(origin=SUBJECT, scope=None, uid=uid, user="")
    assert (row["user"], row["origin"], row["read"]) == (None, SUBJECT, None)
    assert row["payload"]["title"] == "Title of broadcast message"


async def test_a_body_with_a_byte_order_mark(
    gateway: RunningGateway, cluster: NotificationCluster
) -> None:
    response = await gateway.client.post(
        PATH,
        content=codecs.BOM_UTF8 + json.dumps(BROADCAST).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": JSON},
    )
    assert response.status_code == 200, response.text
    assert cluster.only()["spec"]["payload"] == BROADCAST["payload"]


async def test_recipients_that_are_nobody(
    gateway: RunningGateway, cluster: NotificationCluster
) -> None:
    body = {**BROADCAST, "recipients": {"type": "entity", "entityRef": []}}
    response = await gateway.post(body)
    assert (response.status_code, response.json()) == (200, [])
    assert cluster.list(NOTIFICATIONS) == []


async def test_a_thousand_recipients_are_one_object(
    gateway: RunningGateway, cluster: NotificationCluster
) -> None:
    refs = [f"user:default/u{number}" for number in range(1000)]
    body = {**BROADCAST, "recipients": {"type": "entity", "entityRef": refs}}
    response = await gateway.post(body)
    assert response.status_code == 200, response.text
    assert [row["user"] for row in response.json()] == refs
    assert cluster.only()["spec"]["recipients"]["entityRefs"] == refs


async def test_idempotency_key(gateway: RunningGateway, cluster: NotificationCluster) -> None:
    headers = {"Idempotency-Key": "build-17"}
    first = await gateway.post(headers=headers)
    again = await gateway.post(headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["Notification-Resource"] == first.headers["Notification-Resource"]
    cluster.only()
    other = {**BROADCAST, "payload": {"title": "Other"}}
    assert_error(
        await gateway.post(other, headers=headers), 422, "UnprocessableError", "Idempotency-Key"
    )
    cluster.only()


async def test_a_key_is_its_callers_own(
    gateway: RunningGateway, cluster: NotificationCluster
) -> None:
    body = {"recipients": {"type": "entity", "entityRef": "user:ada"}, "payload": {"title": "T"}}
    for token in (TOKEN, ENTITIES_TOKEN):
        response = await gateway.post(body, token=token, headers={"Idempotency-Key": "1"})
        assert response.status_code == 200
    origins = {one["spec"]["origin"] for one in cluster.list(NOTIFICATIONS)}
    assert origins == {SUBJECT, "external:limited"}


async def test_parallel_repetitions(gateway: RunningGateway, cluster: NotificationCluster) -> None:
    cluster.interrupt(lost_answer(operation="create"))
    responses = await asyncio.gather(
        *(gateway.post(headers={"Idempotency-Key": "one"}) for _ in range(10))
    )
    assert {response.status_code for response in responses} == {200}
    assert len({response.text for response in responses}) == 1
    cluster.only()


async def test_respond_async(gateway: RunningGateway) -> None:
    response = await gateway.post(headers={"Prefer": "wait=5, Respond-Async; foo=bar"})
    assert response.status_code == 200
    assert response.headers["Preference-Applied"] == "respond-async"
    assert len(response.json()) == 1


async def test_the_cluster_is_away(tmp_path: Path, cluster: NotificationCluster) -> None:
    async with running_gateway(tmp_path, cluster, sending={"store_timeout": 0.3}) as gateway:
        cluster.reachable = False
        response = await gateway.post(headers={"Idempotency-Key": "k"})
        assert_error(response, 503, "ServiceUnavailableError", "not known to be stored")
        assert int(response.headers["Retry-After"]) >= 1
        cluster.reachable = True
        assert (await gateway.post(headers={"Idempotency-Key": "k"})).status_code == 200
        cluster.only()


def deep(levels: int) -> bytes:
    metadata = b'{"a":' * levels + b"1" + b"}" * levels
    return b'{"recipients":{"type":"broadcast"},"payload":{"title":"T","metadata":' + (
        metadata + b"}}"
    )


def titled(title: bytes) -> bytes:
    return b'{"recipients":{"type":"broadcast"},"payload":{"title":' + title + b"}}"


JSON = "application/json"
BAD: dict[str, tuple[bytes, str, int, str]] = {
    "no body": (b"", JSON, 400, "The body is empty"),
    "no JSON": (b"{", JSON, 400, "The body is not JSON"),
    "two values": (b"{} {}", JSON, 400, "The body is not JSON"),
    "a list": (b"[]", JSON, 400, "body: must be an object"),
    "null": (b"null", JSON, 400, "body: must be an object"),
    "bad types": (b'{"recipients":1,"payload":"x"}', JSON, 400, "recipients: must be an object"),
    "invalid UTF-8": (titled(b'"\xff"'), JSON, 400, "The body is not UTF-8"),
    "UTF-16": (json.dumps(BROADCAST).encode("utf-16"), JSON, 400, "The body is not UTF-8"),
    "half a surrogate": (titled(b'"\\ud800"'), JSON, 400, "half a surrogate pair"),
    "nothing but a mark": (codecs.BOM_UTF8, JSON, 400, "The body is empty"),
    "two marks": (codecs.BOM_UTF8 * 2 + b"{}", JSON, 400, "The body is not JSON"),
    "NUL": (titled(b'"a\\u0000b"'), JSON, 400, "U+0000"),
    "NUL in a key": (deep(1).replace(b'"a"', b'"\\u0000"'), JSON, 400, "U+0000"),
    "deep JSON": (deep(64), JSON, 400, "nested too deeply"),
    "very deep JSON": (deep(100_000), JSON, 400, "nested too deeply"),
    "very many values": (b"[" + b"[]," * 349_000 + b"0]", JSON, 400, "too many values"),
    "NaN": (titled(b"NaN"), JSON, 400, "NaN is no number"),
    "a number beyond doubles": (titled(b"1e999"), JSON, 400, "a number that is too large"),
    "a number of 10,000 digits": (titled(b"1" * 10_000), JSON, 400, "a number that is too long"),
    "a title of 256": (titled(b'"' + b"x" * 256 + b'"'), JSON, 400, "payload.title"),
    "an empty title": (titled(b'""'), JSON, 400, "missing title"),
    "no content type": (titled(b'"T"'), "", 415, "Content-Type: must be application/json"),
    "a form": (b"a=b", "application/x-www-form-urlencoded", 415, "must be application/json"),
    "text": (titled(b'"T"'), "text/plain", 415, "must be application/json"),
    "latin-1": (titled(b'"T"'), f"{JSON}; charset=latin1", 415, "charset must be utf-8"),
    "pieces of a charset": (
        *(titled(b'"T"'), f"{JSON}; charset*04*=utf-8'';charset*=1*4x", 415),
        "Content-Type: cannot be read",
    ),
    "hostile type": (titled(b'"T"'), "a" * 5000, 415, "must be application/json"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_bodies(gateway: RunningGateway, cluster: NotificationCluster, name: str) -> None:
    content, content_type, status, message = BAD[name]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if content_type:
        headers["Content-Type"] = content_type
    response = await gateway.client.post(PATH, content=content, headers=headers)
    error = "InputError" if status == 400 else "UnsupportedMediaTypeError"
    assert_error(response, status, error, message)
    assert len(response.content) < 1000
    assert cluster.list(NOTIFICATIONS) == []


async def test_who_asks_is_known_before_the_body_is_read(gateway: RunningGateway) -> None:
    """It takes half a second to read the worst of a megabyte, and costs a stranger nothing."""
    for content in (b"{", b"[" + b"[]," * 349_000 + b"0]"):
        response = await gateway.client.post(PATH, content=content, headers={"Content-Type": JSON})
        assert_error(response, 401, "AuthenticationError", "")


async def test_good_types_of_content(gateway: RunningGateway) -> None:
    for content_type in (JSON, "Application/JSON; charset=UTF-8", f"{JSON};charset=utf8"):
        response = await gateway.client.post(
            PATH,
            content=json.dumps(BROADCAST),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": content_type},
        )
        assert response.status_code == 200, response.text


async def test_a_compressed_body(gateway: RunningGateway) -> None:
    response = await gateway.post(headers={"Content-Encoding": "gzip"})
    assert_error(response, 415, "UnsupportedMediaTypeError", "Content-Encoding: must not be used")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1_048_577, 5_000_000])
async def test_a_body_that_is_too_large(
    gateway: RunningGateway, cluster: NotificationCluster, size: int, chunked: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // 1000 + 1):
            yield b"x" * 1000

    content: Any = chunks() if chunked else b"x" * size
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": JSON}
    response = await gateway.client.post(PATH, content=content, headers=headers)
    assert_error(response, 413, "PayloadTooLargeError", "at most 1048576 bytes")
    assert (await gateway.post()).status_code == 200


async def test_a_body_of_just_the_limit(gateway: RunningGateway) -> None:
    content = json.dumps(BROADCAST).encode().ljust(1_048_576)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": JSON}
    assert (await gateway.client.post(PATH, content=content, headers=headers)).status_code == 200


async def test_a_body_that_does_not_come(tmp_path: Path, cluster: NotificationCluster) -> None:
    async with running_gateway(tmp_path, cluster, server={"body_timeout": 0.2}) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: 10\r\n"
        writer.write(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n{{".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.2 seconds" in answer
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("query", ["x=1", "limit=1", "%00=1", "a&b"])
async def test_unknown_query_parameters(gateway: RunningGateway, query: str) -> None:
    response = await gateway.post(path=f"{PATH}?{query}")
    assert_error(response, 400, "InputError", "Unknown query parameter")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_bad_keys(gateway: RunningGateway, key: str) -> None:
    response = await gateway.post(headers={"Idempotency-Key": key})
    assert_error(response, 400, "InputError", "Idempotency-Key")


async def test_two_keys(gateway: RunningGateway) -> None:
    response = await gateway.client.post(
        PATH,
        json=BROADCAST,
        headers=[
            ("Authorization", f"Bearer {TOKEN}"),
            ("Idempotency-Key", "a"),
            ("Idempotency-Key", "b"),
        ],
    )
    assert_error(response, 400, "InputError", "Idempotency-Key: must be given once")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer wrong-wrong-wrong-wrong-wrong-wrong",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
    ],
)
async def test_who_is_not_known(
    gateway: RunningGateway, cluster: NotificationCluster, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await gateway.post(token=None, headers=headers)
    text = "Missing credentials" if authorization is None else "The credentials are not valid"
    assert_error(response, 401, "AuthenticationError", text)
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert cluster.list(NOTIFICATIONS) == []


async def test_rights(gateway: RunningGateway, cluster: NotificationCluster) -> None:
    response = await gateway.post(token=ENTITIES_TOKEN)
    assert_error(response, 403, "NotAllowedError", "may not send to everybody")
    three = {"type": "entity", "entityRef": ["user:a", "user:b", "user:c"]}
    response = await gateway.post({**BROADCAST, "recipients": three}, token=ENTITIES_TOKEN)
    assert_error(response, 403, "NotAllowedError", "at most 2 entity refs")
    assert cluster.list(NOTIFICATIONS) == []


async def test_brute_force(tmp_path: Path, cluster: NotificationCluster) -> None:
    async with running_gateway(tmp_path, cluster, callers={"failures_per_minute": 3}) as gateway:
        answers = [await gateway.post(token=f"{TOKEN}{number}") for number in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert_error(answers[-1], 429, "TooManyRequestsError", "not valid")
        assert (await gateway.post()).status_code == 200


async def test_rate(gateway: RunningGateway) -> None:
    write_callers(gateway.callers, [static(TOKEN, SUBJECT, broadcast=True, rate=6)])
    async with asyncio.timeout(20):
        while (response := await gateway.post()).status_code == 200:
            await asyncio.sleep(0.01)
    assert_error(response, 429, "TooManyRequestsError", "may send 6 requests a minute")
    assert 1 <= int(response.headers["Retry-After"]) <= 10


async def test_too_many_unfinished(tmp_path: Path, cluster: NotificationCluster) -> None:
    async with running_gateway(tmp_path, cluster, sending={"max_unfinished": 2}) as gateway:
        first = await gateway.post()
        await gateway.post()
        response = await gateway.post()
        assert_error(response, 429, "TooManyRequestsError", "2 notifications are not delivered")
        assert int(response.headers["Retry-After"]) >= 1
        cluster.finish(first.headers["Notification-Resource"].split("/")[1])
        async with asyncio.timeout(20):
            while (await gateway.post()).status_code != 200:
                await asyncio.sleep(0.05)


async def test_callers_change_without_a_restart(
    gateway: RunningGateway, cluster: NotificationCluster
) -> None:
    new = "a-new-token-a-new-token-a-new-token-a-new"
    write_callers(gateway.callers, [static(new, "external:new", namespace="team", broadcast=True)])
    async with asyncio.timeout(20):
        while (response := await gateway.post(token=new)).status_code != 200:
            await asyncio.sleep(0.01)
    assert response.headers["Notification-Resource"].startswith("team/")
    assert (await gateway.post()).status_code == 401
    gateway.callers.write_text("[")
    async with asyncio.timeout(20):
        while "[!]callers" not in (await gateway.internal.get("/readyz")).text:
            await asyncio.sleep(0.01)
    assert (await gateway.internal.get("/readyz")).status_code == 200
    assert (await gateway.post(token=new)).status_code == 200


@pytest.mark.parametrize(
    ("change", "hidden"),
    [(lambda body: body, TOKEN), (lambda body: {"payload": TOKEN}, TOKEN)],
)
async def test_tokens_are_in_no_log(
    gateway: RunningGateway,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Any], Any],
    hidden: str,
) -> None:
    with caplog.at_level(logging.DEBUG):
        await gateway.post(change(BROADCAST))
    assert hidden not in caplog.text


async def test_stored_script_is_kept_as_text(
    gateway: RunningGateway, cluster: NotificationCluster
) -> None:
    script = "</script><script>alert(1)</script>\u202e\r\nBcc: x"
    response = await gateway.post(
        {"recipients": {"type": "broadcast"}, "payload": {"title": script}}
    )
    assert response.json()[0]["payload"]["title"] == script
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert cluster.only()["spec"]["payload"]["title"] == script
