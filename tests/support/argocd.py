"""Argo CD's health checks, run by a real Lua 5.1 with the libraries that Argo CD opens.

See ``runLua`` in Argo CD's ``util/lua/lua.go``: package, base, table and a safe part of os; neither
string nor math nor io.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.helm import CHART

SCRIPTS = CHART / "files" / "argocd"
STATUSES = {"Unknown", "Progressing", "Suspended", "Healthy", "Degraded", "Missing"}
"""What Argo CD takes; anything else is Unknown to it."""

_CLOSED = ("string", "math", "io", "os", "debug", "coroutine", "python")


@dataclass(frozen=True)
class Health:
    """What Argo CD shows."""

    status: str
    message: str


def script(kind: str) -> Path:
    """Return the script of one of our kinds, where Argo CD's own repository would have it."""
    return SCRIPTS / "notifications.orchestrator.io" / kind / "health.lua"


def health(body: dict[str, Any]) -> Health:
    """Return the health of an object as Argo CD would find it.

    Raises
    ------
    Exception
        If the script fails, or returns what Argo CD does not take.
    """
    runtime = importlib.import_module("lupa.lua51").LuaRuntime(unpack_returned_tuples=True)
    environment = runtime.globals()
    environment["obj"] = _to_lua(runtime, body)
    for library in _CLOSED:
        environment[library] = None
    answer = dict(runtime.execute(script(body["kind"]).read_text()))
    assert answer.keys() <= {"status", "message"}, answer
    assert answer["status"] in STATUSES, answer
    assert isinstance(answer.get("message", ""), str), answer
    return Health(status=answer["status"], message=answer.get("message", ""))


def _to_lua(runtime: Any, value: Any) -> Any:
    """Convert as Argo CD's ``decodeValue`` does: null is nil, and so absent from tables."""
    match value:
        case dict():
            return runtime.table_from({key: _to_lua(runtime, item) for key, item in value.items()})
        case list():
            return runtime.table_from([_to_lua(runtime, item) for item in value])
        case _:
            return value
