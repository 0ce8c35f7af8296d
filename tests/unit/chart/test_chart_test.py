"""The script that `helm test` runs in the cluster."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.helm import CHART
from tests.support.lax_authority import LaxAuthority
from tests.support.tls import strict_as_python_3_13

PATH = "/apis/notifications.orchestrator.io/v1alpha1/namespaces/ntf/notifications"


@dataclass
class ApiServer:
    """Answers as told, and remembers what it was asked."""

    port: int = 0
    create_status: int = 201
    statuses: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str, str, Any]] = field(default_factory=list)


@pytest.fixture
def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    api = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._record(body)
            if api.create_status == 201:
                self._answer(201, {"metadata": {"name": "helm-test-1"}})
            else:
                self._answer(api.create_status, {"message": "notifications is forbidden"})

        def do_GET(self) -> None:
            self._record(None)
            status = api.statuses.pop(0) if len(api.statuses) > 1 else api.statuses[0]
            self._answer(200, {"metadata": {"name": "helm-test-1"}, "status": status})

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

        def _record(self, body: Any) -> None:
            authorization = self.headers["Authorization"]
            api.requests.append((self.command, self.path, authorization, body))

        def _answer(self, code: int, body: Any) -> None:
            payload = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    strict_as_python_3_13(monkeypatch)
    certificate = LaxAuthority(tmp_path).certificate("127.0.0.1")
    (tmp_path / "token").write_text("the-token")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = certificate.context.wrap_socket(server.socket, server_side=True)
    api.port = server.server_address[1]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield api
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = CHART / "files" / "send_test_notification.py"
    specification = importlib.util.spec_from_file_location("send_test_notification", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "CREDENTIALS", tmp_path)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    return module


def status(state: str, *, complete: bool, delivered: bool, reason: str) -> dict[str, Any]:
    def condition(kind: str, value: bool) -> dict[str, str]:
        return {"type": kind, "status": str(value), "reason": reason, "message": "why."}

    return {
        "state": state,
        "conditions": [condition("Complete", complete), condition("Delivered", delivered)],
    }


PENDING = {"state": "Pending", "observedGeneration": -1}
DELIVERING = status("Delivering", complete=False, delivered=False, reason="Delivering")


def test_succeeds_when_it_is_delivered(
    api_server: ApiServer, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    delivered = status("Delivered", complete=True, delivered=True, reason="Delivered")
    api_server.statuses = [PENDING, DELIVERING, delivered]
    assert script.main("ntf", "user:default/jane", 10) == 0
    assert "Delivered" in capsys.readouterr().out
    (method, path, authorization, body), *rest = api_server.requests
    assert (method, path, authorization) == ("POST", PATH, "Bearer the-token")
    assert body["spec"]["recipients"] == {"type": "entity", "entityRef": "user:default/jane"}
    assert [request[:2] for request in rest] == [("GET", f"{PATH}/helm-test-1")] * 3


def test_fails_with_the_reason(
    api_server: ApiServer, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    api_server.statuses = [
        status("Failed", complete=True, delivered=False, reason="RecipientRejected")
    ]
    assert script.main("ntf", "user:default/jane", 10) == 1
    assert "Failed: RecipientRejected why." in capsys.readouterr().out


def test_fails_when_it_takes_too_long(
    api_server: ApiServer, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    api_server.statuses = [DELIVERING]
    assert script.main("ntf", "user:default/jane", 0.1) == 1
    assert "not complete after 0.1 s: Delivering" in capsys.readouterr().out


def test_fails_when_it_is_refused(
    api_server: ApiServer, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    api_server.create_status = 403
    assert script.main("ntf", "user:default/jane", 10) == 1
    output = capsys.readouterr().out
    assert "the API server answered 403" in output
    assert "notifications is forbidden" in output


def test_survives_kubernetes_own_substitution() -> None:
    """A kubelet replaces `$(NAME)` in a container's arguments."""
    assert "$(" not in (CHART / "files" / "send_test_notification.py").read_text()
