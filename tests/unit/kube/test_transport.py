"""Requests, and every way in which an API server can fail to answer them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio import client
from kubernetes.aio.config import kube_config
from prometheus_client import REGISTRY

from notifications_operator.api.errors import (
    ConflictError,
    ExpiredError,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from notifications_operator.kube import transport as transport_module
from notifications_operator.kube.transport import Transport, resource_of
from tests.unit.kube.peer import Answer, Peer, failure, hang_up, peer, reply, stream, text


@pytest.fixture
async def server() -> AsyncIterator[Peer]:
    async with peer() as made:
        yield made


async def test_request_carries_what_it_should(server: Peer) -> None:
    server.answer(reply({"kind": "Thing"}))
    answer = await server.transport.request(
        "PATCH",
        "/apis/a/b",
        query={"fieldManager": "us", "dryRun": "All"},
        body={"é": None, "list": [1, {"x": "y"}]},
        content_type="application/merge-patch+json",
    )
    assert answer == {"kind": "Thing"}
    (found,) = server.received
    assert (found.method, found.path) == ("PATCH", "/apis/a/b")
    assert found.query == {"fieldManager": "us", "dryRun": "All"}
    assert found.content_type == "application/merge-patch+json"
    assert found.authorization == "Bearer token-of-the-test"
    assert found.body == {"é": None, "list": [1, {"x": "y"}]}, "nulls are part of a merge patch"


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (400, "bad", RejectedError),
        (401, "who are you", UnavailableError),
        (403, "quota exceeded", ForbiddenError),
        (404, "gone", NotFoundError),
        (409, "modified", ConflictError),
        (410, "too old", ExpiredError),
        (413, "too big", RejectedError),
        (422, "invalid", RejectedError),
        (429, "slow down", UnavailableError),
        (500, "boom", UnavailableError),
        (500, "etcdserver: request is too large", RejectedError),
        (500, "rpc error: trying to send message larger than max (2 vs. 1)", RejectedError),
        (500, "Request entity exceeds the maximum size", RejectedError),
        (503, "starting", UnavailableError),
        (504, "timeout", UnavailableError),
        (418, "teapot", UnavailableError),
    ],
)
async def test_status_becomes_the_error_that_fits(
    server: Peer, status: int, message: str, expected: type[KubernetesError]
) -> None:
    server.answer(failure(status, message))
    with pytest.raises(KubernetesError) as caught:
        await server.transport.request("GET", "/x")
    assert type(caught.value) is expected
    assert str(caught.value) == f"GET /x: {status} {message}"


@pytest.mark.parametrize(
    "answer",
    [
        text("<html>proxy</html>", status=502),
        text("", status=500),
        text("\x00\xff" * 1000, status=503),
        reply([1, 2], status=500),
        reply({"message": None}, status=500),
    ],
)
async def test_error_that_is_no_status_object(server: Peer, answer: Answer) -> None:
    server.answer(answer)
    with pytest.raises(UnavailableError) as caught:
        await server.transport.request("GET", "/x")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("sent", [b"", b'{"kind": "Thi'])
async def test_connection_that_is_lost(server: Peer, sent: bytes) -> None:
    server.answer(hang_up(sent))
    with pytest.raises(UnavailableError, match="GET /x"):
        await server.transport.request("GET", "/x")
    server.answer(reply({}))
    assert await server.transport.request("GET", "/x") == {}, "the next one is answered"


@pytest.mark.parametrize("lie", ["<html>sign in</html>", "", "[1, 2]", "null", '{"kind": '])
async def test_answer_that_is_no_object_is_no_answer(server: Peer, lie: str) -> None:
    server.answer(text(lie))
    with pytest.raises(UnavailableError):
        await server.transport.request("GET", "/x")


async def test_server_that_is_not_there() -> None:
    configuration = client.Configuration()
    configuration.host = "http://127.0.0.1:9"
    transport = Transport(client.ApiClient(configuration))
    try:
        with pytest.raises(UnavailableError, match="GET /x"):
            await transport.request("GET", "/x")
    finally:
        await transport.close()


async def test_server_that_hangs(server: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "REQUEST_TIMEOUT", 0.05)
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await released.wait()
        return response

    for answer in (hang, trickle):
        server.answer(answer)
        with pytest.raises(UnavailableError):
            await server.transport.request("GET", "/x")
    released.set()


async def collect(server: Peer) -> list[dict[str, Any]]:
    return [event async for event in server.transport.watch("/w", {"resourceVersion": "5"})]


def added(number: int) -> dict[str, Any]:
    return {"type": "ADDED", "object": {"metadata": {"resourceVersion": str(number)}}}


async def test_watch_yields_events_until_the_server_ends_it(server: Peer) -> None:
    server.answer(stream(added(1), added(2)))
    assert await collect(server) == [added(1), added(2)]
    (found,) = server.received
    assert found.query["watch"] == "true"
    assert found.query["resourceVersion"] == "5"
    assert int(found.query["timeoutSeconds"]) > 0


async def test_watch_takes_events_as_large_as_objects_can_be(server: Peer) -> None:
    big = {"type": "ADDED", "object": {"data": {"catalog.yaml": "x" * 1_400_000}}}
    server.answer(stream(big, added(2)))
    assert await collect(server) == [big, added(2)]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (failure(410, "too old"), ExpiredError),
        (failure(403, "no"), ForbiddenError),
        (failure(500, "boom"), UnavailableError),
        (
            stream({"type": "ERROR", "object": {"code": 410, "message": "too old"}}),
            ExpiredError,
        ),
        (stream({"type": "ERROR", "object": {"message": "unknown"}}), UnavailableError),
        (hang_up(b'{"type": "ADDED", "obj'), UnavailableError),
    ],
)
async def test_watch_that_fails(
    server: Peer, answers: Answer, expected: type[KubernetesError]
) -> None:
    server.answer(answers)
    with pytest.raises(expected):
        await collect(server)


@pytest.mark.parametrize("line", [b"<html>", b"[]", b"{}", b'{"type": "ADDED"}', b"\xff\xfe"])
async def test_watch_that_brings_no_events_is_an_outage(server: Peer, line: bytes) -> None:
    server.answer(stream(line))
    with pytest.raises(UnavailableError):
        await collect(server)


async def test_connect_uses_the_kubeconfig(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, server: Peer
) -> None:
    address = server.transport._api.configuration.host
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: "{address}"}}}}]
users: [{{name: test, user: {{token: token-of-the-file}}}}]
""",
        encoding="utf-8",
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    # The client library has read the variable when it was imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    transport = await Transport.connect()
    try:
        server.answer(reply({"gitVersion": "v1.37.2"}))
        assert await transport.request("GET", "/version") == {"gitVersion": "v1.37.2"}
        assert server.received[0].authorization == "Bearer token-of-the-file"
    finally:
        await transport.close()


async def test_abandoned_watch_closes_its_connection(server: Peer) -> None:
    closed = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await response.write(b'{"type": "ADDED", "object": {}}\n')
            while True:
                await asyncio.sleep(0.01)
                await response.write(b'{"type": "ADDED", "object": {}}\n')
        except (ConnectionError, asyncio.CancelledError, aiohttp.ClientConnectionError):
            closed.set()
            raise

    server.answer(endless)
    events = server.transport.watch("/w", {})
    assert (await anext(events))["type"] == "ADDED"
    await events.aclose()
    async with asyncio.timeout(5):
        await closed.wait()


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/version", "version"),
        ("/apis/g/v1/notifications", "notifications"),
        ("/apis/g/v1/namespaces/ns/notifications", "notifications"),
        ("/apis/g/v1/namespaces/ns/notifications/n", "notifications"),
        ("/apis/g/v1/namespaces/ns/notifications/n/status", "notifications/status"),
        ("/api/v1/namespaces/ns/secrets/s", "secrets"),
        ("/api/v1/namespaces/ns", "namespaces"),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/c", "customresourcedefinitions"),
    ],
)
def test_resource_names_no_object(path: str, resource: str) -> None:
    assert resource_of(path) == resource


async def test_requests_are_counted_by_their_result(server: Peer) -> None:
    def count(method: str, code: str) -> float:
        labels = {"method": method, "resource": "counted", "code": code}
        return REGISTRY.get_sample_value("notifications_kubernetes_requests_total", labels) or 0

    server.answer(reply({}), failure(409), hang_up(), stream(added(1)))
    path = "/apis/g/v1/namespaces/ns/counted/name"
    await server.transport.request("PATCH", path)
    with pytest.raises(ConflictError):
        await server.transport.request("PATCH", path)
    with pytest.raises(UnavailableError):
        await server.transport.request("PATCH", path)
    assert [item async for item in server.transport.watch("/apis/g/v1/counted", {})]
    assert (count("PATCH", "200"), count("PATCH", "409"), count("PATCH", "<error>")) == (1, 1, 1)
    assert (count("WATCH", "200"), count("GET", "200")) == (1, 0)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://user:secret@proxy:3128"}, "http://user:secret@proxy:3128"),
        ({"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "api.example.com"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example.com"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.org"}, "http://proxy:3128"),
    ],
)
def test_the_proxy_is_the_environments(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configuration = client.Configuration(host="https://api.example.com:6443")
    transport_module._settle_proxy(configuration)

    assert configuration.proxy == proxy


def test_a_kubeconfigs_proxy_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    configuration = client.Configuration(host="https://api.example.com", proxy="http://other:1")
    transport_module._settle_proxy(configuration)

    assert configuration.proxy == "http://other:1"


async def test_requests_go_through_the_proxy_and_a_netrc_is_left_alone(
    server: Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the entry, aiohttp would refuse to send our own Authorization."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.test login other password secret")
    proxy = server.transport._api.configuration.host
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    configuration = client.Configuration(host="http://api.test")
    configuration.api_key = {"BearerToken": "Bearer token-of-the-test"}
    transport_module._settle_proxy(configuration)
    transport = Transport(client.ApiClient(configuration))
    server.answer(reply({"kind": "Thing"}))
    try:
        await transport.request("GET", "/apis/a/b")
    finally:
        await transport.close()

    (found,) = server.received
    assert found.authorization == "Bearer token-of-the-test"
