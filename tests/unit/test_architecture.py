"""The code keeps to its layers, as the contracts of pyproject.toml say; and they can be broken."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "notifications_operator"

VIOLATIONS = {
    "Layers: a request goes down, never up": (
        "processors/registry.py",
        "from ..delivery import engine",
    ),
    "Delivery: runners plan, dispatch and store; all know the ledger": (
        "delivery/planning/planner.py",
        "from ..runners import runner",
    ),
    "Nothing goes in circles": ("delivery/ledger/rows.py", "from .. import engine"),
    "The API server is reached through handlers, application and gateway alone": (
        "delivery/engine.py",
        "from ..kube import client",
    ),
    "The gateway has nothing of the operator's": (
        "gateway/errors.py",
        "from ..settings import Settings",
    ),
    "kube knows resources and logs, and nothing of notifications": (
        "kube/client.py",
        "from ..catalog import refs",
    ),
    "Telemetry knows resources and settings alone": (
        "telemetry/logs.py",
        "from ..catalog import refs",
    ),
    "TLS and proxies know nothing of ours": ("proxies.py", "from .api import reasons"),
    "Resources, catalog and settings stand on their own": (
        "catalog/refs.py",
        "from ..api import reasons",
    ),
    "Resources, catalog and settings have no side effects": (
        "catalog/store.py",
        "import asyncio",
    ),
    "Only kube imports kubernetes": ("handlers/resources.py", "import kubernetes"),
    "Only application and handlers import kopf": ("delivery/ttl.py", "import kopf"),
    "Only processors speak to mail servers and templates": (
        "delivery/runners/in_flight.py",
        "import aiosmtplib",
    ),
    "Only the catalog and the gateway's callers read YAML": (
        "handlers/catalog.py",
        "import yaml",
    ),
    "Only the gateway serves applications": ("handlers/login.py", "import starlette"),
    "Only telemetry imports prometheus_client": (
        "delivery/dispatch/lane.py",
        "import prometheus_client",
    ),
}
"""One import for every contract that breaks it."""


def contracts() -> list[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [item["name"] for item in pyproject["tool"]["importlinter"]["contracts"]]


def check(directory: Path) -> Mapping[str, str]:
    """Return the verdict on every contract, for the code below a directory."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    command += ["--config", str(ROOT / "pyproject.toml")]
    result = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory / "operator"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    verdicts = dict(
        line.rsplit(" ", 1)
        for line in result.stdout.splitlines()
        if line.endswith((" KEPT", " BROKEN"))
    )
    assert list(verdicts) == contracts(), result.stdout + result.stderr
    assert (result.returncode == 0) is (set(verdicts.values()) == {"KEPT"})
    return verdicts


def test_code_keeps_all_contracts() -> None:
    assert check(ROOT) == dict.fromkeys(contracts(), "KEPT")


def test_every_contract_can_be_broken(tmp_path: Path) -> None:
    assert list(VIOLATIONS) == contracts()
    shutil.copytree(ROOT / "operator", tmp_path / "operator")
    for path, line in VIOLATIONS.values():
        file = tmp_path / "operator" / PACKAGE / path
        file.write_text(f"{file.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    assert check(tmp_path) == dict.fromkeys(contracts(), "BROKEN")


CONTEXT_MAKERS = frozenset(
    {
        "HTTPSConnection",
        "SSLContext",
        "_create_unverified_context",
        "create_default_context",
        "get_server_certificate",
        "urlopen",
    }
)
"""Calls that make a TLS context, or a connection with one of their own."""

CONTEXT_TAKERS = {"ClientSession": "connector", "SMTP": "tls_context", "TCPConnector": "ssl"}
"""Calls that make a TLS context of their own unless they are given one, and by which argument."""


def own_contexts(source: str) -> Iterator[str]:
    """Yield the calls of a module that do not use the contexts of `notifications_operator.tls`."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        given = {keyword.arg for keyword in node.keywords}
        fixed = any(
            keyword.arg in ("ssl", "tls_context") and isinstance(keyword.value, ast.Constant)
            for keyword in node.keywords
        )
        untaken = name in CONTEXT_TAKERS and CONTEXT_TAKERS[name] not in given
        if name in CONTEXT_MAKERS or fixed or untaken:
            yield ast.unparse(node)


def test_clients_have_their_tls_contexts_from_one_place() -> None:
    package = ROOT / "operator" / PACKAGE
    found = {
        f"{file.relative_to(package)}: {call}"
        for file in package.rglob("*.py")
        if file != package / "tls.py"
        for call in own_contexts(file.read_text(encoding="utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize(
    "call",
    [
        "aiohttp.ClientSession()",
        "aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))",
        "aiohttp.TCPConnector(ssl=True)",
        "asyncio.open_connection(host, 443, ssl=True)",
        "ssl.create_default_context()",
        "SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
        "SMTP(hostname=host, use_tls=True)",
        "urllib.request.urlopen(url)",
    ],
)
def test_a_tls_context_from_elsewhere_is_found(call: str) -> None:
    assert list(own_contexts(f"made = {call}"))
