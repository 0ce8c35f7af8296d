"""Every row of the parity tables names tests that are there, or says that there is none."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "backstage-compatibility.md").read_text(encoding="utf-8")
_, _, COMPARED = PAGE.partition("\n## Row by row\n")
PARITY, _, OTHERS = COMPARED.partition("\n## Upstream's bugs\n")
BUGS, _, _ = OTHERS.partition("\n## ")

NAMED = sorted(set(re.findall(r"`((?:tests|web/test)/[^`]*::[^`]+)`", PAGE)))
NONE = "no test yet"


def rows(text: str) -> list[list[str]]:
    """Return the cells of all rows of the tables of a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[-1] not in ("---", "Tests")]


@cache
def python_tests(path: str) -> frozenset[str]:
    """Return the tests of a module; those of a class as ``Class::test``."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            f"{prefix}{item.name}"
            for item in inner
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        }
    return frozenset(found)


@cache
def web_tests(path: str) -> frozenset[str]:
    """Return the titles of a file's tests, but for those that are made from tables."""
    source = (ROOT / path).read_text(encoding="utf-8")
    return frozenset(re.findall(r'^\s*test\(\s*"([^"]+)"', source, re.MULTILINE))


@pytest.mark.parametrize("name", NAMED)
def test_the_named_test_exists(name: str) -> None:
    path, _, test = name.partition("::")

    if path.endswith(".test.ts"):
        assert test in web_tests(path)
    else:
        assert Path(path).name.startswith("test_")
        assert test.rpartition("::")[2].startswith("test_")
        assert test in python_tests(path)


@pytest.mark.parametrize("row", [*rows(PARITY), *rows(BUGS)], ids=lambda row: row[0][:40])
def test_every_row_names_its_tests(row: list[str]) -> None:
    assert len(row) == 4
    if row[-1] != NONE:
        assert {name.strip("`") for name in row[-1].split("<br>")} <= set(NAMED)


def test_every_row_says_how_it_compares() -> None:
    assert {verdict for _, verdict, _, _ in rows(PARITY)} == {"same", "on purpose", "not there yet"}
    for what, verdict, how, _ in rows(PARITY):
        assert how or verdict != "on purpose", f"{what}: say how it differs"


def test_no_bug_of_upstream_is_left_out() -> None:
    assert [row[0] for row in rows(BUGS)] == [str(number) for number in range(1, 25)]


def test_the_clients_that_are_run_are_those_that_are_compared() -> None:
    package = ROOT / "tests" / "support" / "backstage" / "package.json"
    run = json.loads(package.read_text(encoding="utf-8"))["dependencies"]
    notifications = run["@backstage/plugin-notifications"]
    signals = run["@backstage/plugin-signals"]
    assert f"`@backstage/plugin-notifications` {notifications}," in PAGE
    said = {what: how for what, _, how, _ in rows(PARITY)}
    (client,) = (how for what, how in said.items() if what.startswith("`NotificationsClient`"))
    assert f"version {notifications} " in client
    (client,) = (how for what, how in said.items() if "`@backstage/plugin-signals`" in what)
    assert f"version {signals} " in client


def test_the_clients_are_installed_as_they_were_published() -> None:
    """npm compares what it fetches with the lock's digest, and runs nothing of it."""
    lock = ROOT / "tests" / "support" / "backstage" / "package-lock.json"
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    for name in ("plugin-notifications", "plugin-signals", "errors"):
        package = packages[f"node_modules/@backstage/{name}"]
        assert package.get("name", f"@backstage/{name}") == f"@backstage/{name}", "not replaced"
        assert package["integrity"].startswith("sha512-")
