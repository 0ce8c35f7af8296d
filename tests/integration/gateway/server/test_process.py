"""What all answers have in common, the probes, and stopping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from notifications_operator.gateway.callers.tokens import StaticTokens
from notifications_operator.gateway.identity.identity import Identity
from notifications_operator.gateway.inbox.retention import Retention
from notifications_operator.gateway.settings import GatewaySettings, ServerSettings
from notifications_operator.gateway.signals.relay import Relay
from notifications_operator.telemetry import background
from tests.support.cluster import Body, Interruption
from tests.support.gateway import (
    BROADCAST,
    TOKEN,
    NotificationCluster,
    RunningGateway,
    running_gateway,
)


@pytest.fixture
def cluster() -> NotificationCluster:
    return NotificationCluster()


@pytest.fixture
async def gateway(tmp_path: Path, cluster: NotificationCluster) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path, cluster) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/notifications/nowhere/at/all", 404),
        ("DELETE", "/api/notifications/notifications", 405),
        ("GET", "/metrics", 404),
        ("GET", "/readyz", 404),
        ("POST", "/internal/v1/deliveries", 404),
        ("BREW", "/api/notifications", 405),
    ],
)
async def test_what_is_not_there(
    gateway: RunningGateway, method: str, path: str, status: int
) -> None:
    response = await gateway.client.request(method, path)
    assert response.status_code == status
    body = response.json()
    assert body["error"]["name"] in ("NotFoundError", "InputError")
    assert body["request"] == {"method": method, "url": path}
    assert body["response"] == {"statusCode": status}


async def test_headers_of_every_answer(
    gateway: RunningGateway, cluster: NotificationCluster
) -> None:
    cluster.interrupt(Interruption(operation="create", error=RuntimeError("a fault")))  # type: ignore[arg-type]
    answers = [
        await gateway.post(),
        await gateway.post(),
        await gateway.post(token=None),
        await gateway.client.get("/nowhere"),
    ]
    assert [answer.status_code for answer in answers] == [500, 200, 401, 404]
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "server" not in answer.headers
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 4


async def test_a_fault_is_not_shown(gateway: RunningGateway, cluster: NotificationCluster) -> None:
    cluster.interrupt(Interruption(operation="create", error=RuntimeError("secret")))  # type: ignore[arg-type]
    response = await gateway.post()
    assert response.status_code == 500
    assert response.json()["error"]["message"].startswith("An internal error occurred logId=")
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2_~", True), ("a b", False), ("x" * 129, False), ("<a>", False)]
)
async def test_request_ids(gateway: RunningGateway, given: str, kept: bool) -> None:
    response = await gateway.client.get("/nowhere", headers={"X-Request-Id": given})
    assert (response.headers["X-Request-Id"] == given) is kept


async def test_openapi_document(gateway: RunningGateway) -> None:
    response = await gateway.client.get("/api/notifications/openapi.json")
    document = response.json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    assert {"/api/notifications/notifications", "/api/notifications/"} <= set(paths)
    operation = paths["/api/notifications/notifications"]["post"]
    assert not operation.get("deprecated")
    assert paths["/api/notifications/"]["post"]["deprecated"]
    assert {"200", "400", "401", "403", "413", "415", "422", "429", "503"} <= set(
        operation["responses"]
    )
    assert "HTTPValidationError" not in response.text


def _schema(document: Mapping[str, Any], name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(schema)


async def test_the_document_says_what_is_taken_and_answered(gateway: RunningGateway) -> None:
    document = (await gateway.client.get("/api/notifications/openapi.json")).json()
    _schema(document, "CreateNotificationRequest").validate(BROADCAST)
    response = await gateway.post()
    _schema(document, "Notification").validate(response.json()[0])
    _schema(document, "Error").validate((await gateway.post(token=None)).json())
    bad: list[Body] = [
        {"recipients": {"type": "all"}, "payload": {"title": "T"}},
        {"recipients": {"type": "broadcast"}, "payload": {"title": ""}},
        {"recipients": {"type": "entity"}, "payload": {"title": "T"}},
        {"recipients": {"type": "broadcast"}, "payload": {"title": "T", "link": "javascript:x"}},
    ]
    for body in bad:
        assert not _schema(document, "CreateNotificationRequest").is_valid(body)
        assert (await gateway.post(body)).status_code == 400


async def test_cors_is_for_listed_portals(tmp_path: Path, cluster: NotificationCluster) -> None:
    portal = "https://portal.example.com"
    async with running_gateway(tmp_path, cluster, server={"cors_origins": [portal]}) as gateway:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        path = "/api/notifications/notifications"
        allowed = await gateway.client.options(path, headers={"Origin": portal, **asked})
        assert allowed.status_code == 200
        assert allowed.headers["Access-Control-Allow-Origin"] == portal
        assert "Access-Control-Allow-Credentials" not in allowed.headers
        other = "https://portal.example.com.evil.example"
        refused = await gateway.client.options(path, headers={"Origin": other, **asked})
        assert refused.status_code == 400
        assert "Access-Control-Allow-Origin" not in refused.headers
        answer = await gateway.post(token=None, headers={"Origin": portal})
        assert answer.headers["Access-Control-Allow-Origin"] == portal
        assert (
            "Access-Control-Allow-Origin"
            not in (await gateway.post(headers={"Origin": other})).headers
        )


async def test_without_portals_there_is_no_cors(gateway: RunningGateway) -> None:
    response = await gateway.post(headers={"Origin": "https://portal.example.com"})
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_probes_and_metrics(gateway: RunningGateway) -> None:
    assert (await gateway.internal.get("/healthz")).text == "ok\n"
    async with asyncio.timeout(30):
        while "[!]" in (ready := await gateway.internal.get("/readyz")).text:
            await asyncio.sleep(0.05)
    names = ("callers", "database", "signals", "identity", "people", "tasks", "listener")
    assert (ready.status_code, ready.text) == (200, "".join(f"[+]{name} ok\n" for name in names))
    await gateway.post()
    await gateway.client.get("/nowhere")
    metrics = await gateway.internal.get("/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain")
    route = "/api/notifications/notifications"
    for line in (
        f'notifications_gateway_requests_total{{code="200",method="POST",route="{route}"}}',
        'notifications_gateway_requests_total{code="404",method="GET",route="<none>"}',
        'notifications_gateway_sent_total{result="created"}',
        'notifications_gateway_ready_check{check="callers"} 1.0',
        "notifications_build_info",
        "notifications_event_loop_tasks",
        "process_resident_memory_bytes",
    ):
        assert line in metrics.text
    assert "notifications_leader" not in metrics.text
    assert TOKEN not in metrics.text
    document = await gateway.internal.get("/api/notifications/openapi.json")
    assert document.status_code == 404


async def test_unready_without_a_file_of_callers(
    tmp_path: Path, cluster: NotificationCluster
) -> None:
    missing = {"file": str(tmp_path / "missing" / "callers.yaml")}
    async with running_gateway(tmp_path, cluster, callers=missing) as gateway:
        ready = await gateway.internal.get("/readyz")
        assert ready.status_code == 503
        assert "[-]callers" in ready.text
        assert (await gateway.post()).status_code == 401


class Held(NotificationCluster):
    """Creates when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()
        self.release = asyncio.Event()

    async def create_notification(self, body: Mapping[str, Any]) -> Body:
        self.arrived.set()
        await self.release.wait()
        return await super().create_notification(body)


async def test_stopping_lets_requests_finish(tmp_path: Path) -> None:
    cluster = Held()
    async with running_gateway(tmp_path, cluster, server={"shutdown_delay": 0.2}) as gateway:
        under_way = asyncio.create_task(gateway.post())
        await cluster.arrived.wait()
        gateway.gateway.stop()
        async with asyncio.timeout(20):
            while (await gateway.internal.get("/readyz")).status_code != 503:
                await asyncio.sleep(0.01)
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                except ConnectionError:  # Refused, or reset while it waited to be accepted.
                    break
                writer.close()
                await writer.wait_closed()
        assert (await gateway.internal.get("/healthz")).status_code == 200
        cluster.release.set()
        assert (await under_way).status_code == 200
    assert cluster.only()
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{gateway.port}/")


async def test_both_ports_wait_for_no_head(tmp_path: Path, cluster: NotificationCluster) -> None:
    async with running_gateway(tmp_path, cluster, server={"head_timeout": 0.2}) as gateway:
        for port in (gateway.port, gateway.internal.base_url.port):
            assert port is not None
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(60):
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("name", "value"),
    [("head_timeout", 0), ("head_timeout", 301), ("write_timeout", 0), ("write_timeout", 3601)],
)
def test_times_that_are_none(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        ServerSettings.model_validate({name: value})


async def test_a_port_that_is_taken(tmp_path: Path, cluster: NotificationCluster) -> None:
    async with running_gateway(tmp_path, cluster) as first:
        with pytest.raises(OSError, match="in use"):
            async with running_gateway(tmp_path, cluster, server={"port": first.port}):
                raise AssertionError("it does not start")


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "NAMESPACE": "inbox",
        "SERVER__PORT": "80",
        "SERVER__CORS_ORIGINS": '["https://portal.example.com"]',
        "CALLERS__FILE": "/etc/callers.yaml",
        "SENDING__MAX_UNFINISHED": "7",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"NOTIFICATIONS_GATEWAY_{name}", value)
    settings = GatewaySettings()
    assert (settings.namespace, settings.server.port) == ("inbox", 80)
    assert settings.callers.file == Path("/etc/callers.yaml")
    assert settings.sending.max_unfinished == 7
    assert settings.sending.ttl_seconds == 86_400


@pytest.mark.parametrize(
    ("owner", "method", "task"),
    [
        (Relay, "_relay", "signals"),
        (Identity, "run", "identity"),
        (StaticTokens, "keep_loading", "callers"),
        (Retention, "run", "retention"),
    ],
)
async def test_a_background_task_that_fails_is_named_and_comes_back(
    tmp_path: Path,
    cluster: NotificationCluster,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    task: str,
) -> None:
    monkeypatch.setattr(background, "PAUSES", (0.02,))
    monkeypatch.setattr(background, "STEADY_SECONDS", 0.1)

    broken, as_written = True, getattr(owner, method)

    async def fail(self: object, *arguments: object) -> None:
        if broken:
            raise LookupError("odd")
        await as_written(self, *arguments)

    monkeypatch.setattr(owner, method, fail)
    async with running_gateway(tmp_path, cluster) as gateway, asyncio.timeout(30):
        expected = f"[-]tasks {task}: LookupError: odd"
        while expected not in (ready := await gateway.internal.get("/readyz")).text:
            await asyncio.sleep(0.01)
        assert ready.status_code == 503
        broken = False
        while "[+]tasks" not in (ready := await gateway.internal.get("/readyz")).text:
            await asyncio.sleep(0.01)
        assert (await gateway.post()).status_code == 200
