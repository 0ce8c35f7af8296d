"""Nothing of the user's is replaced in a cluster of theirs."""

from __future__ import annotations

import io
from pathlib import Path
from unittest.mock import Mock

import pytest

from hack.cluster import Cluster, Source
from hack.demo import installation
from hack.demo.commands import Commands
from hack.demo.errors import DemoError
from hack.demo.place import NAMESPACES, Place
from hack.demo.screen import Screen


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = Place("demo")
    place.prepare()
    return place


def cluster(directory: Path, source: Source) -> Cluster:
    return Cluster(
        name="demo",
        kubeconfig=directory / "kubeconfig",
        directory=directory,
        audit_log=None,
        node=False,
        source=source,
        provider=Mock(),
    )


def commands(directory: Path, *namespaces: str) -> Commands:
    """Return a shell of a cluster that has these namespaces, of those that are asked for."""
    kubectl = directory / "kubectl"
    has = "|".join(namespaces) or "none"
    kubectl.write_text(
        f'#!/bin/sh\nfor word; do case $word in {has}) echo "namespace/$word" ;; esac; done\n'
    )
    kubectl.chmod(0o755)
    return Commands(screen=Screen(io.StringIO()), programs={"kubectl": kubectl})


@pytest.mark.parametrize("taken", NAMESPACES)
def test_each_namespace_that_is_there_already_stops_it(
    place: Place, tmp_path: Path, taken: str
) -> None:
    shell = commands(tmp_path, taken)

    with pytest.raises(DemoError, match=f"^{taken}: in the cluster of KUBECONFIG="):
        installation.check_existing(cluster(tmp_path, Source.EXISTING), place, shell)


def test_other_namespaces_do_not(place: Place, tmp_path: Path) -> None:
    shell = commands(tmp_path, "default")

    installation.check_existing(cluster(tmp_path, Source.EXISTING), place, shell)


def test_nor_do_those_of_the_demo_itself(place: Place, tmp_path: Path) -> None:
    shell = commands(tmp_path, *NAMESPACES)
    installation.check_existing(cluster(tmp_path, Source.LOCAL), place, shell)
    place.values.touch()

    installation.check_existing(cluster(tmp_path, Source.EXISTING), place, shell)


def test_curl_reaches_this_machine_past_proxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "tools", Mock())
    monkeypatch.setenv("no_proxy", "example.com")

    shell = installation.commands_for(cluster(tmp_path, Source.LOCAL), Screen(io.StringIO()))

    assert shell.environment["no_proxy"] == "example.com,127.0.0.1"
