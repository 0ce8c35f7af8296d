"""The process makes room for its sockets."""

from __future__ import annotations

import resource

import pytest

from notifications_operator.gateway.signals.files import SPARE_FILES, allow_sockets

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [
        ((1024, 524_288), (10_000 + SPARE_FILES, 524_288), False),
        ((1024, INFINITY), (10_000 + SPARE_FILES, INFINITY), False),
        ((1024, 4096), (4096, 4096), True),
        ((65_536, 65_536), (65_536, 65_536), False),
        ((INFINITY, INFINITY), (INFINITY, INFINITY), False),
    ],
)
def test_the_limit_rises_as_far_as_it_may(
    before: tuple[int, int],
    after: tuple[int, int],
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = [before]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, found: limits.append(found))
    allow_sockets(10_000)
    assert limits[-1] == after
    assert bool(caplog.records) is warned
