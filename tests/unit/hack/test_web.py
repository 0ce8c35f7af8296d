"""The page's tools come from the cache, and it is built when its sources changed."""

import os
from pathlib import Path

import pytest

from hack import web
from hack.cluster.errors import ClusterError


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Node.js and npm that only say what they were asked for."""
    directory = tmp_path / "bin"
    directory.mkdir()
    _program(directory / "node", "echo v20.19.0")
    _program(
        directory / "npm",
        f'echo "$*" >>{tmp_path}/npm.log; test ! -e {tmp_path}/broken || exit 1; '
        'case "$1" in ci) mkdir node_modules ;; '
        "run) mkdir -p dist; echo built >dist/index.html ;; esac",
    )
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return directory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "web"
    for name in ("src", "public"):
        (directory / name).mkdir(parents=True)
    for name in ("package.json", "package-lock.json", ".npmrc", "src/main.ts"):
        (directory / name).write_text("{}")
    for name in ("index.html", "tsconfig.json", "vite.config.ts"):
        (directory / name).write_text("")
    return directory


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _asked(tmp_path: Path) -> list[str]:
    log = tmp_path / "npm.log"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.usefixtures("programs")
def test_same_sources_are_built_once(source: Path, tmp_path: Path) -> None:
    first = web.build(source)
    second = web.build(source)

    assert first == second == source / "dist"
    assert _asked(tmp_path) == ["ci", "run"]
    assert (source / "node_modules").is_symlink()
    assert (source / "node_modules").is_dir()


@pytest.mark.usefixtures("programs")
def test_changed_source_is_built_with_the_same_tools(source: Path, tmp_path: Path) -> None:
    web.build(source)
    (source / "src" / "main.ts").write_text("changed")
    web.build(source)

    assert _asked(tmp_path) == ["ci", "run", "run"]


@pytest.mark.usefixtures("programs")
def test_page_that_somebody_else_changed_is_built_again(source: Path) -> None:
    page = web.build(source) / "index.html"
    page.write_text("by hand")
    web.build(source)

    assert page.read_text() == "built\n"


@pytest.mark.usefixtures("programs")
def test_changed_lock_brings_other_tools(source: Path, tmp_path: Path) -> None:
    web.build(source)
    former = (source / "node_modules").readlink()
    (source / "package-lock.json").write_text('{"other": true}')
    web.build(source)

    assert _asked(tmp_path) == ["ci", "run", "ci", "run"]
    assert (source / "node_modules").readlink() != former


@pytest.mark.usefixtures("programs")
def test_failed_build_is_said_and_tried_again(source: Path, tmp_path: Path) -> None:
    web.install(source)
    (tmp_path / "broken").touch()
    with pytest.raises(ClusterError, match="npm run --silent build failed"):
        web.build(source)
    (tmp_path / "broken").unlink()

    assert web.build(source).is_dir()


@pytest.mark.usefixtures("programs")
def test_directory_of_npm_itself_is_not_touched(source: Path) -> None:
    (source / "node_modules").mkdir()

    with pytest.raises(ClusterError, match="remove it"):
        web.install(source)


@pytest.mark.parametrize("version", ["v18.20.4", "v20.18.3", "what"])
def test_old_node_is_refused(programs: Path, source: Path, version: str) -> None:
    _program(programs / "node", f"echo {version}")

    with pytest.raises(ClusterError, match=r"20\.19 or newer"):
        web.install(source)


def test_missing_node_is_said(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ClusterError, match=r"Node\.js and npm"):
        web.install(source)


def test_lock_names_no_registry() -> None:
    lock = (web.WEB / "package-lock.json").read_text()

    assert '"resolved"' not in lock
    assert lock.count('"integrity"') == lock.count('"node_modules/')
