"""Image archives and their layers, and the Dockerfile that must agree with them."""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hack import web
from hack.image import __main__ as command
from hack.image import debian, docker
from hack.image.archive import Layer, write_archive, write_layer
from hack.image.layout import REPOSITORY, TAG, image_config


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text("#!/bin/sh\n")
    (root / "bin" / "tool").chmod(0o755)
    os.link(root / "bin" / "tool", root / "bin" / "tool-too")
    (root / "lib").symlink_to("bin")
    (root / "var" / "cache").mkdir(parents=True)
    (root / "var" / "cache" / "junk").touch()
    return root


def test_layer_depends_on_content_only(tree: Path, tmp_path: Path) -> None:
    write_layer(tree, tmp_path / "one.tar")
    os.utime(tree / "bin" / "tool", (1, 1))
    write_layer(tree, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()

    (tree / "bin" / "tool").write_text("#!/bin/bash\n")
    write_layer(tree, tmp_path / "three.tar")
    assert (tmp_path / "one.tar").read_bytes() != (tmp_path / "three.tar").read_bytes()


def test_layer_keeps_modes_links_and_what_the_filter_keeps(tree: Path, tmp_path: Path) -> None:
    write_layer(tree, tmp_path / "layer.tar", keep=lambda name: name != "var/cache")

    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getnames() == ["bin", "bin/tool", "bin/tool-too", "lib", "var"]
        assert tar.getmember("bin/tool").mode == 0o755
        assert tar.getmember("bin/tool-too").linkname == "bin/tool"
        assert tar.getmember("lib").issym()


def test_prefix_comes_with_its_parents(tree: Path, tmp_path: Path) -> None:
    write_layer(tree / "bin", tmp_path / "layer.tar", prefix="opt/thing/deep")

    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getnames()[:4] == [
            "opt",
            "opt/thing",
            "opt/thing/deep",
            "opt/thing/deep/tool",
        ]
        assert all(tar.getmember(name).isdir() for name in tar.getnames()[:3])


def test_archive_names_layers_by_what_is_in_them(tree: Path, tmp_path: Path) -> None:
    write_layer(tree, tmp_path / "layer.tar")
    archive = tmp_path / "dist" / "image.tar"

    write_archive(
        archive,
        name=TAG,
        layers=[Layer(tar=tmp_path / "layer.tar", created_by="a test")],
        config=image_config("amd64"),
    )

    assert [path.name for path in archive.parent.iterdir()] == ["image.tar"]
    with tarfile.open(archive) as tar:

        def read(name: str) -> bytes:
            content = tar.extractfile(name)
            assert content is not None
            return content.read()

        [manifest] = json.loads(read("manifest.json"))
        config = read(manifest["Config"])
        image = json.loads(config)
        layer = read(manifest["Layers"][0])
    digest = hashlib.sha256(layer).hexdigest()
    assert manifest["RepoTags"] == [TAG]
    assert manifest["Config"] == f"{hashlib.sha256(config).hexdigest()}.json"
    assert image["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    assert image["config"]["User"] == "65532:65532"
    assert image["config"]["Entrypoint"] == ["notifications-operator"]


def test_failed_archive_leaves_the_old_one(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_text("old")

    with pytest.raises(FileNotFoundError):
        write_archive(
            archive,
            name=TAG,
            layers=[Layer(tar=tmp_path / "none.tar", created_by="")],
            config=image_config("amd64"),
        )

    assert archive.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["image.tar"]


def stages() -> dict[str, str]:
    """Return the instructions of each of the Dockerfile's stages, by name; "" is the last one."""
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    parts = re.split(r"^FROM (\S+)(?: AS (\S+))?$", text, flags=re.M)
    return {
        name or "": f"FROM {image}\n{body}"
        for image, name, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }


def copied(stage: str) -> list[str]:
    """Return what a stage copies from the build's context."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", stage, re.M)
    return [source for line in lines for source in line.split()[:-1]]


def ignored(path: str) -> bool:
    """Tell whether .dockerignore leaves a path out; the last line that fits decides."""
    found = False
    for line in (REPOSITORY / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = Path(path).parts
        heads = [
            "/".join(parts[start:end])
            for end in range(1, len(parts) + 1)
            for start in (range(end) if "**/" in line else [0])
        ]
        if pattern == "*" or pattern in heads:
            found = not line.startswith("!")
    return found


def test_docker_builds_the_page_of_its_sources() -> None:
    page, build = stages()["page"], stages()["build"]
    assert set(copied(page)) == {f"web/{name}" for name in web.SOURCES}
    [version] = re.findall(r"^FROM node:(\d+)-slim$", page, re.M)
    assert int(version) >= web.NODE[0]
    assert "npm ci --ignore-scripts" in page
    packaged = web.PACKAGED.relative_to(REPOSITORY)
    [taken] = re.findall(rf"^COPY --from=page /web/dist {packaged}$", build, re.M)
    assert build.index("COPY operator operator") < build.index(taken) < build.index("pip wheel")


def test_docker_is_sent_what_it_copies_and_nothing_that_was_built_here() -> None:
    for stage in stages().values():
        assert not [source for source in copied(stage) if ignored(source)]
        assert not [source for source in copied(stage) if not (REPOSITORY / source).exists()]
    packaged = str(web.PACKAGED.relative_to(REPOSITORY))
    for path in ("web/node_modules", "web/dist", packaged, ".git", ".venv", "operator/__pycache__"):
        assert ignored(path), path


@pytest.mark.parametrize("engine", [True, False])
def test_the_page_is_built_once(
    engine: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[str] = []

    def builder(name: str) -> Callable[[Path], None]:
        def build(archive: Path) -> None:
            done.append(name)
            archive.touch()

        return build

    monkeypatch.setattr(command, "docker_answers", lambda: engine)
    monkeypatch.setattr(web, "package", lambda: done.append("page"))
    monkeypatch.setattr(docker, "build", builder("docker"))
    monkeypatch.setattr(debian, "build", builder("debian"))
    assert command.main(["build", "--output", str(tmp_path / "image.tar")]) == 0
    assert done == (["docker"] if engine else ["page", "debian"])


def test_dockerfile_says_the_same() -> None:
    final_stage = stages()[""]
    config = image_config("amd64")

    def instruction(name: str) -> str:
        [value] = re.findall(rf"^{name} (.*)$", final_stage, re.M)
        return str(value)

    def pairs(name: str) -> dict[str, str]:
        return dict(re.findall(r'(\S+?)="([^"]*)"', instruction(name)))

    assert json.loads(instruction("ENTRYPOINT")) == config.entrypoint
    assert instruction("USER") == config.user
    assert instruction("WORKDIR") == config.working_directory
    assert pairs("ENV") == config.environment
    assert pairs("LABEL") == config.labels
