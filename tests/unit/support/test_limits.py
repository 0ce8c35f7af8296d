"""A test that takes too much memory or time is ended and named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hack import summary

ROOT = Path(__file__).parents[3]

CONFTEST = """
from tests.support import limits
from tests.support.limits import pytest_configure, pytest_runtest_setup, pytest_runtest_teardown

limits.LIMIT = 200
limits.HARD_LIMIT = 400
"""

HUNGRY = """
import time

def test_modest():
    pass

def test_hungry():
    bytes(range(256)) * (250 * 4096)

def test_modest_too():
    pass
"""

INSATIABLE = """
import time

def test_insatiable():
    held = []
    while True:
        held.append(bytes(range(256)) * (20 * 4096))
        time.sleep(0.01)

def test_modest():
    pass
"""

HANGING = """
import asyncio

def test_hanging():
    asyncio.run(asyncio.Event().wait())

def test_modest():
    pass
"""


def run(directory: Path, tests: str, *options: str) -> str:
    """Run some tests in a process of their own, with a report; return what it printed."""
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_it.py").write_text(tests)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
    done = subprocess.run(
        [*argv, "--junitxml=report.xml", *options],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [(), ("-n1",)])
def test_hungry_test_fails_and_the_next_one_does_not(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    printed = run(tmp_path, HUNGRY, *options)
    assert "3 passed, 1 error" in printed
    assert "test_hungry" in printed
    assert "may take 200 MiB" in printed
    peaks = {case.name: case.peak for case in summary.read_cases(tmp_path / "report.xml")}
    assert peaks["test_it::test_hungry"] > 250
    assert 0 < peaks["test_it::test_modest_too"] < 200


def test_test_that_takes_more_and_more_is_ended_and_named(tmp_path: Path) -> None:
    printed = run(tmp_path, INSATIABLE, "-n1")
    assert "crashed while running" in printed
    assert "test_insatiable" in printed
    assert "1 failed, 1 passed" in printed


def test_test_that_hangs_is_ended_and_named(tmp_path: Path) -> None:
    printed = run(tmp_path, HANGING, "-n1", "-o", "timeout=1")
    assert "test_hanging" in printed
    assert "Timeout" in printed
    assert "1 failed, 1 passed" in printed
