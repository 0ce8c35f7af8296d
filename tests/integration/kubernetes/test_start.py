"""A start that meets an API server which does not do everything yet: waited for, and said."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from notifications_operator import application as module
from notifications_operator.application import Application
from notifications_operator.catalog import Directory
from notifications_operator.delivery.dispatch.channel import Channel
from notifications_operator.delivery.dispatch.supervisor import Supervisor
from notifications_operator.handlers import catalog, definitions, resync
from notifications_operator.kube.client import KubernetesClient
from notifications_operator.kube.clients import Clients
from notifications_operator.kube.leadership import LEASE_NAME
from notifications_operator.settings import Settings
from notifications_operator.telemetry import background
from tests.support.api_server import APIServer, Fault, failing

ALL = "/"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(module, "WATCH_PAUSES", (0.02,))
    monkeypatch.setattr(catalog, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(definitions, "RECHECK_SECONDS", 0.02)
    monkeypatch.setattr(definitions, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(resync, "CATCH_UP_SECONDS", 0.05)
    monkeypatch.setattr(resync, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(background, "PAUSES", (0.02,))
    monkeypatch.setattr(background, "STEADY_SECONDS", 0.1)


class Operator:
    """A process of the operator, looked at from outside."""

    def __init__(self, application: Application, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._session = aiohttp.ClientSession()
        self.task = asyncio.create_task(application.run())

    async def until(self, condition: Callable[[str], bool]) -> str:
        """Wait until the readiness probe's answer is as expected; the process must not end."""
        text = ""
        try:
            async with asyncio.timeout(20):
                while not condition(text):
                    assert not self.task.done(), self.task
                    await asyncio.sleep(0.01)
                    text = await self._readiness()
        except TimeoutError:
            raise AssertionError(text) from None
        return text

    async def _readiness(self) -> str:
        ports = [record.port for record in self._caplog.records if hasattr(record, "port")]
        if not ports:
            return ""
        async with self._session.get(f"http://127.0.0.1:{ports[-1]}/readyz") as answer:
            return f"{answer.status}\n{await answer.text()}"

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._session.close()


def is_ready(text: str) -> bool:
    return text.startswith("200")


@asynccontextmanager
async def operator(server: APIServer, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Operator]:
    caplog.set_level(logging.INFO)
    settings = Settings.model_validate(
        {
            "namespace": "operator",
            "server": {"host": "127.0.0.1", "port": 0},
            "leader_election": {"lease_duration": 3, "renew_interval": 0.5, "retry_period": 0.1},
            "catalog": {"settle": 0.01},
        }
    )
    clients = Clients(
        work=KubernetesClient(server.transport()),
        lease=KubernetesClient(server.transport()),
        watches=KubernetesClient(server.transport()),
    )
    running = Operator(Application(settings, clients), caplog)
    try:
        yield running
    finally:
        await running.stop()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (failing(503, ALL, message="shutting down"), "-]api-server"),
        (failing(503, "/notificationprocessors", message="shutting down"), "-]processors"),
        (failing(404, "/notificationprocessors", message="no kind"), "-]processors"),
        (failing(403, "/notificationprocessors", message="no right"), "-]processors"),
        (failing(404, "v1alpha1/notifications", message="no kind"), "-]watch"),
        (failing(403, "v1alpha1/notifications", message="no right"), "-]watch"),
        (failing(503, "/customresourcedefinitions", message="wait"), "-]definitions"),
        (failing(404, "/customresourcedefinitions"), "-]definitions"),
        (failing(403, "/customresourcedefinitions"), "-]definitions"),
        (failing(503, "/configmaps", message="wait"), "-]catalog"),
        (failing(403, "/configmaps", message="no right"), "-]catalog"),
        (failing(503, "/leases", message="wait"), "-]lease"),
        (failing(403, "/leases", message="no right"), "-]lease"),
    ],
)
async def test_what_is_not_there_yet_is_waited_for(
    server: APIServer, caplog: pytest.LogCaptureFixture, fault: Fault, said: str
) -> None:
    server.faults.append(fault)
    async with operator(server, caplog) as running:
        await running.until(lambda text: said in text)
        server.faults.clear()
        await running.until(is_ready)
    ours = [item for item in caplog.records if item.name.startswith("notifications_operator")]
    assert not [item for item in ours if item.exc_info]
    assert not [item for item in ours if "\n" in item.getMessage()]


async def test_a_standby_is_ready_and_says_which_install_leads(
    server: APIServer, caplog: pytest.LogCaptureFixture
) -> None:
    """In readiness, in one line of the log and in an Event."""
    server.hold_lease("kube-system", LEASE_NAME, "mail-0_1", install="other/mail")
    who = "another install of the notifications operator, other/mail, serves this cluster"
    event = "POST /apis/events.k8s.io/v1/namespaces/operator/events"
    async with operator(server, caplog) as running:
        said = await running.until(lambda text: is_ready(text) and f"[!]standby {who}" in text)
        assert "pod mail-0 in namespace other leads (Lease kube-system/" in said
        await running.until(lambda text: event in server.requests)
    assert len([item for item in caplog.records if who in item.getMessage()]) == 1
    assert server.requests.count(event) == 1


PROCESSOR = json.dumps(
    {
        "apiVersion": "notifications.orchestrator.io/v1alpha1",
        "kind": "NotificationProcessor",
        "metadata": {
            "name": "inbox",
            "namespace": "operator",
            "uid": "p",
            "generation": 1,
            "resourceVersion": "5",
        },
        "spec": {"type": "inbox"},
    }
)


@pytest.mark.parametrize(
    ("owner", "method", "task"),
    [
        (KubernetesClient, "list_processors", "processors"),
        (KubernetesClient, "check_list", "watches"),
        (KubernetesClient, "get_definition", "definitions"),
        (KubernetesClient, "list_catalog", "catalog in operator"),
        (KubernetesClient, "list_versions", "check of notifications"),
        (KubernetesClient, "get_lease", "leader election"),
        (Directory, "build", "catalog directory"),
        (Channel, "_refresh", "processor inbox"),
        (Supervisor, "_write", "status of processor inbox"),
    ],
)
async def test_a_background_task_that_fails_is_named_and_comes_back(
    server: APIServer, caplog: pytest.LogCaptureFixture, owner: type, method: str, task: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LookupError("odd")

    server.put("notificationprocessors", PROCESSOR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, fail)
        async with operator(server, caplog) as running:
            said = await running.until(lambda text: f"{task}: LookupError: odd" in text)
            assert said.startswith("503")
            patch.undo()
            await running.until(is_ready)
    named = [item for item in caplog.records if f"has failed: {task};" in item.getMessage()]
    assert named and all(item.exc_info for item in named)
