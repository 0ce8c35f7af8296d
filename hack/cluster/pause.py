"""The pause program and its image, compiled here because there is no registry to pull it from."""

import subprocess
from hashlib import sha256
from pathlib import Path

from hack.cluster import cache, debian, packages
from hack.cluster.errors import ClusterError
from hack.image.archive import ImageConfig, Layer, write_archive, write_layer

SOURCE = Path(__file__).with_name("pause.c")

IMAGE = "localhost/pause:1"


def ensure() -> Path:
    """Return the directory of the program `pause` and its image archive `pause.tar`.

    Raises
    ------
    ClusterError
        If it cannot be compiled.
    """
    digest = sha256(SOURCE.read_bytes()).hexdigest()[:12]
    return cache.entry(f"packages/pause-{digest}-linux-{packages.architecture()}", _build)


def _build(directory: Path) -> None:
    debian.require(["gcc", "libc6-dev"], reason="the pause image")
    root = directory / "root"
    root.mkdir()
    program = root / "pause"
    argv = ["gcc", "-static", "-Os", "-s", "-o", str(program), str(SOURCE)]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ClusterError(f"cannot compile {SOURCE.name}:\n{result.stderr}")
    layer = directory / "layer.tar"
    write_layer(root, layer)
    write_archive(
        directory / "pause.tar",
        name=IMAGE,
        layers=[Layer(tar=layer, created_by=SOURCE.name)],
        config=ImageConfig(
            entrypoint=["/pause"], architecture=packages.architecture(), user="65535:65535"
        ),
    )
    layer.unlink()
    program.rename(directory / "pause")
    root.rmdir()
