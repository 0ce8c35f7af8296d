"""Which source is taken, and what happens to a cluster of the same name."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hack.cluster import Source, clusters, record
from hack.cluster.errors import ClusterError
from hack.cluster.record import Record
from hack.cluster.sources import existing, kind, local


@dataclass
class FakeProvider:
    """Notes what it is told."""

    record: Record
    calls: list[str]
    alive: set[str]
    fails: bool = False
    kubeconfig: Path = field(default=Path("/kubeconfig"))
    audit_log: Path | None = None
    host_address: str = "127.0.0.1"

    def start(self) -> None:
        self.calls.append(f"start {self.record.name}")
        if self.fails:
            raise ClusterError("etcd ended")
        self.alive.add(self.record.name)

    def stop(self) -> None:
        self.calls.append(f"stop {self.record.name}")
        self.alive.discard(self.record.name)

    def answers(self) -> bool:
        return self.record.name in self.alive

    def load_image(self, archive: Path) -> None:
        self.calls.append(f"load {archive}")

    def stop_apiserver(self) -> None:
        raise NotImplementedError

    def start_apiserver(self) -> None:
        raise NotImplementedError


@dataclass
class Machine:
    """A machine whose clusters are fakes."""

    calls: list[str] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    fails: bool = False

    def provider(self, known: Record) -> FakeProvider:
        return FakeProvider(known, self.calls, self.alive, self.fails)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    fake = Machine()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(clusters, "_provider", fake.provider)
    monkeypatch.setattr(kind, "docker_answers", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(local, "free_subnet", lambda taken: len(taken))
    monkeypatch.setattr(existing, "_kubectl", lambda *_: "node/one\n")
    return fake


def test_this_machine_runs_it_when_nobody_else_does(machine: Machine) -> None:
    cluster = clusters.up("one")

    assert cluster.source is Source.LOCAL
    assert machine.calls == ["start one"]


def test_kind_runs_it_where_docker_answers(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "docker_answers", lambda: True)

    assert clusters.up("one").source is Source.KIND
    assert clusters.up("two", source=Source.LOCAL).source is Source.LOCAL


def test_existing_cluster_comes_before_all(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "theirs"
    kubeconfig.touch()
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr(kind, "docker_answers", lambda: True)

    assert clusters.up("one", node=True).source is Source.EXISTING


def test_existing_cluster_is_used_only_while_it_is_asked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "theirs"
    kubeconfig.touch()
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    clusters.up("one")
    monkeypatch.delenv("KUBECONFIG")

    assert clusters.up("one").source is Source.LOCAL


def test_existing_cluster_without_nodes_cannot_run_pods(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "theirs"
    kubeconfig.touch()
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr(existing, "_kubectl", lambda *_: "")

    assert not clusters.up("one").node
    with pytest.raises(ClusterError, match="has no node"):
        clusters.up("two", node=True)


def test_missing_kubeconfig_is_no_reason_to_start_another_cluster(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    with pytest.raises(ClusterError, match="no such file"):
        clusters.up("one")


def test_exported_kubeconfig_of_our_own_is_no_existing_cluster(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = clusters.up("one")
    monkeypatch.setenv("KUBECONFIG", str(cluster.directory / "kubeconfig"))

    assert clusters.up("one").source is Source.LOCAL
    assert machine.calls == ["start one"]


def test_running_cluster_is_found_again(machine: Machine) -> None:
    first = clusters.up("one")
    second = clusters.up("one")

    assert first.directory == second.directory
    assert machine.calls == ["start one"]


def test_dead_cluster_is_cleared_away_first(machine: Machine) -> None:
    clusters.up("one")
    machine.alive.clear()

    clusters.up("one")

    assert machine.calls == ["start one", "stop one", "start one"]


def test_half_started_cluster_is_cleared_away_first(machine: Machine) -> None:
    clusters.up("one")
    known = record.load("one")
    assert known is not None
    replace(known, complete=False).save()

    clusters.up("one")

    assert machine.calls == ["start one", "stop one", "start one"]


def test_running_cluster_without_a_node_is_not_thrown_away_for_one(machine: Machine) -> None:
    clusters.up("one")

    with pytest.raises(ClusterError, match="runs without a node"):
        clusters.up("one", node=True)

    assert machine.alive == {"one"}
    assert clusters.up("two", node=True).node


def test_failed_start_leaves_nothing(machine: Machine) -> None:
    machine.fails = True

    with pytest.raises(ClusterError, match="etcd ended"):
        clusters.up("one")

    assert machine.calls == ["start one", "stop one"]
    assert record.load("one") is None


def test_down_removes_the_directory_and_says_whether_there_was_one(machine: Machine) -> None:
    cluster = clusters.up("one")

    assert clusters.down("one")
    assert not cluster.directory.exists()
    assert not clusters.down("one")


def test_clusters_side_by_side_share_no_port_or_subnet(machine: Machine) -> None:
    records = []
    for name in ("a", "b", "c"):
        clusters.up(name, node=True)
        known = record.load(name)
        assert known is not None
        records.append(known)

    assert len(set.union(*(known.ports for known in records))) == 9
    assert len({known.subnet for known in records}) == 3


def test_node_needs_root(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ClusterError, match="needs root"):
        clusters.up("one", node=True)
    clusters.up("one")


def test_unknown_cluster_is_said(machine: Machine) -> None:
    with pytest.raises(ClusterError, match="no cluster one"):
        clusters.find("one")


def test_missing_image_archive_is_said(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="make image"):
        clusters.up("one", node=True).load_image(tmp_path / "image.tar")


@pytest.mark.parametrize("name", ["", "..", "a/b", "UPPER", "-a", "a-", "a" * 33, "a\n", "ü"])
def test_names_that_are_no_names(machine: Machine, name: str) -> None:
    with pytest.raises(ClusterError, match="lower-case letters"):
        clusters.up(name)


def test_record_survives_a_round_trip(machine: Machine) -> None:
    written = Record(name="one", source=Source.LOCAL, node=True, api_port=1, subnet=0)
    written.save()

    assert record.load("one") == written
    assert list(record.load_all()) == [written]
    assert written.directory.stat().st_mode & 0o077 == 0
