"""npm packages are installed once for each lock, and outside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hack.cluster import cache
from hack.node_packages import NodePackagesError, installed

_ROOT = Path(__file__).parents[3]

_NPM = """#!/bin/sh
echo "$@" >>"$NPM_LOG"
[ -e package-lock.json ] || exit 2
[ "$(cat package-lock.json)" != broken ] || { echo "no such package" >&2; exit 1; }
mkdir node_modules
"""


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in npm's place; returns its log."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(_NPM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NPM_LOG", str(tmp_path / "npm.log"))
    return tmp_path / "npm.log"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "openid"
    source.mkdir()
    (source / "package.json").write_text("{}")
    (source / "package-lock.json").write_text("{}")
    return source


def test_installed_once_for_each_lock(npm: Path, source: Path) -> None:
    first = installed(source)
    assert installed(source) == first
    assert (first / "node_modules").is_dir()
    assert cache.cache_root() in first.parents
    assert sorted(path.name for path in source.iterdir()) == ["package-lock.json", "package.json"]
    (source / "package-lock.json").write_text('{"other": 1}')
    assert installed(source) != first
    (call, _) = npm.read_text().splitlines()
    assert call.startswith("ci --ignore-scripts")


def test_failure_is_said_and_not_kept(npm: Path, source: Path) -> None:
    (source / "package-lock.json").write_text("broken")
    for _ in range(2):
        with pytest.raises(NodePackagesError, match="no such package"):
            installed(source)


def test_without_npm(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(source))
    with pytest.raises(NodePackagesError, match=r"Node\.js with npm is needed"):
        installed(source)


@pytest.mark.parametrize("directory", ["hack/openid"])
def test_locks_name_no_host(directory: str) -> None:
    lock = json.loads((_ROOT / directory / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    for package in packages.values():
        assert "resolved" not in package
        assert package["integrity"].startswith("sha512-")
