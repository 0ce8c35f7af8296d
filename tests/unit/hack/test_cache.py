"""The cache shows an entry only when it is complete, and builds it once."""

import threading
from pathlib import Path

import pytest

from hack.cluster import cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_entry_is_built_once() -> None:
    built: list[Path] = []

    def build(directory: Path) -> None:
        built.append(directory)
        (directory / "program").write_text("x")

    first = cache.entry("packages/thing-1", build)
    second = cache.entry("packages/thing-1", build)

    assert first == second
    assert (first / "program").read_text() == "x"
    assert len(built) == 1


def test_failed_build_leaves_nothing_and_is_tried_again() -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.entry("thing", fail)
    entry = cache.entry("thing", lambda directory: (directory / "whole").touch())

    assert [path.name for path in entry.iterdir()] == ["whole"]
    assert {path.name for path in cache.cache_root().iterdir()} == {"locks", "thing"}


def test_remains_of_a_killed_build_do_not_get_into_the_entry() -> None:
    partial = cache.cache_root() / ".thing.partial"
    partial.mkdir(parents=True)
    (partial / "old").touch()

    entry = cache.entry("thing", lambda directory: (directory / "new").touch())

    assert [path.name for path in entry.iterdir()] == ["new"]


def test_lock_whose_file_was_removed_still_excludes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    inside = 0
    most = 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with cache.locked(path):
                with guard:
                    inside += 1
                    most = max(most, inside)
                with guard:
                    inside -= 1
                path.unlink()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1


def test_concurrent_runs_build_once_and_all_see_the_whole() -> None:
    building = threading.Event()
    go_on = threading.Event()
    built: list[str] = []
    seen: list[bool] = []

    def build(directory: Path) -> None:
        built.append("x")
        building.set()
        assert go_on.wait(10)
        (directory / "program").touch()

    def run() -> None:
        seen.append((cache.entry("thing", build) / "program").exists())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert building.wait(10)
    assert not (cache.cache_root() / "thing").exists()
    go_on.set()
    for thread in threads:
        thread.join()

    assert built == ["x"]
    assert seen == [True] * 4
