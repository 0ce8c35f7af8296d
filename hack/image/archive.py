"""Image archives as `docker save` writes them (Docker Image Specification v1.2), without Docker.

Both `docker load` and containerd's `ctr images import` read them.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What a container of the image is started with (OCI Image Specification, config)."""

    entrypoint: Sequence[str]
    architecture: str
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_directory: str = "/"
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An uncompressed layer."""

    tar: Path
    created_by: str

    def digest(self) -> str:
        """Return the layer's DiffID without its algorithm."""
        with self.tar.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()


def write_layer(
    root: Path, layer: Path, *, prefix: str = "", keep: Callable[[str], bool] = lambda _: True
) -> None:
    """Write a directory as a layer that depends on nothing but what is in it.

    Parameters
    ----------
    prefix
        Where the directory goes in the image, without a leading slash.
    keep
        Decides by a path in the image, without a leading slash. What is in a directory that is left
        out is left out too.
    """
    with tarfile.open(layer, "w") as tar:
        for parent in reversed(Path(prefix).parents[:-1]):
            entry = tarfile.TarInfo(str(parent))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path, name in _walk(root, prefix, keep):
            entry = tar.gettarinfo(path, name)
            entry.mtime = 0
            entry.uname = entry.gname = ""
            if entry.isreg():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)


def write_archive(
    archive: Path, *, name: str, layers: Sequence[Layer], config: ImageConfig
) -> None:
    """Write an image of some layers to an archive, which appears only when it is complete."""
    digests = [layer.digest() for layer in layers]
    image = _image_json(layers, digests, config)
    image_id = hashlib.sha256(image).hexdigest()
    manifest = [
        {
            "Config": f"{image_id}.json",
            "RepoTags": [name],
            "Layers": [f"{digest}.tar" for digest in digests],
        }
    ]
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        with tarfile.open(partial, "w") as tar:
            _add_bytes(tar, f"{image_id}.json", image)
            for layer, digest in zip(layers, digests, strict=True):
                entry = tarfile.TarInfo(f"{digest}.tar")
                entry.size = layer.tar.stat().st_size
                with layer.tar.open("rb") as content:
                    tar.addfile(entry, content)
            _add_bytes(tar, "manifest.json", json.dumps(manifest).encode())
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def _image_json(layers: Sequence[Layer], digests: Sequence[str], config: ImageConfig) -> bytes:
    image = {
        "architecture": config.architecture,
        "os": "linux",
        "created": _EPOCH,
        "config": {
            "Entrypoint": list(config.entrypoint),
            "Env": [f"{key}={value}" for key, value in config.environment.items()],
            "User": config.user,
            "WorkingDir": config.working_directory,
            "Labels": dict(config.labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": _EPOCH, "created_by": layer.created_by} for layer in layers],
    }
    return json.dumps(image, sort_keys=True).encode()


def _walk(path: Path, name: str, keep: Callable[[str], bool]) -> Iterator[tuple[Path, str]]:
    """Yield a directory, unless it is the image's root, and what is in it, in fixed order."""
    if name:
        yield path, name
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            child_name = f"{name}/{child.name}" if name else child.name
            if keep(child_name):
                yield from _walk(child, child_name, keep)


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
