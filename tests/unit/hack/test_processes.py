"""Processes are found again, and only exactly they are killed."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hack.cluster import processes
from hack.cluster.errors import ClusterError


def test_spawned_process_is_recorded_and_killed(tmp_path: Path) -> None:
    spawned = processes.spawn("sleeper", ["/bin/sleep", "60"], directory=tmp_path)

    assert processes.find(tmp_path, "sleeper") == spawned
    assert processes.recorded(tmp_path) == [spawned]
    assert processes.is_running(spawned)

    processes.kill(tmp_path, spawned)

    assert not processes.is_running(spawned)
    assert processes.find(tmp_path, "sleeper") is None
    assert not Path(f"/proc/{spawned.pid}").exists()


def test_process_outlives_the_session_it_was_started_from(tmp_path: Path) -> None:
    spawned = processes.spawn("sleeper", ["/bin/sleep", "60"], directory=tmp_path)
    try:
        assert os.getsid(spawned.pid) == spawned.pid
    finally:
        processes.kill(tmp_path, spawned)


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot_id": "another boot"}])
def test_recycled_process_id_is_not_ours_to_kill(tmp_path: Path, change: dict[str, object]) -> None:
    spawned = processes.spawn("sleeper", ["/bin/sleep", "60"], directory=tmp_path)
    try:
        recycled = replace(spawned, **change)  # type: ignore[arg-type]

        assert not processes.is_running(recycled)
        processes.kill(tmp_path, recycled)

        assert processes.is_running(spawned)
    finally:
        processes.kill(tmp_path, spawned)


def test_output_goes_to_the_log_and_environment_is_added(tmp_path: Path) -> None:
    spawned = processes.spawn(
        "talker",
        ["/bin/sh", "-c", "echo $GREETING; echo problem >&2; exec sleep 60"],
        directory=tmp_path,
        environment={"GREETING": "hello"},
    )
    try:
        log = Path(spawned.log)
        processes.wait_until(
            lambda: log.read_text() == "hello\nproblem\n", 10, "output", watch=[spawned]
        )
    finally:
        processes.kill(tmp_path, spawned)


def test_proxies_of_the_user_are_not_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    spawned = processes.spawn(
        "talker", ["/bin/sh", "-c", "env; echo end; exec sleep 60"], directory=tmp_path
    )
    try:
        log = Path(spawned.log)
        processes.wait_until(lambda: "end\n" in log.read_text(), 10, "output", watch=[spawned])
        assert "proxy.example" not in log.read_text()
    finally:
        processes.kill(tmp_path, spawned)


def test_waiting_ends_with_the_log_of_a_process_that_ended(tmp_path: Path) -> None:
    spawned = processes.spawn(
        "failing", ["/bin/sh", "-c", "echo bad flag >&2; exit 1"], directory=tmp_path
    )

    with pytest.raises(ClusterError, match=r"failing ended.*\n    bad flag"):
        processes.wait_until(lambda: False, 10, "nothing", watch=[spawned])


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(ClusterError, match="waited 0 s in vain for Godot"):
        processes.wait_until(lambda: False, 0, "Godot")


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="cannot start it: /no/such/program"):
        processes.spawn("it", ["/no/such/program"], directory=tmp_path)
