"""Debian's packages where there is no Debian, or no such package."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hack.cluster import debian
from hack.cluster.errors import ClusterError


def test_another_distribution_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ClusterError, match="prometheus is taken from Debian"):
        debian.unpacked("prometheus")


def test_versions_make_file_names() -> None:
    assert Path(debian._key("p", "1:2.42.0+ds-5/x")).name == "p-1%3A2.42.0%2Bds-5%2Fx"
