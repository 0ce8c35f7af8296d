"""Hooks of pytest that bound the memory of a test process, and measure the peak of each test.

A test that takes the process over `LIMIT` fails. One that goes on to `HARD_LIMIT` may never end, so
the process is ended, with the stacks of its threads; pytest-xdist names the test and goes on in
another process. Time is bounded by pytest-timeout (``pyproject.toml``).
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

LIMIT = 1024
"""Most memory of a process that runs tests, in MiB."""

HARD_LIMIT = 2 * LIMIT
"""Memory in MiB at which the process is ended."""

PEAK = "peak_mib"
"""Property of a test in JUnit's report: the most memory that its process had meanwhile, in MiB."""

_LOOK_SECONDS = 0.2
_RESET_PEAK = "5"
"""What resets ``VmHWM`` (proc_pid_clear_refs(5))."""


def pytest_configure(config: pytest.Config) -> None:
    """Watch over the process, unless it only hands out tests to others."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        threading.Thread(target=_watch, name="memory limit", daemon=True).start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    """Begin to measure before the first fixture is made."""
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Note the peak, and fail the test that took the process over the limit."""
    yield
    peak = _memory("VmHWM")
    item.user_properties.append((PEAK, peak))
    if peak > LIMIT:
        pytest.fail(f"the process took {peak} MiB, and may take {LIMIT} MiB", pytrace=False)


def _watch() -> None:
    while True:
        if _memory("VmRSS") > HARD_LIMIT:
            faulthandler.dump_traceback()
            os._exit(70)
        time.sleep(_LOOK_SECONDS)


def _memory(name: str) -> int:
    """Return a field of ``/proc/self/status`` in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) // 1024
